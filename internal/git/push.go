package git

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// Push brings a commit, and what it is built on, to the upstream branch; it is never forced. When the
// remote has it already, nothing happens. A refusal says why and what to type.
func (r *Repo) Push(ctx context.Context, commit string) error {
	state, err := r.upstream(ctx, "push commit "+short(commit))
	if err != nil {
		return err
	}
	what := fmt.Sprintf("push commit %s to %s of %s", short(commit), state.RemoteBranch, state.Remote)
	_, err = r.run(ctx, "push", "--porcelain", state.Remote, commit+":refs/heads/"+state.RemoteBranch)
	if err == nil {
		return nil
	}
	var failed *failure
	if !errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", what, err)
	}
	rejection := rejectionOf(failed.stdout)
	if rejection == "" {
		return r.problem(what, err)
	}
	if isBehind(rejection) {
		if there, fetchErr := r.onRemote(ctx, commit); fetchErr == nil && there {
			return nil
		}
		return &recovery.Problem{
			What: what, Why: "somebody else pushed meanwhile: " + rejection,
			Next: fmt.Sprintf("type: git -C %s pull --rebase %s %s, then run the command again", quoted(r.top), quoted(state.Remote), quoted(state.RemoteBranch)),
			Err:  errors.Join(ErrRejected, err),
		}
	}
	return &recovery.Problem{
		What: what, Why: "the remote refuses it: " + strings.Join(append([]string{rejection}, remoteLines(failed.stderr)...), "; "),
		Next: "bring the commit into the branch as the remote wants it (a merge request, the rules of its hook), then run the command again",
		Err:  errors.Join(ErrRejected, recovery.ErrDenied, err),
	}
}

// ErrRejected: the remote was reached and did not take the commit.
var ErrRejected = errors.New("push rejected")

// rejectionOf is the reason of the line that begins with "!". Source: git-push(1), --porcelain.
func rejectionOf(stdout string) string {
	for line := range strings.Lines(stdout) {
		if rest, found := strings.CutPrefix(line, "!\t"); found {
			_, reason, _ := strings.Cut(rest, "\t")
			return strings.TrimSpace(reason)
		}
	}
	return ""
}

// isBehind tells a remote with newer commits from one that refuses.
func isBehind(rejection string) bool {
	return strings.Contains(rejection, "fetch first") || strings.Contains(rejection, "non-fast-forward")
}

// remoteLines is what the remote's hook printed, three lines at most.
func remoteLines(stderr string) []string {
	var said []string
	for line := range strings.Lines(stderr) {
		if rest, found := strings.CutPrefix(line, "remote:"); found && strings.TrimSpace(rest) != "" && len(said) < 3 {
			said = append(said, strings.TrimSpace(rest))
		}
	}
	return said
}

// withoutUserInfo takes user and password out of the URLs of a text.
func withoutUserInfo(text string) string {
	return regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/@\s]+@`).ReplaceAllString(text, "$1")
}
