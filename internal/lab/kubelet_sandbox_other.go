//go:build !linux

package lab

import (
	"context"
	"errors"
	"os/exec"
)

var errNoNamespaces = errors.New("lab: the lab's node runs Pods in Linux namespaces")

type sandbox struct{ IP string }

func newSandbox(...int) (*sandbox, error) { return nil, errNoNamespaces }

func (s *sandbox) reach(int) error { return errNoNamespaces }

func (s *sandbox) start(*exec.Cmd) error { return errNoNamespaces }

func (s *sandbox) close() {}

func (c *container) enter(ctx context.Context, command []string) *exec.Cmd {
	return exec.CommandContext(ctx, command[0], command[1:]...)
}

func needsNode() error { return errNoNamespaces }
