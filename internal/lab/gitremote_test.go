package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// treeRemote is a remote with the platform's tree.
func treeRemote(t *testing.T, s *lab.Stack) *lab.GitRemote {
	t.Helper()
	seed := t.TempDir()
	require.NoError(t, testPlatform().WriteTree(seed, lab.SecretsPlaceholder))
	remote, err := s.GitRemote(t.Context(), seed)
	require.NoError(t, err)
	return remote
}

// inTree runs git as an operator would, in a work tree.
func inTree(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestGitRemoteIsFetchedFromAndPushedTo(t *testing.T) {
	remote := treeRemote(t, lab.ForTest(t))
	begin, err := remote.Head(t.Context())
	require.NoError(t, err)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	require.NoError(t, remote.Clone(t.Context(), first, ""))
	require.NoError(t, remote.Clone(t.Context(), second, ""))
	require.FileExists(t, filepath.Join(first, "infrastructure", "database", "cnpg", "immich", "cluster.yaml"))

	for _, args := range [][]string{{"commit", "--quiet", "--allow-empty", "-m", "mine"}, {"push", "--quiet", "origin", lab.GitBranch}} {
		out, err := inTree(t, first, args...)
		require.NoError(t, err, out)
	}
	head, err := remote.Head(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, begin, head)

	_, err = inTree(t, second, "commit", "--quiet", "--allow-empty", "-m", "too late")
	require.NoError(t, err)
	out, err := inTree(t, second, "push", "origin", lab.GitBranch)
	require.Error(t, err)
	require.Contains(t, out, "rejected", "a push that is behind is refused")

	theirs, err := remote.Commit(t.Context(), "theirs", func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "NOTES.md"), []byte("a note\n"), 0o600)
	})
	require.NoError(t, err)
	content, err := remote.File(t.Context(), theirs, "NOTES.md")
	require.NoError(t, err)
	require.Equal(t, "a note\n", content)
	log, err := remote.Log(t.Context())
	require.NoError(t, err)
	require.Len(t, log, 3)
	require.Equal(t, lab.GitCommit{Hash: theirs, Author: "operator", Subject: "theirs"}, log[0])
	require.Equal(t, begin, log[2].Hash)
}
