//go:build !linux

package lab

import (
	"os/exec"
	"syscall"
)

func childAttributes(*syscall.Credential) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func startOnThread(cmd *exec.Cmd, p *Process) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.waitErr = cmd.Wait()
		close(p.done)
	}()
	return nil
}
