package flipworld

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
)

// The scenarios in which a safeguard decides. Each counts a loss when the safeguard is compiled out.

// isDeletion is the request that deletes the database's Cluster.
func isDeletion(r lab.ProxyRequest) bool {
	return r.Target == lab.TargetAPI && r.Method == http.MethodDelete && strings.HasSuffix(r.Path, "/clusters/"+lab.RecoveryCluster)
}

// AgainstArgo is a plain recovery while Argo CD heals as fast as it can: only the fence keeps it from
// creating an empty database.
func (m *Matrix) AgainstArgo(ctx context.Context) (Tally, error) {
	o, before, err := m.begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	return m.tried(ctx, o, before, Recover(), recovered)
}

// tried runs drctl once and judges.
func (m *Matrix) tried(ctx context.Context, o *Operator, before *State, args []string, compare func(before, after *State) error) (Tally, error) {
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	tally := Tally{Points: 1}
	run, err := o.Run(runCtx, args...)
	switch {
	case err != nil && runCtx.Err() == nil:
		return tally, err
	case err == nil && run.ExitCode == 0:
		tally.Resumed = 1
	default:
		m.Logf("drctl %s ended with %d:\n%s", strings.Join(args, " "), run.ExitCode, lastLines(run.Stderr))
	}
	judged, err := m.judge(ctx, o, before, compare)
	tally.Add(judged)
	return tally, err
}

// scenarioTime bounds a recovery that cannot end: a safeguard is out, and nothing is as it was planned.
const scenarioTime = 4 * time.Minute

// AbortAfterDeletion kills drctl just after the API server accepted the deletion, and aborts: that must be
// refused, since undoing would give the old volumes their policy back and so lose them. Then it resumes.
func (m *Matrix) AbortAfterDeletion(ctx context.Context) (Tally, error) {
	o, before, err := m.begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	run, err := lab.RunKilled(ctx, m.World.Proxy, o.Command(ctx, Recover()...), lab.Kill{N: 1, When: lab.After, Match: isDeletion})
	if err != nil {
		return Tally{}, err
	}
	if !run.Killed {
		return Tally{}, fmt.Errorf("flipworld: the deletion was not reached: drctl ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	if run, err = o.Run(ctx, "abort"); err != nil {
		return Tally{}, err
	}
	m.Logf("abort ended with %d: %s", run.ExitCode, lastLines(run.Stderr))
	return m.tried(ctx, o, before, []string{"resume"}, recovered)
}

// ReplacedUnderway has somebody replace the Cluster while drctl's deletion is on its way: a Cluster of the
// same name that is not the one that was planned for. It must survive.
func (m *Matrix) ReplacedUnderway(ctx context.Context) (Tally, error) {
	m.Argo.Pause()
	defer m.Argo.Resume()
	o, _, err := m.begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	replacement, replaceErr := "", error(nil)
	runCtx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	run, _, err := lab.RunEach(runCtx, m.World.Proxy, o.Command(runCtx, Recover("--no-fence")...), func(r lab.ProxyRequest) *lab.Fault {
		if isDeletion(r) && replacement == "" {
			replacement, replaceErr = m.replace(ctx)
		}
		return nil
	})
	if runCtx.Err() != nil {
		err = nil // it waits for what the replacement left behind
	}
	if err != nil || replaceErr != nil || replacement == "" {
		return Tally{}, fmt.Errorf("flipworld: replace the Cluster (%q): %w", replacement, firstError(err, replaceErr))
	}
	tally := Tally{Points: 1}
	m.Logf("drctl ended with %d: %s", run.ExitCode, lastLines(run.Stderr))
	live, err := m.Cluster(ctx, lab.RecoveryCluster)
	if err != nil || string(live.UID) != replacement || live.DeletionTimestamp != nil {
		m.Logf("LOST: the Cluster that somebody put there is gone (%v)", err)
		tally.Lost = 1
		return tally, nil
	}
	if run.ExitCode != 0 {
		tally.Resumed = 1
	}
	return tally, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// replace deletes the Cluster, leaves its children, and creates it anew as it was.
func (m *Matrix) replace(ctx context.Context) (string, error) {
	clusters, err := m.Clusters()
	if err != nil {
		return "", err
	}
	live, err := clusters.Get(ctx, lab.RecoveryCluster, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	orphan := metav1.DeletePropagationOrphan
	if err := clusters.Delete(ctx, lab.RecoveryCluster, metav1.DeleteOptions{PropagationPolicy: &orphan}); err != nil {
		return "", err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := clusters.Get(ctx, lab.RecoveryCluster, metav1.GetOptions{})
		if err != nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	again := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": live.GetAPIVersion(), "kind": live.GetKind(), "spec": live.Object["spec"],
		"metadata": map[string]any{"name": live.GetName(), "namespace": live.GetNamespace(), "labels": labelsOf(live)},
	}}
	created, err := clusters.Create(ctx, again, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		return "", err
	}
	return string(created.GetUID()), nil
}

func labelsOf(object *unstructured.Unstructured) map[string]any {
	labels := map[string]any{}
	for key, value := range object.GetLabels() {
		labels[key] = value
	}
	return labels
}

// slowCollection is how long the old claims stay after the Cluster is gone.
const slowCollection = 30 * time.Second

// BackInTime recovers to a moment ahead of some rows, while the old Cluster's claims outlive it for a
// while. An operator that finds them adopts them, reports Ready, and shows those rows again: nothing was
// recovered.
func (m *Matrix) BackInTime(ctx context.Context) (Tally, error) {
	o, before, err := m.begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	moment, err := m.SQL(ctx, `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	if err != nil {
		return Tally{}, err
	}
	// Two commits behind the target: the first ends the recovery, the second would show an adoption.
	for range 2 {
		if _, err := m.WriteRows(ctx, 3); err != nil {
			return Tally{}, err
		}
		if _, err := m.SwitchWAL(ctx); err != nil {
			return Tally{}, err
		}
	}
	collected, begun := make(chan error, 1), false
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	run, _, err := lab.RunEach(runCtx, m.World.Proxy, o.Command(runCtx, Recover("--target-time", moment)...), func(r lab.ProxyRequest) *lab.Fault {
		if isDeletion(r) && !begun {
			begun = true
			go func() { collected <- m.collectSlowly(ctx) }()
			time.Sleep(time.Second) // the claims have no owner before the Cluster goes
		}
		return nil
	})
	if err != nil && runCtx.Err() == nil {
		return Tally{}, err
	}
	if !begun {
		return Tally{}, fmt.Errorf("flipworld: the deletion was not reached: drctl ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	if err := <-collected; err != nil {
		return Tally{}, err
	}
	tally := Tally{Points: 1}
	if run.ExitCode == 0 {
		tally.Resumed = 1
	}
	m.Logf("drctl ended with %d:\n%s", run.ExitCode, lastLines(run.Stderr))
	judged, err := m.judge(ctx, o, before, recovered)
	tally.Add(judged)
	return tally, err
}

// collectSlowly takes the claims out of the Cluster's ownership and deletes them later, as a garbage
// collector does that is behind.
func (m *Matrix) collectSlowly(ctx context.Context) error {
	client, err := m.client()
	if err != nil {
		return err
	}
	claims, err := client.CoreV1().PersistentVolumeClaims(lab.RecoveryNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: claims: %w", err)
	}
	for _, claim := range claims.Items {
		patch := []byte(`{"metadata":{"ownerReferences":null}}`)
		_, err := client.CoreV1().PersistentVolumeClaims(lab.RecoveryNamespace).Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("flipworld: claim %s: %w", claim.Name, err)
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(slowCollection):
	}
	for _, claim := range claims.Items {
		uid := claim.UID
		err := client.CoreV1().PersistentVolumeClaims(lab.RecoveryNamespace).Delete(ctx, claim.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("flipworld: claim %s: %w", claim.Name, err)
		}
	}
	return nil
}
