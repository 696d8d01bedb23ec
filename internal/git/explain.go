package git

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// isLocked reports whether git found a lock file of another git.
func isLocked(err error) bool {
	var failed *failure
	return errors.As(err, &failed) && strings.Contains(failed.stderr, ".lock': File exists")
}

// isOvertaken reports whether another git moved the branch while this one was at work.
func isOvertaken(err error) bool {
	var failed *failure
	return errors.As(err, &failed) && strings.Contains(failed.stderr, "cannot lock ref") && strings.Contains(failed.stderr, "but expected")
}

// explanation is a phrase of git's with its meaning.
type explanation struct {
	phrases   []string
	why, next string
	kind      error
}

// explanations, the most specific first. Sources: git remote-curl.c, connect.c, lockfile.c; OpenSSH.
func explanations() []explanation {
	return []explanation{
		{[]string{"could not read Username", "could not read Password", "terminal prompts disabled", "Authentication failed", "HTTP Basic: Access denied"},
			"the remote wants a user and password that git does not have", "set up a credential helper (git help credentials), check it with: git fetch", recovery.ErrDenied},
		{[]string{"Permission denied (", "Host key verification failed"},
			"SSH refuses the key or the host", "check it with: git fetch", recovery.ErrDenied},
		{[]string{"The requested URL returned error: 403", "The requested URL returned error: 401", "protected branch"},
			"the remote refuses this user", "use a user that may push to this branch", recovery.ErrDenied},
		{[]string{"Could not resolve host", "Connection refused", "Failed to connect", "timed out", "Connection reset", "Could not connect", "returned error: 5", "early EOF", "unexpected disconnect", "Network is unreachable",
			"Empty reply from server", "returned error: 408", "returned error: 409", "returned error: 429", "HTTP/2 stream", "transfer closed"},
			"the remote does not answer", "check the network, then run the command again", recovery.ErrUnreachable},
		{[]string{"does not appear to be a git repository", "not found", "does not exist"},
			"the remote is not there", "check it with: git remote -v", recovery.ErrNotFound},
		{[]string{"Please tell me who you are", "unable to auto-detect email", "empty ident name"},
			"git does not know who commits", "type: git config user.name NAME && git config user.email ADDRESS", recovery.ErrNotFound},
		{[]string{"gpg failed to sign", "failed to write commit object", "error: Load key"},
			"the commit can't be signed", "check that your signing key can be used, with: git commit --allow-empty --dry-run -S", recovery.ErrDenied},
		{[]string{"paths are ignored by", "did not match any file"},
			"a path is ignored or not there", "check it with: git status", recovery.ErrNotFound},
		{[]string{"index file corrupt", "object file", "bad object", "unable to read tree"},
			"the repository is damaged", "check it with: git fsck", recovery.ErrDamaged},
	}
}

// problem explains why git failed; a cancellation stays what it is.
func (r *Repo) problem(what string, err error) error {
	var failed *failure
	if !errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if isLocked(err) {
		lock := lockFile(failed.stderr)
		return &recovery.Problem{
			What: what, Why: "another git works in this checkout, or one died and left its lock file " + lock,
			Next: "see that no git runs there (pgrep -a git), then type: rm " + quoted(lock), Err: err,
		}
	}
	for _, known := range explanations() {
		for _, phrase := range known.phrases {
			if strings.Contains(failed.stderr, phrase) {
				return &recovery.Problem{What: what, Why: known.why + ": " + failed.firstLine(), Next: known.next, Err: errors.Join(known.kind, err)}
			}
		}
	}
	next := "see what git says, with: git -C " + quoted(r.top) + " status"
	if failed.command == "commit" {
		next = "a hook may have refused it: correct what it says, then run the command again"
	}
	return &recovery.Problem{What: what, Why: strings.Join(lastLines(failed.stderr, 3), "; "), Next: next, Err: err}
}

// lockFile is the path in git's message.
func lockFile(stderr string) string {
	if found := regexp.MustCompile(`'([^']+\.lock)'`).FindStringSubmatch(stderr); found != nil {
		return found[1]
	}
	return "index.lock"
}

// lastLines are the last lines that say something.
func lastLines(text string, count int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "hint:") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return []string{"it gave no reason"}
	}
	return lines[max(0, len(lines)-count):]
}
