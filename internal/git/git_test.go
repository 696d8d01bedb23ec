package git

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// git runs the real program, as the operator would.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// setUp gives every git of a test a home of its own.
func setUp(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	write(t, home, ".gitconfig", "[user]\n\tname = Operator\n\temail = operator@example.invalid\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n")
}

// checkout makes a bare remote with one commit, and a clone of it.
func checkout(t *testing.T) (repo *Repo, remote string) {
	t.Helper()
	setUp(t)
	remote = filepath.Join(t.TempDir(), "remote.git")
	git(t, ".", "init", "--quiet", "--bare", remote)
	dir := clone(t, remote)
	write(t, dir, "a.yaml", "server: v1\n")
	write(t, dir, "sub/b.yaml", "other: 1\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "--quiet", "-m", "first")
	git(t, dir, "push", "--quiet", "origin", "HEAD:main")
	return open(t, filepath.Join(dir, "sub")), remote
}

func clone(t *testing.T, remote string, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	git(t, ".", append([]string{"clone", "--quiet", remote, dir}, args...)...)
	return dir
}

func open(t *testing.T, dir string) *Repo {
	t.Helper()
	repo, err := Open(t.Context(), dir)
	require.NoError(t, err)
	repo.patience = 200 * time.Millisecond
	return repo
}

// problem is an error that says what, why and what to type.
func problem(t *testing.T, err error) *recovery.Problem {
	t.Helper()
	var found *recovery.Problem
	require.ErrorAs(t, err, &found)
	require.NotEmpty(t, found.What)
	require.NotEmpty(t, found.Why)
	require.NotEmpty(t, found.Next)
	return found
}

func state(t *testing.T, repo *Repo) State {
	t.Helper()
	found, err := repo.State(t.Context())
	require.NoError(t, err)
	return found
}

func commit(t *testing.T, repo *Repo, content, plan string) string {
	t.Helper()
	write(t, repo.top, "a.yaml", content)
	made, err := repo.Commit(t.Context(), []string{"a.yaml"}, Message("Write to v2", "", plan))
	require.NoError(t, err)
	return made
}

func TestOpen(t *testing.T) {
	setUp(t)
	t.Run("no folder", func(t *testing.T) {
		_, err := Open(t.Context(), filepath.Join(t.TempDir(), "missing"))
		require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	})
	t.Run("no repository", func(t *testing.T) {
		_, err := Open(t.Context(), t.TempDir())
		require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	})
	t.Run("a bare one", func(t *testing.T) {
		dir := t.TempDir()
		git(t, dir, "init", "--quiet", "--bare")
		_, err := Open(t.Context(), dir)
		require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	})
	t.Run("another owner", func(t *testing.T) {
		dir := t.TempDir()
		git(t, dir, "init", "--quiet")
		t.Setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
		_, err := Open(t.Context(), dir)
		require.ErrorIs(t, problem(t, err), recovery.ErrDenied)
		require.Contains(t, problem(t, err).Next, "safe.directory")
	})
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Open(t.Context(), ".")
		require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Open(ctx, t.TempDir())
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestHookEnvironmentIsNotInherited(t *testing.T) {
	repo, _ := checkout(t)
	t.Setenv("GIT_DIR", t.TempDir())
	t.Setenv("GIT_INDEX_FILE", filepath.Join(t.TempDir(), "index"))
	require.True(t, state(t, repo).Clean)
}

func TestState(t *testing.T) {
	repo, remote := checkout(t)
	head := git(t, repo.top, "rev-parse", "HEAD")
	require.Equal(t, State{Branch: "main", Head: head, Remote: "origin", RemoteBranch: "main", RemoteURL: remote, Clean: true}, state(t, repo))

	write(t, repo.top, "new file\nü.yaml", "x")
	write(t, repo.top, "a.yaml", "changed")
	git(t, repo.top, "mv", "sub/b.yaml", "sub/c d.yaml")
	found := state(t, repo)
	require.False(t, found.Clean)
	require.Equal(t, []string{"a.yaml", "sub/c d.yaml"}, found.Dirty)
	require.Equal(t, []string{"new file\nü.yaml"}, found.Untracked)

	git(t, repo.top, "reset", "--quiet", "--hard")
	git(t, repo.top, "remote", "set-url", "origin", "https://user:canary@example.invalid/x.git")
	require.Equal(t, "https://example.invalid/x.git", state(t, repo).RemoteURL)
	git(t, repo.top, "checkout", "--quiet", "-b", "local")
	require.Empty(t, state(t, repo).Remote)
	git(t, repo.top, "checkout", "--quiet", "--detach")
	require.True(t, state(t, repo).Detached)
}

func TestMidOperation(t *testing.T) {
	repo, _ := checkout(t)
	git(t, repo.top, "checkout", "--quiet", "-b", "side")
	commit(t, repo, "server: side\n", "p")
	git(t, repo.top, "checkout", "--quiet", "main")
	commit(t, repo, "server: main\n", "p")
	for _, operation := range []string{"merge", "rebase", "cherry-pick", "revert"} {
		cmd := exec.Command("git", operation, "side")
		cmd.Dir = repo.top
		require.Error(t, cmd.Run(), operation)
		found := state(t, repo)
		require.Equal(t, operation, found.MidOperation)
		require.Equal(t, []string{"a.yaml"}, found.Dirty)
		git(t, repo.top, operation, "--abort")
	}
	git(t, repo.top, "bisect", "start")
	require.Equal(t, "bisect", state(t, repo).MidOperation)
}

func TestNoUpstream(t *testing.T) {
	repo, _ := checkout(t)
	asks := map[string]func() error{
		"Fetch":      func() error { return repo.Fetch(t.Context()) },
		"Divergence": func() error { _, _, err := repo.Divergence(t.Context()); return err },
		"RemoteHead": func() error { _, err := repo.RemoteHead(t.Context()); return err },
		"Push":       func() error { return repo.Push(t.Context(), "HEAD") },
	}
	git(t, repo.top, "checkout", "--quiet", "-b", "local")
	for name, ask := range asks {
		require.Contains(t, problem(t, ask()).Next, "--set-upstream-to", name)
	}
	git(t, repo.top, "checkout", "--quiet", "--detach")
	for name, ask := range asks {
		require.Contains(t, problem(t, ask()).Why, "detached", name)
	}
}

func TestDivergence(t *testing.T) {
	repo, remote := checkout(t)
	other := open(t, clone(t, remote))
	theirs := commit(t, other, "server: theirs\n", "p")
	require.NoError(t, other.Push(t.Context(), theirs))
	ours := commit(t, repo, "server: ours\n", "p")

	head, err := repo.RemoteHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, theirs, head)
	_, err = repo.Contains(t.Context(), head, ours)
	require.ErrorIs(t, problem(t, err), recovery.ErrNotFound, "ahead of a fetch it is not known")

	ahead, behind, err := repo.Divergence(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{ahead, behind})
	require.NoError(t, repo.Fetch(t.Context()))
	ahead, behind, err = repo.Divergence(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{ahead, behind})

	for commit, want := range map[string]bool{ours: false, theirs: true, git(t, repo.top, "rev-parse", "HEAD~1"): true} {
		holds, err := repo.Contains(t.Context(), head, commit)
		require.NoError(t, err)
		require.Equal(t, want, holds)
	}
}

func TestRemoteGone(t *testing.T) {
	repo, remote := checkout(t)
	git(t, remote, "branch", "-m", "main", "renamed")
	_, err := repo.RemoteHead(t.Context())
	require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	require.NoError(t, os.RemoveAll(remote))
	require.ErrorIs(t, problem(t, repo.Fetch(t.Context())), recovery.ErrNotFound)
	git(t, repo.top, "remote", "set-url", "origin", "http://127.0.0.1:1/x.git")
	_, err = repo.RemoteHead(t.Context())
	require.ErrorIs(t, problem(t, err), recovery.ErrUnreachable)
}

func TestShallowClone(t *testing.T) {
	repo, remote := checkout(t)
	second := commit(t, repo, "server: v2\n", "p1")
	require.NoError(t, repo.Push(t.Context(), second))
	shallow := open(t, clone(t, "file://"+remote, "--depth=1"))
	third := commit(t, shallow, "server: v3\n", "p2")
	require.NoError(t, shallow.Push(t.Context(), third))
	head, err := shallow.RemoteHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, third, head)
	found, err := shallow.FindCommit(t.Context(), PlanTrailer, "p2", 100)
	require.NoError(t, err)
	require.Equal(t, third, found)
	fourth := commit(t, shallow, "server: v4\n", "p3")
	require.NoError(t, shallow.UndoCommit(t.Context(), fourth))
	require.Equal(t, third, state(t, shallow).Head)
}
