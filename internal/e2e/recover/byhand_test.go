package recover

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// TestRecoveredByHand: what somebody recovered by hand, with what render printed, is proven from what the
// live object says, and handed back.
func TestRecoveredByHand(t *testing.T) {
	w, o, before := begin(t)
	manifest := run(t, o, "cnpg", "render", "immich")
	require.Zero(t, manifest.ExitCode)

	w.Argo.Pause()
	t.Cleanup(w.Argo.Resume)
	deleteCluster(t, w, metav1.DeletePropagationBackground)
	require.NoError(t, w.WaitGone(t.Context(), lab.RecoveryCluster))
	clusters, err := w.Clusters()
	require.NoError(t, err)
	_, err = clusters.Create(t.Context(), rendered(t, manifest.Stdout), metav1.CreateOptions{FieldManager: "kubectl-create", FieldValidation: metav1.FieldValidationStrict})
	require.NoError(t, err)
	require.NoError(t, w.WaitHealthy(t.Context(), lab.RecoveryCluster))
	requireProvenFromLive(t, w, o)

	got := run(t, o, "cnpg", "revert", "immich", "--yes")
	require.Equal(t, 4, got.ExitCode, "Git names the old server")
	require.Contains(t, got.Stderr, "the remote names server "+before.Server)
	pushServer(t, w, before.Server)
	w.Argo.Resume()
	got = run(t, o, "resume")
	require.Zero(t, got.ExitCode)
	after := look(t, nil)
	require.Equal(t, []string{"initdb", nextServer(t, before.Server), before.Rows}, []string{after.Bootstrap, after.Server, after.Rows})
	require.Empty(t, after.Left)
	require.NoError(t, w.Settled(t.Context()))
	got = run(t, o, "cnpg", "revert", "immich", "--yes")
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "it is handed back already")
}

// requireProvenFromLive: no plan knows of this recovery. Until there is a backup of it one thing is unknown.
func requireProvenFromLive(t *testing.T, w *flipworld.World, o *flipworld.Operator) {
	t.Helper()
	got := run(t, o, "cnpg", "verify", "immich", "-o", "json")
	require.Equal(t, 3, got.ExitCode)
	results, expected := decode[verifyReport](t, got.Stdout).results(), allProven()
	expected["backup"], expected["archiving"] = "unknown", results["archiving"]
	require.Equal(t, expected, results)
	require.NotEqual(t, "disproved", results["archiving"], "its first WAL may still be on its way")
	_, err := w.Backup(t.Context())
	require.NoError(t, err)
	got = run(t, o, "cnpg", "verify", "immich", "-o", "json")
	require.Zero(t, got.ExitCode)
	require.Equal(t, allProven(), decode[verifyReport](t, got.Stdout).results())
}

// pushServer is the edit of Git by hand.
func pushServer(t *testing.T, w *flipworld.World, server string) {
	t.Helper()
	path, err := filepath.Rel(w.GitOpsTree, filepath.Join(w.DatabaseFolder(), "cluster.yaml"))
	require.NoError(t, err)
	_, err = w.Remote.Commit(t.Context(), "The new server", func(dir string) error {
		content, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		content = bytes.ReplaceAll(content, []byte(server), []byte(nextServer(t, server)))
		return os.WriteFile(filepath.Join(dir, path), content, 0o600)
	})
	require.NoError(t, err)
}
