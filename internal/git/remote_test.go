package git

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// TestFollow asks for what a root Application may follow, and compares it with the checkout.
func TestFollow(t *testing.T) {
	repo, remote := checkout(t)
	first := state(t, repo).Head
	ask := func(revision string) Followed {
		t.Helper()
		followed, err := repo.Follow(t.Context(), state(t, repo), revision)
		require.NoError(t, err)
		return followed
	}
	for _, revision := range []string{"main", "HEAD", "refs/heads/main", first, first[:8]} {
		require.Equal(t, Followed{Commit: first, HasHead: true}, ask(revision), revision)
	}
	require.Equal(t, Followed{}, ask("release"))

	ours := commit(t, repo, "server: ours\n", "p")
	require.Equal(t, Followed{Commit: first}, ask("main"), "the local commit is not pushed")

	git(t, repo.top, "push", "--quiet", "origin", "HEAD:main")
	git(t, repo.top, "tag", "-a", "-m", "marked", "v1")
	git(t, repo.top, "push", "--quiet", "origin", "v1")
	require.Equal(t, Followed{Commit: ours, HasHead: true}, ask("v1"), "an annotated tag is the commit that it marks")

	other := open(t, clone(t, remote))
	theirs := commit(t, other, "server: theirs\n", "q")
	require.NoError(t, other.Push(t.Context(), theirs))
	require.Equal(t, Followed{Commit: theirs, HasHead: true, Behind: true}, ask("main"))
	require.Equal(t, ours, state(t, repo).Head, "asking changes no branch")

	require.NoError(t, os.RemoveAll(remote))
	_, err := repo.Follow(t.Context(), state(t, repo), "main")
	require.ErrorIs(t, problem(t, err), recovery.ErrNotFound)
	git(t, repo.top, "remote", "set-url", "origin", "http://127.0.0.1:1/x.git")
	_, err = repo.Follow(t.Context(), state(t, repo), "main")
	require.ErrorIs(t, problem(t, err), recovery.ErrUnreachable)
}
