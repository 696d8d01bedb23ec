package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// GitBranch is the branch that the lab's remote starts with and that Argo CD follows.
const GitBranch = "main"

// GitRemote is a bare Git repository that is served over smart HTTP, as a hosted one is: a proxy can
// stand between it and whoever pushes.
type GitRemote struct {
	// URL is http://127.0.0.1:PORT/platform.git.
	URL string
	// Dir is the bare repository's folder.
	Dir string

	stack *Stack
}

// GitCommit is one commit of the remote.
type GitCommit struct {
	Hash    string
	Author  string
	Subject string
}

// GitRemote makes a bare repository whose branch GitBranch holds one commit with the files below
// seedDir, and serves it on a free port of 127.0.0.1. Anybody may fetch and push.
func (s *Stack) GitRemote(ctx context.Context, seedDir string) (*GitRemote, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	root, err := s.Dir(fmt.Sprintf("git-%d", port))
	if err != nil {
		return nil, err
	}
	r := &GitRemote{Dir: filepath.Join(root, "platform.git"), stack: s}
	if err := r.seed(ctx, seedDir); err != nil {
		return nil, err
	}
	return r, r.serve(ctx, root, port)
}

func (r *GitRemote) seed(ctx context.Context, seedDir string) error {
	if _, err := git(ctx, "", "init", "--quiet", "--bare", "--initial-branch="+GitBranch, r.Dir); err != nil {
		return err
	}
	if _, err := git(ctx, r.Dir, "config", "http.receivepack", "true"); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(r.Dir), "seed-")
	if err != nil {
		return fmt.Errorf("lab: work tree of the first commit: %w", err)
	}
	if err := os.CopyFS(work, os.DirFS(seedDir)); err != nil {
		return fmt.Errorf("lab: copy %s: %w", seedDir, err)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=" + GitBranch},
		{"add", "--all"},
		{"-c", "user.name=platform", "-c", "user.email=platform@example.invalid", "commit", "--quiet", "--message=The platform"},
		{"push", "--quiet", r.Dir, GitBranch},
	} {
		if _, err := git(ctx, work, args...); err != nil {
			return err
		}
	}
	return os.RemoveAll(work)
}

// serve answers with Git's own CGI program, so that fetch, push and refusals are the real ones.
func (r *GitRemote) serve(ctx context.Context, root string, port int) error {
	programs, err := git(ctx, "", "--exec-path")
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("lab: Git remote: %w", err)
	}
	handler := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(programs), "git-http-backend"), Dir: root, Logger: silent(), Stderr: io.Discard,
		Env: append(gitSettings(), "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=lab"),
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: silent()}
	r.stack.Defer(server.Close)
	r.URL = "http://" + address + "/" + filepath.Base(r.Dir)
	go func() { _ = server.Serve(listener) }()
	return nil
}

// Clone makes a work tree in dir. Its origin is url, the remote's own when empty, and it can commit.
// The clone itself goes past url, so that a proxy behind it sees nothing of this.
func (r *GitRemote) Clone(ctx context.Context, dir, url string) error {
	if url == "" {
		url = r.URL
	}
	if _, err := git(ctx, "", "clone", "--quiet", r.Dir, dir); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"remote", "set-url", "origin", url},
		{"config", "user.name", "operator"},
		{"config", "user.email", "operator@example.invalid"},
	} {
		if _, err := git(ctx, dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// Commit is what somebody else does meanwhile: it changes the tree at the branch's head, commits and
// pushes, and gives the commit's hash.
func (r *GitRemote) Commit(ctx context.Context, message string, change func(dir string) error) (string, error) {
	dir, err := os.MkdirTemp(filepath.Dir(r.Dir), "commit-")
	if err != nil {
		return "", fmt.Errorf("lab: work tree of a commit: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := r.Clone(ctx, dir, r.Dir); err != nil {
		return "", err
	}
	if err := change(dir); err != nil {
		return "", fmt.Errorf("lab: change for commit %q: %w", message, err)
	}
	for _, args := range [][]string{
		{"add", "--all"}, {"commit", "--quiet", "--message=" + message}, {"push", "--quiet", "origin", GitBranch},
	} {
		if _, err := git(ctx, dir, args...); err != nil {
			return "", err
		}
	}
	return r.Head(ctx)
}

// Head is the hash of the branch's newest commit.
func (r *GitRemote) Head(ctx context.Context) (string, error) { return r.resolve(ctx, GitBranch) }

// resolve gives the hash of the commit that a branch, tag or hash names.
func (r *GitRemote) resolve(ctx context.Context, revision string) (string, error) {
	hash, err := git(ctx, r.Dir, "rev-parse", "--verify", "--quiet", revision+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("lab: no commit is called %q: %w", revision, err)
	}
	return strings.TrimSpace(hash), nil
}

// Log is the branch's commits, newest first.
func (r *GitRemote) Log(ctx context.Context) ([]GitCommit, error) {
	out, err := git(ctx, r.Dir, "log", "--format=%H%x00%an%x00%s", GitBranch)
	if err != nil {
		return nil, err
	}
	commits := []GitCommit{}
	for line := range strings.Lines(out) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\x00", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("lab: git log answers %q", line)
		}
		commits = append(commits, GitCommit{Hash: fields[0], Author: fields[1], Subject: fields[2]})
	}
	return commits, nil
}

// File gives one file as it stands in a revision.
func (r *GitRemote) File(ctx context.Context, revision, path string) (string, error) {
	return git(ctx, r.Dir, "show", revision+":"+path)
}

// gitSettings keep the configuration of this machine and its user out, so that a test does the same
// everywhere, and ask for no password.
func gitSettings() []string {
	return []string{"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
}

// gitEnvironment is this process' environment without Git's own variables: below a hook they name the
// repository that the hook runs for, and Git would act on that one.
func gitEnvironment() []string {
	inherited := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "GIT_") })
	return append(inherited, gitSettings()...)
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = gitEnvironment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("lab: the program git is missing: %w (apt-get install git)", err)
	}
	if err != nil {
		return "", fmt.Errorf("lab: git %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out), nil
}
