package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// holder is who stands in a lease: the plan's ID, user@host, and the process.
type holder struct {
	planID, user, process string
	acquired, renewed     time.Time
	duration              time.Duration
}

func holderOf(lease *unstructured.Unstructured) holder {
	identity, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	planID, rest, _ := strings.Cut(identity, " ")
	h := holder{planID: planID, user: rest}
	if i := strings.LastIndex(rest, " "); i >= 0 {
		h.user, h.process = rest[:i], rest[i+1:]
	}
	seconds, _, _ := unstructured.NestedInt64(lease.Object, "spec", "leaseDurationSeconds")
	h.duration = time.Duration(seconds) * time.Second
	h.acquired, h.renewed = leaseTime(lease, "acquireTime"), leaseTime(lease, "renewTime")
	return h
}

func leaseTime(lease *unstructured.Unstructured, field string) time.Time {
	text, _, _ := unstructured.NestedString(lease.Object, "spec", field)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// mayTake judges a lease that is there, see Acquire.
func (l *LeaseLock) mayTake(ctx context.Context, live *unstructured.Unstructured, plan operation.Plan, takeover bool) error {
	h := holderOf(live)
	switch {
	case h.planID == "":
		return nil // released by hand
	case h.planID != plan.ID:
		return l.mayTakeFromOther(ctx, live, h, plan)
	case takeover, h.user == l.user():
		return nil
	}
	silent, err := l.isSilent(ctx, live)
	if err != nil || silent {
		return err
	}
	return l.busy(h, plan)
}

// user is the identity without the process.
func (l *LeaseLock) user() string {
	return l.identity[:max(strings.LastIndex(l.identity, " "), 0)]
}

// mayTakeFromOther: a lease that is over and whose plan has no copy any more belongs to nobody. While the
// copy is there that plan is unfinished, however long its holder has been silent.
func (l *LeaseLock) mayTakeFromOther(ctx context.Context, live *unstructured.Unstructured, h holder, plan operation.Plan) error {
	_, err := l.client.Get(ctx, configMapsResource(), l.namespace, planConfigMapName(h.planID))
	if err == nil {
		return l.busy(h, plan)
	}
	if !errors.Is(err, recovery.ErrNotFound) {
		return fmt.Errorf("is plan %s at its end: %w", h.planID, err)
	}
	silent, err := l.isSilent(ctx, live)
	if err != nil || silent {
		return err
	}
	return l.busy(h, plan)
}

// isSilent: the lease is over by its times, and nobody renews it while it is watched for longer than the
// renewals are apart. The times alone say little: they are the clock of another computer.
func (l *LeaseLock) isSilent(ctx context.Context, live *unstructured.Unstructured) (bool, error) {
	h := holderOf(live)
	if time.Since(h.renewed) < h.duration {
		return false, nil
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(l.every + l.every/2):
	}
	again, err := l.client.Get(ctx, leasesResource(), live.GetNamespace(), live.GetName())
	if errors.Is(err, recovery.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return again.GetResourceVersion() == live.GetResourceVersion(), nil
}

func (l *LeaseLock) busy(h holder, plan operation.Plan) error {
	next := fmt.Sprintf("wait for it, or go on with that plan in its holder's stead: drctl resume %s --takeover", h.planID)
	if h.planID != plan.ID {
		next = fmt.Sprintf("finish plan %s first: drctl resume %s --takeover, or drctl abort %s --takeover", h.planID, h.planID, h.planID)
	}
	return &recovery.Problem{
		What: "lock " + plan.Target,
		Why: fmt.Sprintf("plan %s, run by %s (process %s), holds it since %s and gave a sign of life at %s",
			h.planID, h.user, h.process, h.acquired.Format(time.RFC3339), h.renewed.Format(time.RFC3339)),
		Next: next,
		Err:  errors.Join(operation.ErrBusy, recovery.ErrConflict),
	}
}
