package git

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// Followed is what a branch, tag or commit of the remote stands for now, compared with the checkout.
type Followed struct {
	// Commit is empty when the remote has no such branch or tag.
	Commit string
	// Head: the remote has the checkout's commit in that history. Behind: it has more than the checkout.
	HasHead, Behind bool
}

// Follow asks the remote for a revision as Argo CD would: HEAD, a branch, a tag, or a commit. It fetches what it
// finds, so that histories can be compared; no branch and no file of the checkout changes.
func (r *Repo) Follow(ctx context.Context, state State, revision string) (Followed, error) {
	remote := state.Remote
	if remote == "" {
		remote = "origin"
	}
	what := fmt.Sprintf("ask %s for %s", remote, revision)
	out, err := r.run(ctx, "ls-remote", remote)
	if err != nil {
		return Followed{}, r.problem(what, err)
	}
	name, commit := pick(out, revision)
	if commit == "" {
		return Followed{}, nil
	}
	if _, err := r.run(ctx, "fetch", "--quiet", "--no-recurse-submodules", remote, name); err != nil {
		return Followed{}, r.problem(fmt.Sprintf("fetch %s from %s", name, remote), err)
	}
	followed := Followed{Commit: commit}
	if state.Head == "" {
		return followed, nil
	}
	if followed.HasHead, err = r.Contains(ctx, commit, state.Head); err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return followed, err
	}
	followed.Behind = followed.HasHead && commit != state.Head
	return followed, nil
}

// pick finds a revision among the lines of ls-remote: the ref to fetch, and its commit. An annotated tag stands for
// the commit that it marks. Source: git-ls-remote(1).
func pick(lines, revision string) (ref, commit string) {
	commits := map[string]string{}
	for line := range strings.Lines(lines) {
		hash, name, found := strings.Cut(strings.TrimSpace(line), "\t")
		if found {
			commits[name] = hash
		}
	}
	for _, name := range []string{revision, "refs/heads/" + revision, "refs/tags/" + revision} {
		if hash := commits[name]; hash != "" {
			if marked := commits[name+"^{}"]; marked != "" {
				hash = marked
			}
			return name, hash
		}
	}
	for name, hash := range commits {
		if len(revision) >= 7 && strings.HasPrefix(hash, revision) {
			return name, hash
		}
	}
	return "", ""
}
