package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childrenPatience is how long the children of a killed program may take to end by themselves.
const childrenPatience = 30 * time.Second

// ProxiedRun is how a program ended whose requests pass a KillProxy.
type ProxiedRun struct {
	// Killed is true when the armed point was reached and the program died there. Hit is the request
	// that the armed kill or fault met; its N is 0 when there was none.
	Killed bool
	Hit    ProxyRequest
	// ExitCode is the program's own, -1 when it was killed.
	ExitCode       int
	Stdout, Stderr string
}

// RunKilled resets the proxy, runs a program, and kills that program (SIGKILL, the process alone) at the
// armed point. Its children, such as git, may end what they began: RunKilled returns when all are gone.
// A program that never reaches the point ends by itself; that is no error. Until the next Reset nothing
// passes to API server and S3.
func RunKilled(ctx context.Context, p *KillProxy, cmd *exec.Cmd, kill Kill) (ProxiedRun, error) {
	started, ended := make(chan struct{}), make(chan struct{})
	run, err := p.run(ctx, cmd, started, ended, func() {
		p.Arm(kill, func() {
			<-started
			_ = cmd.Process.Kill()
			<-ended
		})
	})
	p.die()
	run.Killed = run.Hit.N > 0 && run.ExitCode == -1
	return run, err
}

// RunSpoilt resets the proxy and runs a program to its end with one request spoilt.
func RunSpoilt(ctx context.Context, p *KillProxy, cmd *exec.Cmd, fault Fault) (ProxiedRun, error) {
	return p.run(ctx, cmd, make(chan struct{}), make(chan struct{}), func() { p.ArmFault(fault) })
}

// RunEach resets the proxy and runs a program to its end with each request spoilt for which choose gives a
// fault; it gives those requests too.
func RunEach(ctx context.Context, p *KillProxy, cmd *exec.Cmd, choose func(ProxyRequest) *Fault) (ProxiedRun, []ProxyRequest, error) {
	run, err := p.run(ctx, cmd, make(chan struct{}), make(chan struct{}), func() { p.ArmEach(choose) })
	return run, p.Hits(), err
}

// RunClean resets the proxy and runs a program to its end. Log and Mutations then say what can be killed
// and spoilt.
func RunClean(ctx context.Context, p *KillProxy, cmd *exec.Cmd) (ProxiedRun, error) {
	return p.run(ctx, cmd, make(chan struct{}), make(chan struct{}), func() {})
}

func (p *KillProxy) run(ctx context.Context, cmd *exec.Cmd, started, ended chan struct{}, arm func()) (ProxiedRun, error) {
	p.Reset()
	arm()
	run, err := runGroup(ctx, p.dir, cmd, started, ended)
	run.Hit, _ = p.Hit()
	return run, err
}

// runGroup runs a program in a process group of its own and waits for all of it. Its output goes to
// files: a pipe that a child holds open would keep us waiting for the child instead of the program.
func runGroup(ctx context.Context, dir string, cmd *exec.Cmd, started, ended chan struct{}) (ProxiedRun, error) {
	stdout, err := os.CreateTemp(dir, "stdout-")
	if err != nil {
		return ProxiedRun{}, fmt.Errorf("lab: output of %s: %w", cmd.Path, err)
	}
	defer func() { _ = stdout.Close() }()
	stderr, err := os.CreateTemp(dir, "stderr-")
	if err != nil {
		return ProxiedRun{}, fmt.Errorf("lab: output of %s: %w", cmd.Path, err)
	}
	defer func() { _ = stderr.Close() }()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return ProxiedRun{}, fmt.Errorf("lab: start %s: %w", cmd.Path, err)
	}
	close(started)
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	waitErr := cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) {
		return ProxiedRun{}, fmt.Errorf("lab: wait for %s: %w", cmd.Path, waitErr)
	}
	run := ProxiedRun{ExitCode: cmd.ProcessState.ExitCode()}
	if err := waitGroup(cmd.Process.Pid); err != nil {
		return run, err
	}
	if err := ctx.Err(); err != nil {
		return run, fmt.Errorf("lab: %s was ended: %w", cmd.Path, err)
	}
	return run, run.read(stdout.Name(), stderr.Name())
}

// waitGroup waits until no process of the group is left.
func waitGroup(group int) error {
	deadline := time.Now().Add(childrenPatience)
	for groupLives(group) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(-group, syscall.SIGKILL)
			return fmt.Errorf("lab: children of process %d were still there after %s", group, childrenPatience)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// groupLives looks for processes of the group that are no zombies: an orphan's end may never be asked for.
func groupLives(group int) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return false
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return true
	}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (comm) state ppid pgrp …; comm may hold anything, so what counts comes after its last ")".
		fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			return true
		}
	}
	return false
}

func (r *ProxiedRun) read(stdout, stderr string) error {
	out, err := os.ReadFile(stdout)
	if err != nil {
		return fmt.Errorf("lab: output: %w", err)
	}
	errs, err := os.ReadFile(stderr)
	if err != nil {
		return fmt.Errorf("lab: output: %w", err)
	}
	r.Stdout, r.Stderr = string(out), string(errs)
	return errors.Join(os.Remove(stdout), os.Remove(stderr))
}
