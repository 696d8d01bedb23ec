package git

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// hook installs a hook in a repository's folder.
func hook(t *testing.T, gitDir, name, script string) {
	t.Helper()
	write(t, gitDir, "hooks/"+name, "#!/bin/sh\n"+script)
	require.NoError(t, os.Chmod(filepath.Join(gitDir, "hooks", name), 0o755))
}

func TestCommitOnlyThesePaths(t *testing.T) {
	repo, _ := checkout(t)
	write(t, repo.top, "sub/b.yaml", "staged by the operator\n")
	git(t, repo.top, "add", "sub/b.yaml")
	write(t, repo.top, "new: [x]*.yaml", "n\n") // no pathspec magic
	write(t, repo.top, "a.yaml", "server: v2\n")
	made, err := repo.Commit(t.Context(), []string{"a.yaml", "new: [x]*.yaml"}, Message("Write to v2", "Because of # this.\n# No comment.", "cnpg-recover-1"))
	require.NoError(t, err)
	require.Equal(t, git(t, repo.top, "rev-parse", "HEAD"), made)
	require.Equal(t, "a.yaml\nnew: [x]*.yaml", git(t, repo.top, "show", "--format=", "--name-only", made))
	require.Equal(t, "sub/b.yaml", git(t, repo.top, "diff", "--cached", "--name-only"))
	require.Equal(t, "Write to v2\n\nBecause of # this.\n# No comment.\n\nDrctl-Plan: cnpg-recover-1", git(t, repo.top, "log", "-1", "--format=%B"))
}

// TestCommitAfterCrash: killed between add and commit, and after the commit.
func TestCommitAfterCrash(t *testing.T) {
	repo, _ := checkout(t)
	write(t, repo.top, "a.yaml", "server: v2\n")
	git(t, repo.top, "add", "a.yaml")
	message := Message("Write to v2", "", "p")
	made, err := repo.Commit(t.Context(), []string{"a.yaml"}, message)
	require.NoError(t, err)
	again, err := repo.Commit(t.Context(), []string{"a.yaml"}, message)
	require.NoError(t, err)
	require.Equal(t, made, again)
	_, err = repo.Commit(t.Context(), []string{"a.yaml"}, Message("Write to v2", "", "another"))
	require.Contains(t, problem(t, err).Why, "do not differ")
}

func TestCommitFindsALock(t *testing.T) {
	repo, _ := checkout(t)
	write(t, repo.top, "a.yaml", "server: v2\n")
	lock := filepath.Join(repo.top, ".git", "index.lock")
	write(t, repo.top, ".git/index.lock", "")
	_, err := repo.Commit(t.Context(), []string{"a.yaml"}, Message("x", "", "p"))
	require.Contains(t, problem(t, err).Next, "rm "+lock)
	require.FileExists(t, lock)

	repo.patience = time.Minute
	time.AfterFunc(50*time.Millisecond, func() { _ = os.Remove(lock) }) // the other git ends
	_, err = repo.Commit(t.Context(), []string{"a.yaml"}, Message("x", "", "p"))
	require.NoError(t, err)
}

func TestCommitRefused(t *testing.T) {
	repo, _ := checkout(t)
	before := git(t, repo.top, "rev-parse", "HEAD")
	write(t, repo.top, "a.yaml", "server: v2\n")
	hook(t, filepath.Join(repo.top, ".git"), "pre-commit", "echo 'yamllint: line 1 is wrong' >&2; exit 1\n")
	_, err := repo.Commit(t.Context(), []string{"a.yaml"}, Message("x", "", "p"))
	require.Contains(t, problem(t, err).Why, "yamllint: line 1 is wrong")
	require.Equal(t, before, git(t, repo.top, "rev-parse", "HEAD"))

	require.NoError(t, os.Remove(filepath.Join(repo.top, ".git", "hooks", "pre-commit")))
	git(t, repo.top, "config", "commit.gpgsign", "true")
	git(t, repo.top, "config", "gpg.program", "false")
	_, err = repo.Commit(t.Context(), []string{"a.yaml"}, Message("x", "", "p"))
	require.Contains(t, problem(t, err).Why, "can't be signed")

	git(t, repo.top, "config", "commit.gpgsign", "false")
	_, err = repo.Commit(t.Context(), []string{"missing.yaml"}, Message("x", "", "p"))
	require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	_, err = repo.Commit(t.Context(), nil, "x")
	require.Error(t, err)
}

// TestCommitCancelled: a git that is told to end leaves no lock behind.
func TestCommitCancelled(t *testing.T) {
	repo, _ := checkout(t)
	write(t, repo.top, "a.yaml", "server: v2\n")
	begun := filepath.Join(t.TempDir(), "begun")
	hook(t, filepath.Join(repo.top, ".git"), "pre-commit", "touch "+begun+"; exec sleep 2\n")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(begun); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := repo.Commit(ctx, []string{"a.yaml"}, Message("x", "", "p"))
	require.ErrorIs(t, err, context.Canceled)
	require.NoFileExists(t, filepath.Join(repo.top, ".git", "index.lock"))
	require.NoError(t, os.Remove(filepath.Join(repo.top, ".git", "hooks", "pre-commit")))
	_, err = repo.Commit(t.Context(), []string{"a.yaml"}, Message("x", "", "p"))
	require.NoError(t, err)
}

func TestFindCommit(t *testing.T) {
	repo, remote := checkout(t)
	first := commit(t, repo, "server: v2\n", "plan-1")
	second := commit(t, repo, "server: v3\n", "plan-2")
	write(t, repo.top, "a.yaml", "server: v4\n")
	git(t, repo.top, "commit", "--quiet", "-am", "Speaks of it\n\nDrctl-Plan: plan-3 is no trailer here\n\nSee above.")
	for plan, want := range map[string]string{"plan-1": first, "plan-2": second, "plan-3": "", "plan": ""} {
		found, err := repo.FindCommit(t.Context(), PlanTrailer, plan, 10)
		require.NoError(t, err)
		require.Equal(t, want, found, plan)
	}
	found, err := repo.FindCommit(t.Context(), PlanTrailer, "plan-1", 1)
	require.NoError(t, err)
	require.Empty(t, found)

	other := open(t, clone(t, remote))
	require.NoError(t, repo.Push(t.Context(), second))
	require.NoError(t, other.Fetch(t.Context()))
	found, err = other.FindCommit(t.Context(), PlanTrailer, "plan-1", 10)
	require.NoError(t, err)
	require.Equal(t, first, found, "pushed from another checkout")
}

func TestPush(t *testing.T) {
	repo, remote := checkout(t)
	made := commit(t, repo, "server: v2\n", "p")
	require.NoError(t, repo.Push(t.Context(), made))
	require.Equal(t, made, git(t, remote, "rev-parse", "main"))
	require.NoError(t, repo.Push(t.Context(), made), "twice is once")

	other := open(t, clone(t, remote))
	theirs := commit(t, other, "server: theirs\n", "p")
	require.NoError(t, other.Push(t.Context(), theirs))
	require.NoError(t, repo.Push(t.Context(), made), "the remote has it, and more")

	ours := commit(t, repo, "server: v3\n", "p")
	err := repo.Push(t.Context(), ours)
	require.ErrorIs(t, err, ErrRejected)
	require.Contains(t, problem(t, err).Next, "pull --rebase origin main")
	require.Equal(t, theirs, git(t, remote, "rev-parse", "main"))
}

func TestPushRefused(t *testing.T) {
	repo, remote := checkout(t)
	made := commit(t, repo, "server: v2\n", "p")
	hook(t, remote, "pre-receive", "echo 'main is protected' >&2; exit 1\n")
	err := repo.Push(t.Context(), made)
	require.ErrorIs(t, err, ErrRejected)
	require.ErrorIs(t, err, recovery.ErrDenied)
	require.Contains(t, problem(t, err).Why, "main is protected")

	hook(t, filepath.Join(repo.top, ".git"), "pre-push", "echo 'not on a Friday' >&2; exit 1\n")
	require.Contains(t, problem(t, repo.Push(t.Context(), made)).Why, "not on a Friday")
}

func TestPushWithoutPassword(t *testing.T) {
	repo, _ := checkout(t)
	made := commit(t, repo, "server: v2\n", "p")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	git(t, repo.top, "remote", "set-url", "origin", strings.Replace(server.URL, "://", "://user:canary@", 1)+"/x.git")
	err := repo.Push(t.Context(), made)
	require.ErrorIs(t, problem(t, err), recovery.ErrDenied)
	require.NotContains(t, err.Error(), "canary")
}

func TestUndoCommit(t *testing.T) {
	repo, _ := checkout(t)
	before := git(t, repo.top, "rev-parse", "HEAD")
	made := commit(t, repo, "server: v2\n", "p")
	write(t, repo.top, "untracked.yaml", "x")

	write(t, repo.top, "sub/b.yaml", "changed\n")
	require.Contains(t, problem(t, repo.UndoCommit(t.Context(), made)).Why, "sub/b.yaml")
	git(t, repo.top, "checkout", "--quiet", "sub/b.yaml")
	require.NoError(t, repo.UndoCommit(t.Context(), made))
	require.Equal(t, before, git(t, repo.top, "rev-parse", "HEAD"))
	content, err := os.ReadFile(filepath.Join(repo.top, "a.yaml"))
	require.NoError(t, err)
	require.Equal(t, "server: v1\n", string(content))
	require.NoError(t, repo.UndoCommit(t.Context(), made), "twice is once")

	made = commit(t, repo, "server: v2\n", "p")
	onTop := commit(t, repo, "server: v3\n", "p")
	require.Contains(t, problem(t, repo.UndoCommit(t.Context(), made)).Why, "on top of it")
	require.NoError(t, repo.Push(t.Context(), onTop))
	err = repo.UndoCommit(t.Context(), onTop)
	require.Contains(t, problem(t, err).Why, "the remote has it")
	require.Contains(t, problem(t, err).Next, "revert --no-edit "+onTop)
	require.Equal(t, onTop, git(t, repo.top, "rev-parse", "HEAD"))
	first := git(t, repo.top, "rev-list", "--max-parents=0", "HEAD")
	git(t, repo.top, "reset", "--quiet", "--hard", first)
	require.Contains(t, problem(t, repo.UndoCommit(t.Context(), first)).Why, "parent")
}

func TestExport(t *testing.T) {
	repo, _ := checkout(t)
	write(t, repo.top, ".gitattributes", "a.yaml export-ignore\n")
	require.NoError(t, os.Symlink("a.yaml", filepath.Join(repo.top, "link.yaml")))
	git(t, repo.top, "add", ".")
	git(t, repo.top, "commit", "--quiet", "-m", "attributes")
	made := git(t, repo.top, "rev-parse", "HEAD")
	write(t, repo.top, "a.yaml", "not committed\n")
	write(t, repo.top, "sub/b.yaml", "staged\n")
	git(t, repo.top, "add", "sub/b.yaml")

	dir := t.TempDir()
	require.NoError(t, repo.Export(t.Context(), made, dir))
	for name, want := range map[string]string{"a.yaml": "server: v1\n", "link.yaml": "server: v1\n", "sub/b.yaml": "other: 1\n"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(content))
	}
	require.Equal(t, "sub/b.yaml", git(t, repo.top, "diff", "--cached", "--name-only"))
	require.Error(t, repo.Export(t.Context(), strings.Repeat("0", 40), t.TempDir()))
}

func TestRevertCommand(t *testing.T) {
	repo := &Repo{top: "/home/it's me/tree"}
	require.Equal(t, `git -C '/home/it'\''s me/tree' revert --no-edit abc && git -C '/home/it'\''s me/tree' push`, repo.RevertCommand("abc"))
}
