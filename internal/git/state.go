package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// State is how a checkout stands.
type State struct {
	Branch string // empty when Detached
	Head   string // the commit; empty ahead of the first one
	// Remote and RemoteBranch are the upstream of Branch: origin and main. Empty without one.
	Remote, RemoteBranch string
	// RemoteURL is where Remote is fetched from, without user and password.
	RemoteURL string
	Detached  bool
	// Clean is set when no tracked file differs from Head. Untracked files do no harm to a commit.
	Clean bool
	// Dirty and Untracked are paths below the top level, with slashes.
	Dirty, Untracked []string
	// MidOperation is what was begun and not ended: rebase, merge, cherry-pick, revert, bisect. Else empty.
	MidOperation string
}

// State reads how the checkout stands; it asks no remote.
func (r *Repo) State(ctx context.Context) (State, error) {
	out, err := r.run(ctx, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=none")
	if err != nil {
		return State{}, r.problem("read the state of "+r.top, err)
	}
	state := parseStatus(out)
	if state.MidOperation, err = r.midOperation(ctx); err != nil {
		return State{}, r.problem("read the state of "+r.top, err)
	}
	if state.Branch == "" {
		return state, nil
	}
	out, err = r.run(ctx, "for-each-ref", "--format=%(upstream:remotename)%00%(upstream:remoteref)", "refs/heads/"+state.Branch)
	if err != nil {
		return State{}, r.problem("read the upstream of "+state.Branch, err)
	}
	remote, branch, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\x00")
	if remote == "" || branch == "" {
		return state, nil
	}
	state.Remote, state.RemoteBranch = remote, strings.TrimPrefix(branch, "refs/heads/")
	if url, err := r.run(ctx, "remote", "get-url", remote); err == nil { // a remote may also be a bare URL
		state.RemoteURL = withoutUserInfo(strings.TrimSpace(url))
	}
	return state, nil
}

// parseStatus reads git's porcelain format 2. Source: git-status(1).
func parseStatus(out string) State {
	state := State{}
	entries := strings.Split(out, "\x00")
	for i := 0; i < len(entries); i++ {
		kind, rest, _ := strings.Cut(entries[i], " ")
		switch kind {
		case "#":
			state.header(rest)
		case "1":
			state.Dirty = append(state.Dirty, fieldFrom(rest, 7))
		case "2": // renamed or copied; the old path is the next entry
			state.Dirty = append(state.Dirty, fieldFrom(rest, 8))
			i++
		case "u":
			state.Dirty = append(state.Dirty, fieldFrom(rest, 9))
		case "?":
			state.Untracked = append(state.Untracked, rest)
		}
	}
	state.Clean = len(state.Dirty) == 0
	return state
}

func (s *State) header(line string) {
	name, value, _ := strings.Cut(line, " ")
	switch name {
	case "branch.oid":
		if value != "(initial)" {
			s.Head = value
		}
	case "branch.head":
		s.Detached = value == "(detached)"
		if !s.Detached {
			s.Branch = value
		}
	}
}

// fieldFrom is what follows n fields; a path may hold blanks.
func fieldFrom(line string, n int) string {
	for range n {
		_, line, _ = strings.Cut(line, " ")
	}
	return line
}

// midOperation is what was begun in the checkout, by the files that git keeps meanwhile. Source: git's
// wt-status.c, wt_status_get_state.
func (r *Repo) midOperation(ctx context.Context) (string, error) {
	marks := [][2]string{
		{"rebase-merge", "rebase"}, {"rebase-apply", "rebase"}, {"MERGE_HEAD", "merge"},
		{"CHERRY_PICK_HEAD", "cherry-pick"}, {"REVERT_HEAD", "revert"}, {"BISECT_LOG", "bisect"},
	}
	args := []string{"rev-parse"}
	for _, mark := range marks {
		args = append(args, "--git-path", mark[0])
	}
	out, err := r.run(ctx, args...)
	if err != nil {
		return "", err
	}
	paths := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	for i, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.top, path)
		}
		if _, err := os.Stat(path); err == nil && i < len(marks) {
			return marks[i][1], nil
		}
	}
	return "", nil
}

// upstream is the State of a checkout whose branch follows one of a remote, else a problem.
func (r *Repo) upstream(ctx context.Context, what string) (State, error) {
	state, err := r.State(ctx)
	if err != nil {
		return State{}, err
	}
	if state.Detached {
		return State{}, &recovery.Problem{What: what, Why: "no branch is checked out (detached HEAD)", Next: "type: git -C " + quoted(r.top) + " switch BRANCH", Err: recovery.ErrNotFound}
	}
	if state.Remote == "" {
		return State{}, &recovery.Problem{
			What: what, Why: "branch " + state.Branch + " follows no branch of a remote",
			Next: fmt.Sprintf("type: git -C %s branch --set-upstream-to=origin/%s", quoted(r.top), quoted(state.Branch)), Err: recovery.ErrNotFound,
		}
	}
	return state, nil
}

// Fetch brings the upstream branch up to date. It changes no branch and no file of the checkout.
func (r *Repo) Fetch(ctx context.Context) error {
	state, err := r.upstream(ctx, "fetch from the remote")
	if err != nil {
		return err
	}
	if _, err := r.run(ctx, "fetch", "--quiet", "--no-recurse-submodules", state.Remote, "refs/heads/"+state.RemoteBranch); err != nil {
		return r.problem(fmt.Sprintf("fetch %s from %s", state.RemoteBranch, state.Remote), err)
	}
	return nil
}

// Divergence counts the commits that only the checkout has, and only the upstream as of the last Fetch.
func (r *Repo) Divergence(ctx context.Context) (ahead, behind int, err error) {
	what := "compare the checkout with its remote"
	if _, err := r.upstream(ctx, what); err != nil {
		return 0, 0, err
	}
	out, err := r.run(ctx, "rev-list", "--left-right", "--count", "HEAD...@{upstream}")
	if err != nil {
		return 0, 0, r.problem(what, err)
	}
	counts := strings.Fields(out)
	if len(counts) != 2 {
		return 0, 0, fmt.Errorf("%s: git printed %q", what, out)
	}
	ahead, aheadErr := strconv.Atoi(counts[0])
	behind, behindErr := strconv.Atoi(counts[1])
	return ahead, behind, errors.Join(aheadErr, behindErr)
}

// RemoteHead is the commit of the upstream branch as the remote says now.
func (r *Repo) RemoteHead(ctx context.Context) (string, error) {
	state, err := r.upstream(ctx, "ask the remote for its commit")
	if err != nil {
		return "", err
	}
	what := fmt.Sprintf("ask %s for its branch %s", state.Remote, state.RemoteBranch)
	out, err := r.run(ctx, "ls-remote", "--exit-code", state.Remote, "refs/heads/"+state.RemoteBranch)
	if code, ok := exitCode(err); ok && code == 2 {
		return "", &recovery.Problem{What: what, Why: "the remote has no such branch", Next: "push the branch first, or follow another one", Err: errors.Join(recovery.ErrNotFound, err)}
	}
	if err != nil {
		return "", r.problem(what, err)
	}
	commit, _, _ := strings.Cut(out, "\t")
	return commit, nil
}

// Contains reports whether the history of a commit of the remote holds another commit. Both must be in
// the repository: Fetch first, else it fails with recovery.ErrNotFound.
func (r *Repo) Contains(ctx context.Context, remoteCommit, commit string) (bool, error) {
	_, err := r.run(ctx, "merge-base", "--is-ancestor", commit, remoteCommit)
	if code, ok := exitCode(err); ok && code == 1 {
		return false, nil
	}
	if err != nil {
		return false, &recovery.Problem{
			What: fmt.Sprintf("look for commit %s in %s", short(commit), short(remoteCommit)), Why: "one of them is not in this checkout",
			Next: "type: git -C " + quoted(r.top) + " fetch", Err: errors.Join(recovery.ErrNotFound, err),
		}
	}
	return true, nil
}

func short(commit string) string { return commit[:min(len(commit), 10)] }
