package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Message is a commit message with the trailer that names the plan.
func Message(subject, body, planID string) string {
	parts := []string{subject}
	if body != "" {
		parts = append(parts, body)
	}
	return strings.Join(append(parts, PlanTrailer+": "+planID), "\n\n") + "\n"
}

// Commit commits the given paths, below the top level, as they are in the work tree, and nothing else:
// what is staged besides stays staged. Hooks and signing run as the operator has them. It may be called
// again after a crash at any point: when the paths are as in HEAD and HEAD has this very message, HEAD is
// returned. A git of an earlier, killed drctl that still holds the lock is waited for.
func (r *Repo) Commit(ctx context.Context, paths []string, message string) (string, error) {
	what := "commit " + strings.Join(paths, ", ")
	if len(paths) == 0 {
		return "", fmt.Errorf("%s: no paths", what)
	}
	deadline := time.Now().Add(r.patience)
	for {
		commit, err := r.commitOnce(ctx, what, paths, message)
		again := isLocked(err) || isOvertaken(err)
		if !again || time.Now().After(deadline) {
			var known *recovery.Problem
			if err == nil || errors.As(err, &known) {
				return commit, err
			}
			return "", r.problem(what, err)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

func (r *Repo) commitOnce(ctx context.Context, what string, paths []string, message string) (string, error) {
	if _, err := r.run(ctx, append([]string{"add", "--"}, paths...)...); err != nil {
		return "", err
	}
	_, err := r.run(ctx, append([]string{"diff", "--quiet", "--cached", "HEAD", "--"}, paths...)...)
	if err == nil {
		return r.alreadyCommitted(ctx, what, message)
	}
	if code, ok := exitCode(err); !ok || code != 1 {
		return "", err
	}
	args := append([]string{"commit", "--quiet", "--only", "--file=-", "--"}, paths...)
	if _, err := r.runWith(ctx, message, nil, args...); err != nil {
		return "", err
	}
	return r.head(ctx)
}

func (r *Repo) head(ctx context.Context) (string, error) {
	out, err := r.run(ctx, "rev-parse", "--verify", "HEAD^{commit}")
	return strings.TrimSpace(out), err
}

// alreadyCommitted is HEAD when it is the commit that was to be made.
func (r *Repo) alreadyCommitted(ctx context.Context, what, message string) (string, error) {
	out, err := r.run(ctx, "log", "-1", "--format=%B", "HEAD")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(out) != strings.TrimSpace(message) {
		return "", &recovery.Problem{What: what, Why: "they do not differ from the last commit", Next: "see git log: somebody may have made the change already", Err: recovery.ErrNotFound}
	}
	return r.head(ctx)
}

// FindCommit is the newest commit with a trailer of that value, among the last ones of HEAD and of its
// upstream, limit of them; empty when there is none.
func (r *Repo) FindCommit(ctx context.Context, trailer, value string, limit int) (string, error) {
	what := fmt.Sprintf("look for the commit with %s: %s", trailer, value)
	revisions := []string{"HEAD"}
	if _, err := r.run(ctx, "rev-parse", "--verify", "--quiet", "@{upstream}"); err == nil {
		revisions = append(revisions, "@{upstream}")
	} else if _, ok := exitCode(err); !ok {
		return "", err
	}
	format := fmt.Sprintf("--format=%%H%%x00%%(trailers:key=%s,valueonly,unfold)%%x00", trailer)
	args := append([]string{"log", fmt.Sprintf("--max-count=%d", limit), format}, revisions...)
	out, err := r.run(ctx, append(args, "--")...)
	if err != nil {
		return "", r.problem(what, err)
	}
	fields := strings.Split(out, "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		for line := range strings.Lines(fields[i+1]) {
			if strings.TrimSpace(line) == value {
				return strings.TrimSpace(fields[i]), nil
			}
		}
	}
	return "", nil
}

// UndoCommit takes a commit of drctl back that no remote has: the branch and the files go to the commit
// before it. Only when it is HEAD, has one parent, the remote does not have it and no tracked file
// differs. When it is gone already, nothing happens.
func (r *Repo) UndoCommit(ctx context.Context, commit string) error {
	what := "take back commit " + short(commit)
	state, err := r.State(ctx)
	if err != nil {
		return err
	}
	if state.Head != commit {
		return r.alreadyUndone(ctx, what, state, commit)
	}
	refuse := func(why, next string) error {
		return &recovery.Problem{What: what, Why: why, Next: next, Err: recovery.ErrUnsupported}
	}
	if state.MidOperation != "" {
		return refuse("a "+state.MidOperation+" is under way in the checkout", "end it, then run the command again")
	}
	if !state.Clean {
		return refuse("files differ from it: "+strings.Join(state.Dirty, ", "), "commit or stash them, then run the command again")
	}
	out, err := r.run(ctx, "rev-list", "--parents", "-n", "1", commit)
	if err != nil {
		return r.problem(what, err)
	}
	if len(strings.Fields(out)) != 2 {
		return refuse("it does not have exactly one parent", "take it back by hand")
	}
	if state.Remote != "" {
		if pushed, err := r.onRemote(ctx, commit); err != nil || pushed {
			if err != nil {
				return err
			}
			return refuse("the remote has it", "type: "+r.RevertCommand(commit))
		}
	}
	if _, err := r.run(ctx, "reset", "--quiet", "--keep", commit+"~1"); err != nil {
		return r.problem(what, err)
	}
	return nil
}

// alreadyUndone is nil when the branch does not hold the commit any more.
func (r *Repo) alreadyUndone(ctx context.Context, what string, state State, commit string) error {
	holds, err := r.Contains(ctx, state.Head, commit)
	if errors.Is(err, recovery.ErrNotFound) || (err == nil && !holds) {
		return nil
	}
	if err != nil {
		return err
	}
	return &recovery.Problem{What: what, Why: "there are commits on top of it", Next: "type: git -C " + quoted(r.top) + " revert " + commit, Err: recovery.ErrUnsupported}
}

// onRemote reports whether the remote, as it is now, has a commit.
func (r *Repo) onRemote(ctx context.Context, commit string) (bool, error) {
	if err := r.Fetch(ctx); err != nil {
		return false, err
	}
	remote, err := r.RemoteHead(ctx)
	if err != nil {
		return false, err
	}
	return r.Contains(ctx, remote, commit)
}

// RevertCommand is what to type to take back a commit that was pushed.
func (r *Repo) RevertCommand(commit string) string {
	in := "git -C " + quoted(r.top)
	return in + " revert --no-edit " + commit + " && " + in + " push"
}

// Export writes the tree of a commit into an empty folder, as a checkout would: through the filters and
// line ends that are set up. (git archive would leave out what is marked export-ignore.)
func (r *Repo) Export(ctx context.Context, commit, dir string) error {
	what := fmt.Sprintf("write the tree of %s to %s", short(commit), dir)
	index, err := os.CreateTemp("", "drctl-index-")
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	name := index.Name()
	// git wants to make its index itself; an empty file is a damaged one.
	if err := errors.Join(index.Close(), os.Remove(name)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer os.Remove(name) //nolint:errcheck // A leftover in the temporary folder does no harm.
	variables := []string{"GIT_INDEX_FILE=" + name}
	if _, err := r.runWith(ctx, "", variables, "read-tree", commit); err != nil {
		return r.problem(what, err)
	}
	if _, err := r.runWith(ctx, "", variables, "checkout-index", "--all", "--quiet", "--prefix="+dir+"/"); err != nil {
		return r.problem(what, err)
	}
	return nil
}
