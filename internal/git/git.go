// Package git works on a checkout with the operator's own git program. A library would know none of what
// that program is set up with: credential helpers, SSH configuration, signing, hooks, filters, includes.
// git is never run through a shell, never asks on the terminal for a password, and never forces a push.
//
// It must not import other packages of drctl than recovery.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// PlanTrailer is the trailer by which a commit of drctl is found again.
	PlanTrailer = "Drctl-Plan"
	// killDelay is how long git may take to end, and to remove its lock files, once it was told to.
	killDelay = 3 * time.Second
	// lockPatience is how long another git in the same checkout is waited for. It may be one that an
	// earlier drctl started and that outlived it.
	lockPatience = 5 * time.Second
	lockPoll     = 50 * time.Millisecond
)

// Repo is a work tree with its repository.
type Repo struct {
	program, top string
	patience     time.Duration
}

// Open finds the work tree that holds dir. Without git, without the folder or without a work tree there
// it fails with recovery.ErrNotFound; ErrDenied when git does not trust the folder's owner.
func Open(ctx context.Context, dir string) (*Repo, error) {
	what := "open the Git checkout " + dir
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, &recovery.Problem{What: what, Why: "there is no git program", Next: "install git", Err: errors.Join(recovery.ErrNotFound, err)}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &recovery.Problem{What: what, Why: "there is no such folder", Next: "give --gitops the folder of a checkout", Err: errors.Join(recovery.ErrNotFound, err)}
	}
	r := &Repo{program: program, top: dir, patience: lockPatience}
	out, err := r.run(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, explainOpen(what, dir, err)
	}
	r.top = strings.TrimSuffix(out, "\n")
	return r, nil
}

func explainOpen(what, dir string, err error) error {
	var failed *failure
	if !errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if strings.Contains(failed.stderr, "dubious ownership") {
		return &recovery.Problem{
			What: what, Why: "it belongs to another user, so git does not trust it",
			Next: "run drctl as its owner, or type: git config --global --add safe.directory " + quoted(dir), Err: errors.Join(recovery.ErrDenied, err),
		}
	}
	return &recovery.Problem{
		What: what, Why: "it is no work tree of a Git repository: " + failed.firstLine(),
		Next: "give --gitops a folder in a checkout, made by git clone", Err: errors.Join(recovery.ErrNotFound, err),
	}
}

// Top is the work tree's top level, an absolute path free of symbolic links.
func (r *Repo) Top() string { return r.top }

// failure is a git that ended with an error.
type failure struct {
	command string
	code    int
	stderr  string // without user names and passwords in URLs
	stdout  string
}

func (f *failure) Error() string {
	return fmt.Sprintf("git %s ended with %d: %s", f.command, f.code, f.firstLine())
}

// firstLine is what git said first that is no hint.
func (f *failure) firstLine() string {
	for line := range strings.Lines(f.stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "hint:") {
			return line
		}
	}
	return "it gave no reason"
}

// run runs git and gives what it printed.
func (r *Repo) run(ctx context.Context, args ...string) (string, error) {
	return r.runWith(ctx, "", nil, args...)
}

// runWith runs git with a standard input and more variables.
func (r *Repo) runWith(ctx context.Context, stdin string, variables []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, r.program, append([]string{"--no-pager"}, args...)...)
	cmd.Dir = r.top
	cmd.Env = append(environment(os.Environ()), variables...)
	cmd.Stdin = strings.NewReader(stdin)
	// A git that is told to end removes its lock files; a killed one leaves them.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("git %s: %w", args[0], ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", &failure{command: args[0], code: exit.ExitCode(), stderr: withoutUserInfo(stderr.String()), stdout: withoutUserInfo(stdout.String())}
	}
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return stdout.String(), nil
}

// environment is the caller's, so that the operator's set-up counts, without what would point git at
// another repository (as a hook's environment does), and with answers in English.
func environment(inherited []string) []string {
	var kept []string
	for _, variable := range inherited {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_PREFIX",
			"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_GLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "LANGUAGE":
		default:
			kept = append(kept, variable)
		}
	}
	return append(kept, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_LITERAL_PATHSPECS=1", "GIT_EDITOR=true")
}

// exitCode is git's exit code; ok is false when git did not end by itself.
func exitCode(err error) (code int, ok bool) {
	var failed *failure
	if errors.As(err, &failed) {
		return failed.code, true
	}
	return 0, false
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@=", r)
	}
	if word != "" && strings.IndexFunc(word, plain) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
