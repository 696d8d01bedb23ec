package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// portmapperPort is where rpcbind answers; it cannot be chosen.
const portmapperPort = 111

// holdRPCBind makes sure that an rpcbind answers, and keeps every other stack of this machine from
// stopping it, or from registering with it, until release is called: ganesha does not start without
// rpcbind, nor when another server registers the same program at the same moment. An rpcbind that was
// there already is left alone.
func (s *Stack) holdRPCBind(ctx context.Context) (release func(), err error) {
	lock := flock.New(filepath.Join(os.TempDir(), "drctl-lab-rpcbind.lock"))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lab: lock of rpcbind %s: %w", lock.Path(), err)
	}
	release = func() { _ = lock.Unlock() }
	if dialPort(ctx, "127.0.0.1", portmapperPort) == nil {
		return release, nil
	}
	if err := s.startRPCBind(ctx, lock.Path()); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (s *Stack) startRPCBind(ctx context.Context, lockPath string) error {
	program, err := rpcbindProgram(systemFolders()...)
	if err != nil {
		return err
	}
	process, err := s.Start(ctx, Command{
		Name: "rpcbind", Path: program, Args: []string{"-w", "-f"}, ReadyTimeout: 20 * time.Second,
		Ready: func(ctx context.Context) error { return dialPort(ctx, "127.0.0.1", portmapperPort) },
	})
	if err != nil {
		return err
	}
	// Undone before Start's own stop: that one then finds the process gone.
	s.Defer(func() error {
		lock := flock.New(lockPath)
		if err := lock.Lock(); err != nil {
			return fmt.Errorf("lab: lock of rpcbind %s: %w", lockPath, err)
		}
		defer func() { _ = lock.Unlock() }()
		return process.Stop()
	})
	return nil
}

func rpcbindProgram(folders ...string) (string, error) {
	program, err := findProgram("rpcbind", folders...)
	if err != nil {
		return "", fmt.Errorf("lab: no rpcbind: apt-get install rpcbind: %w", err)
	}
	return program, nil
}
