package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// leaseDuration is how long a holder that went silent is believed to be alive.
	leaseDuration = 30 * time.Second
	// renewEvery leaves room for two renewals that fail.
	renewEvery = 10 * time.Second
	// patientDuration and patientEvery are for hundreds of locks at once, each of which would else cost a
	// request every ten seconds.
	patientDuration = 15 * time.Minute
	patientEvery    = 5 * time.Minute
	// acquireTries bounds how often somebody else may be faster.
	acquireTries = 5
)

// LeaseLock keeps two operators from one target by a Lease in its namespace.
type LeaseLock struct {
	client    *Client
	namespace string
	// identity is user@host and the process: what a second operator reads.
	identity string
	// duration and every are leaseDuration and renewEvery, outside of tests.
	duration, every time.Duration
}

var _ operation.Lock = (*LeaseLock)(nil)

// Lock is the lock of a target that lives in a namespace, for this process.
func (c *Client) Lock(namespace string) operation.Lock {
	return &LeaseLock{client: c, namespace: namespace, identity: processIdentity(), duration: leaseDuration, every: renewEvery}
}

// PatientLock is the lock of one of many targets that are worked on side by side: it is renewed seldom, and a
// holder that went silent is believed to be alive for longer.
func (c *Client) PatientLock(namespace string) operation.Lock {
	return &LeaseLock{client: c, namespace: namespace, identity: processIdentity(), duration: patientDuration, every: patientEvery}
}

// processIdentity is "user@host PID".
func processIdentity() string { return fmt.Sprintf("%s %d", operation.WhoAmI(), os.Getpid()) }

func leasesResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
}

// leaseName is the same for all plans of one operation on one target. The hash keeps apart targets that
// differ in characters that a name can't have.
func leaseName(plan operation.Plan) string {
	const most = 60
	readable := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(plan.Operation+"-"+plan.Target), "-")
	readable = strings.Trim(readable[:min(len(readable), most)], "-")
	sum := sha256.Sum256([]byte(plan.Operation + "\n" + plan.Target))
	return "drctl-" + readable + "-" + hex.EncodeToString(sum[:4])
}

// Acquire takes the lock: when nobody holds it; when its holder was this plan, run by this user on this
// host (a process that died: the caller holds the plan's file lock); when its holder was this plan and has
// been silent for the lease's whole duration; and with takeover from a live holder of this plan. A holder
// with another plan is asked for that plan: while it is unfinished, so is what it has begun.
//
// Everything else is operation.ErrBusy.
func (l *LeaseLock) Acquire(ctx context.Context, plan operation.Plan, takeover bool) (operation.Held, error) {
	name := leaseName(plan)
	for range acquireTries {
		sent := time.Now()
		lease, err := l.take(ctx, name, plan, takeover)
		switch {
		case err == nil:
			return l.hold(ctx, lease, plan, sent), nil
		case errors.Is(err, operation.ErrBusy):
			return nil, err
		case !errors.Is(err, errFaster):
			return nil, fmt.Errorf("lock %s: %w", plan.Target, err)
		}
	}
	return nil, &recovery.Problem{
		What: "lock " + plan.Target, Why: fmt.Sprintf("Lease %s/%s changes hands all the time", l.namespace, name),
		Next: "look who else is recovering it", Err: operation.ErrBusy,
	}
}

// errFaster: somebody changed the lease between the look at it and the taking.
var errFaster = errors.New("somebody else was faster")

// take tries once.
func (l *LeaseLock) take(ctx context.Context, name string, plan operation.Plan, takeover bool) (*unstructured.Unstructured, error) {
	live, err := l.client.Get(ctx, leasesResource(), l.namespace, name)
	if errors.Is(err, recovery.ErrNotFound) {
		created, err := l.client.Create(ctx, leasesResource(), l.fresh(name, plan), WriteOptions{})
		if errors.Is(err, recovery.ErrExists) {
			return nil, errFaster
		}
		return created, err
	}
	if err != nil {
		return nil, err
	}
	if err := l.mayTake(ctx, live, plan, takeover); err != nil {
		return nil, err
	}
	taken, err := l.put(ctx, live, plan, true)
	if errors.Is(err, recovery.ErrConflict) || errors.Is(err, recovery.ErrNotFound) {
		return nil, errFaster
	}
	return taken, err
}

func (l *LeaseLock) holderOf(plan operation.Plan) string { return plan.ID + " " + l.identity }

func (l *LeaseLock) fresh(name string, plan operation.Plan) *unstructured.Unstructured {
	now := microTime(time.Now())
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": leasesResource().GroupVersion().String(), "kind": "Lease",
		"metadata": map[string]any{
			"namespace": l.namespace, "name": name, "labels": map[string]any{managedByKey: managedByValue, PlanKey: plan.ID},
		},
		"spec": map[string]any{
			"holderIdentity": l.holderOf(plan), "leaseDurationSeconds": l.seconds(), "acquireTime": now, "renewTime": now,
		},
	}}
}

// put writes this process into the lease that was looked at, and no other. It is an update of the whole
// object, so that its resource version is the precondition.
func (l *LeaseLock) put(ctx context.Context, live *unstructured.Unstructured, plan operation.Plan, taken bool) (*unstructured.Unstructured, error) {
	lease := live.DeepCopy()
	labels := lease.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[managedByKey], labels[PlanKey] = managedByValue, plan.ID
	lease.SetLabels(labels)
	now := microTime(time.Now())
	fields := map[string]any{"holderIdentity": l.holderOf(plan), "leaseDurationSeconds": l.seconds(), "renewTime": now}
	if taken {
		transitions, _, _ := unstructured.NestedInt64(lease.Object, "spec", "leaseTransitions")
		fields["acquireTime"], fields["leaseTransitions"] = now, transitions+1
	}
	for key, value := range fields {
		if err := unstructured.SetNestedField(lease.Object, value, "spec", key); err != nil {
			return nil, fmt.Errorf("keep Lease %s/%s: %w", lease.GetNamespace(), lease.GetName(), err)
		}
	}
	requestCtx, cancel := context.WithTimeout(ctx, min(requestTimeout, l.duration))
	defer cancel()
	updated, err := l.client.resource(leasesResource(), l.namespace).Update(requestCtx, lease, metav1.UpdateOptions{FieldManager: FieldManager})
	if err != nil {
		return nil, l.client.explainObject(ctx, "update "+describe(leasesResource(), l.namespace, lease.GetName()), leasesResource(), err)
	}
	return updated, nil
}

func (l *LeaseLock) seconds() int64 { return int64(max(l.duration/time.Second, 1)) }

func microTime(t time.Time) string { return t.UTC().Format(metav1.RFC3339Micro) }
