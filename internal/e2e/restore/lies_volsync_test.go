package restore

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

// TestSwallowedTrigger: VolSync reports the run as complete, and no mover ran. drctl has it run once more; when
// that is swallowed, too, nothing is proven.
func TestSwallowedTrigger(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	order(t, destinationKind, restoreworld.Namespace, lab.OrderSwallow)
	got := run(t, a, a.Operation()...)
	require.Equal(t, 3, got.ExitCode)
	require.Contains(t, got.Stderr, "no line of the mover names the snapshot that it restored")
	require.Contains(t, got.Stderr, "drctl pvc extract "+target)
	require.NoError(t, a.Untouched(t.Context()))

	behave(t, destinationKind, restoreworld.Namespace)
	order(t, sourceKind, restoreworld.Namespace, lab.OrderSwallow)
	got = run(t, a, "pvc", "backup", target)
	require.Equal(t, 3, got.ExitCode)
	require.Contains(t, got.Stderr, "VolSync reports a run that never was")
	require.Contains(t, got.Stderr, "drctl pvc backup "+target)
	require.NoError(t, a.Untouched(t.Context()))
}

// TestPausedSource: a source that somebody pauses reports a success without a backup. The claim's own, which is
// paused, is named beforehand, and drctl's makes the backup all the same.
func TestPausedSource(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	w := world(t)
	require.NoError(t, w.Apply(t.Context(), `
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata: {namespace: notes, name: data-backup}
spec:
  sourcePVC: data
  paused: true
  trigger: {schedule: "0 * * * *"}
  kopia:
    repository: volsync-data
    copyMethod: Snapshot
    storageClassName: longhorn
    volumeSnapshotClassName: longhorn-snapclass
    moverSecurityContext: {runAsUser: 568, runAsGroup: 568, fsGroup: 568}`))
	sources := untyped(t).Resource(replications("replicationsources")).Namespace(restoreworld.Namespace)
	t.Cleanup(func() {
		_ = sources.Delete(context.WithoutCancel(t.Context()), "data-backup", metav1.DeleteOptions{})
	})
	got := run(t, a, "pvc", "backup", target)
	require.Zero(t, got.ExitCode)
	got = run(t, a, append(a.Operation(), "--dry-run")...)
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, "ReplicationSource data-backup is paused: the claim is not backed up any more")

	// Whoever pauses drctl's own, ahead of its run.
	order(t, sourceKind, restoreworld.Namespace, lab.OrderHang)
	r := launch(t, a.Operator, "pvc", "backup", target)
	require.Eventually(t, func() bool {
		list, err := sources.List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=drctl"})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		_, err = sources.Patch(t.Context(), list.Items[0].GetName(), types.MergePatchType, []byte(`{"spec":{"paused":true}}`), metav1.PatchOptions{})
		return err == nil
	}, 2*time.Minute, 20*time.Millisecond)
	got = r.end(t)
	require.NotZero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "is paused")
	require.NotContains(t, got.Stdout, "is backed up")
	if got.ExitCode == 4 { // seen before VolSync reported it
		require.Contains(t, got.Stderr, `-p '{"spec":{"paused":false}}'`)
		require.Zero(t, run(t, a, "abort").ExitCode)
	}
	left, err := w.Look(t.Context())
	require.NoError(t, err)
	require.Empty(t, left.Left)
}

// TestStuckPopulator: the new claim stays Pending. drctl says so and waits; what was restored is proven, the old
// volume is kept, and the restore goes on once the populator does.
func TestStuckPopulator(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	w := world(t)
	order(t, destinationKind, restoreworld.Namespace, lab.OrderNotPopulated)
	r := launch(t, a.Operator, a.Operation()...)
	r.says(t, "] create the claim")
	require.NoError(t, r.cmd.Process.Signal(os.Interrupt))
	got := r.end(t)
	require.Equal(t, 4, got.ExitCode)
	id := onlyPlan(t, a.Operator)
	require.Contains(t, got.Stderr, "drctl resume "+id)
	require.Empty(t, got.Stdout)
	stuck, err := w.Look(t.Context())
	require.NoError(t, err)
	was := a.Before.Claims[restoreworld.Claim].Volume
	require.Equal(t, restoreworld.VolumeState{Policy: "Retain", Phase: "Released", Hash: a.Before.Volumes[was].Hash}, stuck.Volumes[was])
	require.Zero(t, stuck.Ready, "no Pod is let at a claim that is not bound to what was restored")
	got = run(t, a, "abort")
	require.Equal(t, 4, got.ExitCode, "the old claim is gone")
	require.Contains(t, got.Stderr, "drctl resume "+id)
	behave(t, destinationKind, restoreworld.Namespace)
	require.Zero(t, run(t, a, "resume").ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// TestGeneratedDeletedLate: Kyverno's background controller is away while the claim is replaced, and does its work
// on what it generated for the old one afterwards. The new claim needs nothing of that.
func TestGeneratedDeletedLate(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	w := world(t)
	require.NoError(t, w.Kyverno.Background.Stop())
	t.Cleanup(func() { require.NoError(t, w.Kyverno.StartBackground(context.WithoutCancel(t.Context()))) })
	got := run(t, a, a.Operation()...)
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "Kyverno does not remove")
	require.NoError(t, w.Kyverno.StartBackground(t.Context()))
	wrong := a.Done(t.Context())
	for deadline := time.Now().Add(2 * time.Minute); wrong != nil && time.Now().Before(deadline); wrong = a.Done(t.Context()) {
		time.Sleep(time.Second)
	}
	require.NoError(t, wrong)
}
