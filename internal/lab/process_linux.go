package lab

import (
	"os/exec"
	"runtime"
	"syscall"
)

// childAttributes gives the child its own process group, so that a Ctrl-C at the terminal reaches
// only us and we stop it in order, and makes the kernel end it when we die.
func childAttributes(credential *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: credential}
}

// startOnThread starts the child from a thread that lives as long as the child: Pdeathsig means the
// death of the parent THREAD, and Go may end an idle one.
func startOnThread(cmd *exec.Cmd, p *Process) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.waitErr = cmd.Wait()
			close(p.done)
		}
	}()
	return <-started
}
