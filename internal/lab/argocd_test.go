package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
)

func TestArgoCD(t *testing.T) {
	f := startArgo(t)
	t.Run("the first sync makes everything", func(t *testing.T) { firstSync(t, f) })
	t.Run("what is deleted comes back", func(t *testing.T) { deletedComesBack(t, f) })
	t.Run("what drifts is healed", func(t *testing.T) { driftIsHealed(t, f) })
	t.Run("it gives up, and stays so", func(t *testing.T) { givesUp(t, f) })
	t.Run("an operation keeps its revision", func(t *testing.T) { operationKeepsItsRevision(t, f) })
	t.Run("what leaves Git is pruned", func(t *testing.T) { prunes(t, f) })
	t.Run("manifests that do not build", func(t *testing.T) { brokenManifests(t, f) })
}

func firstSync(t *testing.T, f *argoFixture) {
	f.waitSynced(t)
	live := f.cluster(t)
	require.Equal(t, "immich-database:postgresql.cnpg.io/Cluster:cloudnative-pg/immich-database", live.GetAnnotations()["argocd.argoproj.io/tracking-id"])
	require.Equal(t, immichApp, live.GetLabels()["app.kubernetes.io/instance"])
	managers := live.GetManagedFields()
	require.Len(t, managers, 1)
	require.Equal(t, lab.ArgoManager, managers[0].Manager)
	require.Equal(t, metav1.ManagedFieldsOperationApply, managers[0].Operation)
	state := f.waitFor(t, func(s lab.ArgoState) bool { return s.Health != "" })
	require.Equal(t, "Progressing", state.Health, "a Cluster without a status is in the making")
}

func deletedComesBack(t *testing.T, f *argoFixture) {
	old := f.cluster(t)
	begin := time.Now()
	require.NoError(t, f.clusters.Delete(t.Context(), immichApp, metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		live, err := f.clusters.Get(t.Context(), immichApp, metav1.GetOptions{})
		return err == nil && live.GetUID() != old.GetUID()
	}, time.Minute, 10*time.Millisecond)
	t.Logf("recreated %s after it was deleted, at an interval of %s", time.Since(begin).Round(time.Millisecond), healInterval)
	require.Contains(t, bootstrapOf(t, f.cluster(t)), "initdb")
	f.waitSynced(t)
}

func driftIsHealed(t *testing.T, f *argoFixture) {
	_, err := f.clusters.Patch(t.Context(), immichApp, types.MergePatchType, []byte(`{"spec":{"instances":2}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		instances, _, err := unstructured.NestedInt64(f.cluster(t).Object, "spec", "instances")
		return err == nil && instances == 1
	}, time.Minute, 20*time.Millisecond)
	f.waitSynced(t)
}

// givesUp proves the state that an operator must know how to leave: after the last retry nothing is
// tried any more at this commit, though nothing stands in the way.
func givesUp(t *testing.T, f *argoFixture) {
	f.replaceByRecovery(t)
	state := f.waitFor(t, func(s lab.ArgoState) bool { return s.Phase == "Failed" && s.Condition != "" })
	require.Equal(t, int64(2), state.Retries)
	require.Contains(t, state.Message, "Only one bootstrap method can be specified at a time")
	require.Contains(t, state.Message, "(retried 2 times)")
	head, err := f.remote.Head(t.Context())
	require.NoError(t, err)
	require.Contains(t, state.Condition, "Failed last sync attempt to ["+head+"]")
	require.Contains(t, bootstrapOf(t, f.cluster(t)), "recovery", "the apply changed nothing")
	require.Len(t, f.argo.EventsOf(lab.ArgoRetried), 2)

	require.NoError(t, f.clusters.Delete(t.Context(), immichApp, metav1.DeleteOptions{}))
	started := len(f.argo.EventsOf(lab.ArgoStarted))
	for range 3 {
		f.compareOnce(t)
	}
	require.Len(t, f.argo.EventsOf(lab.ArgoStarted), started, "nothing is tried again")
	gaveUp := f.argo.EventsOf(lab.ArgoGaveUp)
	require.NotEmpty(t, gaveUp)
	require.Contains(t, gaveUp[0].Message, "failed previous sync attempt to ["+head+"] and will not retry for ["+head+"]")
	_, err = f.clusters.Get(t.Context(), immichApp, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)

	f.patchApp(t, map[string]any{"operation": map[string]any{
		"initiatedBy": map[string]any{"username": "drctl"}, "sync": map[string]any{"revision": head},
	}})
	f.waitSynced(t)
	require.Contains(t, bootstrapOf(t, f.cluster(t)), "initdb")
}

// operationKeepsItsRevision proves what a push during an operation does: nothing, until the operation
// is terminated.
func operationKeepsItsRevision(t *testing.T, f *argoFixture) {
	old := f.waitSynced(t)
	f.patchApp(t, map[string]any{"spec": map[string]any{"syncPolicy": map[string]any{"retry": map[string]any{"limit": 1000}}}})
	f.replaceByRecovery(t)
	f.waitFor(t, func(s lab.ArgoState) bool { return s.Retries >= 1 })
	head, err := f.remote.Commit(t.Context(), "Nightly", func(dir string) error {
		return edit(filepath.Join(dir, filepath.FromSlash(immichPath), "scheduled-backup.yaml"), `"0 2 * * *"`, `"0 0 2 * * *"`)
	})
	require.NoError(t, err)
	seen := f.waitFor(t, func(s lab.ArgoState) bool { return s.Revision == head })
	state := f.waitFor(t, func(s lab.ArgoState) bool { return s.Retries >= seen.Retries+2 && s.OperationRevision != "" })
	require.Equal(t, "Running", state.Phase)
	require.Equal(t, old, state.OperationRevision)
	require.Equal(t, "0 2 * * *", f.schedule(t), "the newer commit was not applied")

	f.patchApp(t, map[string]any{"status": map[string]any{"operationState": map[string]any{"phase": "Terminating"}}})
	require.Eventually(t, func() bool { return len(f.argo.EventsOf(lab.ArgoTerminated)) == 1 }, time.Minute, 20*time.Millisecond)
	require.Equal(t, old, f.argo.EventsOf(lab.ArgoTerminated)[0].Revision)
	f.waitFor(t, func(s lab.ArgoState) bool { return s.OperationRevision == head && s.Retries >= 1 })

	handBack := `[{"op":"replace","path":"/spec/bootstrap","value":{"initdb":{"database":"immich","owner":"immich","secret":{"name":"immich-app-secret"}}}},
		{"op":"remove","path":"/spec/externalClusters"}]`
	_, err = f.clusters.Patch(t.Context(), immichApp, types.JSONPatchType, []byte(handBack), metav1.PatchOptions{FieldManager: "drctl"})
	require.NoError(t, err)
	require.Equal(t, head, f.waitSynced(t))
	require.Equal(t, "0 0 2 * * *", f.schedule(t))
	server, _, err := unstructured.NestedString(f.cluster(t).Object, "spec", "backup", "barmanObjectStore", "serverName")
	require.NoError(t, err)
	require.Equal(t, "immich-database-v2", server, "after the hand-back the forced apply brings Git's server")
}

func (f *argoFixture) schedule(t *testing.T) string {
	t.Helper()
	live, err := f.backups.Get(t.Context(), "immich-database-daily", metav1.GetOptions{})
	require.NoError(t, err)
	schedule, _, err := unstructured.NestedString(live.Object, "spec", "schedule")
	require.NoError(t, err)
	return schedule
}

func edit(path, old, replacement string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(content), old, replacement)), 0o600)
}

func prunes(t *testing.T, f *argoFixture) {
	_, err := f.remote.Commit(t.Context(), "No schedule", func(dir string) error {
		return edit(filepath.Join(dir, filepath.FromSlash(immichPath), "kustomization.yaml"), "  - scheduled-backup.yaml\n", "")
	})
	require.NoError(t, err)
	// It goes in the foreground, which nobody ends here: that would be the controller-manager.
	require.Eventually(t, func() bool {
		live, err := f.backups.Get(t.Context(), "immich-database-daily", metav1.GetOptions{})
		return err == nil && live.GetDeletionTimestamp() != nil && live.GetFinalizers()[0] == metav1.FinalizerDeleteDependents
	}, time.Minute, 20*time.Millisecond)
	require.Nil(t, f.cluster(t).GetDeletionTimestamp())
}

func brokenManifests(t *testing.T, f *argoFixture) {
	before := f.cluster(t)
	_, err := f.remote.Commit(t.Context(), "A typing error", func(dir string) error {
		return edit(filepath.Join(dir, filepath.FromSlash(immichPath), "kustomization.yaml"), "cluster.yaml", "klaster.yaml")
	})
	require.NoError(t, err)
	state := f.waitFor(t, func(s lab.ArgoState) bool { return s.Sync == "Unknown" })
	require.Contains(t, state.Condition, "klaster.yaml")
	require.Equal(t, before.GetUID(), f.cluster(t).GetUID())
}
