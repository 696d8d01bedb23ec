package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take after SIGTERM before SIGKILL.
const stopGrace = 15 * time.Second

// Stack is what was started, stopped newest first by Close.
type Stack struct {
	dir  string
	logf func(string, ...any)

	mu     sync.Mutex
	closed bool
	undo   []func() error
}

// NewStack makes an empty stack whose files live below dir.
func NewStack(dir string, logf func(string, ...any)) *Stack {
	return &Stack{dir: dir, logf: logf}
}

// Defer adds something to undo at Close, before everything that was added earlier.
func (s *Stack) Defer(undo func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = append(s.undo, undo)
}

// Close stops everything, newest first. It may be called twice.
func (s *Stack) Close() error {
	s.mu.Lock()
	undo := s.undo
	s.undo, s.closed = nil, true
	s.mu.Unlock()
	var all error
	for i := len(undo) - 1; i >= 0; i-- {
		all = errors.Join(all, undo[i]())
	}
	return all
}

// Dir makes a private folder below the stack's own.
func (s *Stack) Dir(name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("lab: folder %s: %w", name, err)
	}
	return dir, nil
}

// Logf reports progress to whoever started the stack.
func (s *Stack) Logf(format string, args ...any) { s.logf(format, args...) }

// Command is a program to start.
type Command struct {
	// Name labels it in logs; its output goes to DIR/NAME.log.
	Name string
	Path string
	Args []string
	// Env is added to the environment.
	Env []string
	// Dir is the working directory, the stack's own when empty.
	Dir string
	// Credential runs it as another user, when we are root.
	Credential *syscall.Credential
	// Ready is asked until it returns nil; nil means ready at once.
	Ready        func(ctx context.Context) error
	ReadyTimeout time.Duration
}

// Process is a started program.
type Process struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	done    chan struct{}
	waitErr error
}

// Start starts a program and waits until it is ready. The program is stopped by its process ID at
// Close, and the kernel ends it should this process die first.
func (s *Stack) Start(ctx context.Context, c Command) (*Process, error) {
	logs, err := s.Dir("logs")
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(logs, c.Name+".log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab: log of %s: %w", c.Name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = s.dir
	}
	cmd.SysProcAttr = childAttributes(c.Credential)
	p := &Process{name: c.Name, logPath: logPath, cmd: cmd, done: make(chan struct{})}
	if err := startOnThread(cmd, p); err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", c.Name, err)
	}
	s.Defer(p.Stop)
	if err := p.waitReady(ctx, c); err != nil {
		return p, fmt.Errorf("lab: %s is not ready: %w\n%s", c.Name, err, tail(logPath))
	}
	return p, nil
}

func (p *Process) waitReady(ctx context.Context, c Command) error {
	if c.Ready == nil {
		return nil
	}
	timeout := c.ReadyTimeout
	if timeout == 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended: %w", errors.Join(p.waitErr, err))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LogPath is the file with its output.
func (p *Process) LogPath() string { return p.logPath }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process at once (SIGKILL) and waits for it.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop ends the process in good order, and by force after stopGrace. It may be called twice.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

func (p *Process) end(signal syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("lab: stop %s: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return nil
}

func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 3000
	if len(content) > most {
		content = content[len(content)-most:]
	}
	return string(content)
}

// FreePort finds a TCP port on 127.0.0.1 that nobody listens on. It is one that the kernel gives to no
// outgoing connection (those begin at 32768 on Linux, at 49152 elsewhere): a connection of another test
// could take such a port before the server that it is meant for.
func FreePort() (int, error) {
	const first, count, tries = 20_000, 12_000, 100
	var err error
	for range tries {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(count))); err == nil {
			return listener.Addr().(*net.TCPAddr).Port, listener.Close()
		}
	}
	return 0, fmt.Errorf("lab: free port: %w", err)
}
