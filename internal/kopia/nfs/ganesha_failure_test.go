package nfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// startServer is startGanesha for tests that break the server.
func startServer(t *testing.T, o lab.GaneshaOptions) (*lab.Ganesha, Options) {
	t.Helper()
	server, err := lab.ForTest(t).Ganesha(t.Context(), o)
	require.NoError(t, err)
	return server, Options{Host: server.Host, Port: server.Port, MountPort: server.MountPort, Path: server.Export, UID: movers, GID: movers}
}

func TestServerKilledDuringAListing(t *testing.T) {
	server, o := startServer(t, lab.GaneshaOptions{Dir: smallTree(t)})
	s := openStorage(t, o)
	err := s.ListBlobs(t.Context(), "", func(blob.Metadata) error {
		return server.Process.Kill() // the shards below are still to be read
	})
	requireProblem(t, err, recovery.ErrUnreachable, "check that the server runs")

	err = s.GetBlob(t.Context(), smallPack, 0, -1, new(buffer))
	requireProblem(t, err, recovery.ErrUnreachable)
	_, err = s.GetCapacity(t.Context())
	requireProblem(t, err, recovery.ErrUnreachable)
	_, err = New(t.Context(), o)
	requireProblem(t, err, recovery.ErrUnreachable, "connection refused")
}

// stop stops a process, and returns when each of its threads has: a signal is only on its way at first.
func stop(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for ctx.Err() == nil {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			return err
		}
		stopped := 0
		for _, path := range threads {
			// pid (comm) state …; comm may hold anything, so what counts comes after its last ")".
			content, _ := os.ReadFile(path)
			if fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:])); len(fields) > 0 && fields[0] == "T" {
				stopped++
			}
		}
		if stopped > 0 && stopped == len(threads) {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// TestServerHangsDuringAListing: stopped, not ended, the server keeps its connections and answers
// nothing, as one does whose disk is gone.
func TestServerHangsDuringAListing(t *testing.T) {
	server, o := startServer(t, lab.GaneshaOptions{Dir: smallTree(t)})
	t.Cleanup(func() { _ = syscall.Kill(server.Process.PID(), syscall.SIGCONT) })
	s := openStorage(t, o)
	s.tree.timeout = 500 * time.Millisecond
	err := s.ListBlobs(t.Context(), "", func(blob.Metadata) error {
		return stop(t.Context(), server.Process.PID())
	})
	requireProblem(t, err, recovery.ErrUnreachable, "no answer", "within 500ms")

	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the operator")
	cancel(stopped)
	_, err = s.GetMetadata(ctx, smallPack)
	require.ErrorIs(t, err, stopped)
	require.NotErrorIs(t, err, recovery.ErrUnreachable)

	require.NoError(t, syscall.Kill(server.Process.PID(), syscall.SIGCONT))
	require.Eventually(t, func() bool {
		_, err := s.GetMetadata(t.Context(), smallPack)
		return err == nil
	}, time.Minute, 50*time.Millisecond, "the storage makes new connections once the server answers")
}

func TestServerComesBack(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	server, err := stack.Ganesha(t.Context(), lab.GaneshaOptions{Dir: dir})
	require.NoError(t, err)
	o := Options{Host: server.Host, Port: server.Port, MountPort: server.MountPort, Path: dir, UID: movers, GID: movers}
	s := openStorage(t, o)
	require.Len(t, listAll(t, s, ""), 2)
	require.NoError(t, server.Restart(t.Context(), stack))
	require.Len(t, listAll(t, s, ""), 2, "handles outlive the server's restart")
}

func TestFolderReplacedUnderTheHandle(t *testing.T) {
	dir := smallTree(t)
	_, o := startServer(t, lab.GaneshaOptions{Dir: filepath.Dir(dir)})
	o.Path = dir
	s := openStorage(t, o)
	require.Len(t, listAll(t, s, ""), 2)

	// A shard that was removed: its blob is not found, though its handle is known.
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "p")))
	err := s.GetBlob(t.Context(), smallPack, 0, -1, new(buffer))
	require.ErrorIs(t, err, blob.ErrBlobNotFound)

	// The repository itself: no blob can be said to be missing.
	require.NoError(t, os.RemoveAll(dir))
	err = s.ListBlobs(t.Context(), "", func(blob.Metadata) error { return nil })
	requireProblem(t, err, recovery.ErrUnreachable, "run the command again")
}
