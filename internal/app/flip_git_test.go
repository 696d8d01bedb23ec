package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/git"
	"github.com/drctl/drctl/internal/recovery"
)

func TestNamesOnly(t *testing.T) {
	const before = "spec:\n  backup:\n    serverName: db-v1\n  # serverName: db-v1\n"
	tests := map[string]struct {
		after string
		want  bool
	}{
		"nothing":           {before, true},
		"one of two places": {"spec:\n  backup:\n    serverName: db-v2\n  # serverName: db-v1\n", true},
		"both":              {"spec:\n  backup:\n    serverName: db-v2\n  # serverName: db-v2\n", true},
		"a line added":      {"spec:\n  backup:\n    serverName: db-v2\n    path: x\n  # serverName: db-v1\n", false},
		"a server inserted": {"spec:\n  backup:\n    serverName: db-v1\n    more: db-v2\n  # serverName: db-v1\n", true},
		"a line removed":    {"spec:\n  backup:\n    serverName: db-v2\n", false},
		"something else":    {"spec:\n  backup:\n    serverName: db-v3\n  # serverName: db-v1\n", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, namesOnly(before, test.after, "db-v2")) })
	}
}

// TestCommitAfterACrash: one of two files was written when drctl died; both belong to the one commit.
func TestCommitAfterACrash(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.invalid"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	write := func(name, content string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	run("init", "-q", "-b", "main")
	run("config", "user.name", "x")
	run("config", "user.email", "x@example.invalid")
	write("kustomization.yaml", "resources: [cluster.yaml]\npatches:\n  - path: patch.yaml\n")
	write("cluster.yaml", `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: db, namespace: ns}
spec:
  instances: 1
  storage: {size: 1Gi}
  bootstrap: {initdb: {database: app, owner: app}}
  # externalClusters:
  #   - name: old
  #     barmanObjectStore:
  #       serverName: db-v1
  #       destinationPath: s3://b/db
`)
	write("patch.yaml", `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: db, namespace: ns}
spec:
  backup:
    barmanObjectStore:
      serverName: db-v1
      destinationPath: s3://b/db
`)
	run("add", ".")
	run("commit", "-q", "-m", "begin")
	repo, err := git.Open(t.Context(), dir)
	require.NoError(t, err)
	g := flipGit{repo: repo, folder: dir}
	// The comment was written, then drctl died.
	content, err := os.ReadFile(filepath.Join(dir, "cluster.yaml"))
	require.NoError(t, err)
	crashed := string(content)
	crashed = crashed[:len(crashed)-len("serverName: db-v1\n  #       destinationPath: s3://b/db\n")] + "serverName: db-v2\n  #       destinationPath: s3://b/db\n"
	write("cluster.yaml", crashed)
	commit, err := g.Commit(t.Context(), "cnpg-recover-20261124-061502-k3x9", "ns", "db", "db-v1", "db-v2")
	require.NoError(t, err)
	state, err := repo.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, commit, state.Head)
	require.True(t, state.Clean, "%v", state.Dirty)
	found, err := g.Committed(t.Context(), "cnpg-recover-20261124-061502-k3x9")
	require.NoError(t, err)
	require.Equal(t, commit, found)

	write("patch.yaml", "the operator's own work\n")
	_, err = g.Commit(t.Context(), "cnpg-recover-20261124-061502-zzzz", "ns", "db", "db-v2", "db-v3")
	require.Error(t, err)
	write("patch.yaml", "")
	run("checkout", "-q", "--", "patch.yaml")
	write("kustomization.yaml", "resources: [cluster.yaml]\npatches:\n  - path: patch.yaml\n# mine\n")
	_, err = g.Commit(t.Context(), "cnpg-recover-20261124-061502-zzzz", "ns", "db", "db-v2", "db-v3")
	require.ErrorIs(t, err, recovery.ErrConflict)
}
