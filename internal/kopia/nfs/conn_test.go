package nfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"
	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

func TestReplyInFragments(t *testing.T) {
	f := newFake(t)
	f.fragments = 5
	s := openStorage(t, f.options())
	_, err := s.GetMetadata(t.Context(), "kopia.repository")
	require.ErrorIs(t, err, blob.ErrBlobNotFound)
}

// TestRepliesOutOfOrder: the server answers the first call last; each caller gets its own answer.
func TestRepliesOutOfOrder(t *testing.T) {
	f := newFake(t)
	var both sync.WaitGroup
	both.Add(2)
	f.on[procNFS(nfs.NFSProc3GetAttr)] = func(args *decoder) []any {
		name := args.opaque()
		return []any{uint32(0), nfs.Fattr{Type: nfs.NF3Reg, Filesize: uint64(len(name))}}
	}
	o, err := f.options().complete()
	require.NoError(t, err)
	o.Connections = 2
	s := openStorage(t, o)
	for size := 1; size <= 2; size++ {
		go func() {
			defer both.Done()
			for range 200 {
				found, err := s.tree.getattr(t.Context(), make([]byte, size))
				if err != nil || found.SizeBytes != uint64(size) {
					t.Errorf("got %v, %v for a name of %d bytes", found, err, size)
				}
			}
		}()
	}
	both.Wait()
}

// TestSilence: a server that takes calls and answers nothing.
func TestSilence(t *testing.T) {
	f := newFake(t)
	s := openStorage(t, f.options())
	s.tree.timeout = 30 * time.Millisecond
	f.on[procNFS(nfs.NFSProc3GetAttr)] = func(*decoder) []any { return nil }
	_, err := s.tree.getattr(t.Context(), fakeRoot)
	requireProblem(t, s.tree.problem(t.Context(), "try", err), recovery.ErrUnreachable, "within 30ms")

	s.tree.timeout = time.Hour
	reason := errors.New("the operator's Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	f.on[procNFS(nfs.NFSProc3GetAttr)] = func(*decoder) []any { cancel(reason); return nil }
	_, err = s.tree.getattr(ctx, fakeRoot)
	require.ErrorIs(t, s.tree.problem(ctx, "try", err), reason)
}

// TestConnectionsThatEnd: calls are sent again, but not for ever.
func TestConnectionsThatEnd(t *testing.T) {
	f := newFake(t)
	s := openStorage(t, f.options())
	before := f.accepted.Load()
	f.raw = func(uint32) []byte { return nil }
	_, err := s.tree.getattr(t.Context(), fakeRoot)
	requireProblem(t, s.tree.problem(t.Context(), "try", err), recovery.ErrUnreachable, "ended the connection 3 times")
	require.EqualValues(t, maxAttempts-1, f.accepted.Load()-before)
	f.raw = nil
	_, err = s.GetMetadata(t.Context(), "kopia.repository")
	require.ErrorIs(t, err, blob.ErrBlobNotFound, "works again")
}

// TestAnswersThatAreNoNFS: other services, and servers that refuse below NFS.
func TestAnswersThatAreNoNFS(t *testing.T) {
	reply := func(values ...any) func(uint32) []byte {
		return func(xid uint32) []byte { return encodeReply(1, append([]any{xid, uint32(messageReply)}, values...)...) }
	}
	cases := map[string]struct {
		raw  func(uint32) []byte
		kind error
		text string
	}{
		"HTTP":           {func(uint32) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, recovery.ErrUnsupported, "not an NFS server"},
		"another call":   {func(xid uint32) []byte { return encodeReply(1, xid, uint32(messageCall)) }, recovery.ErrUnsupported, "not a reply"},
		"cut short":      {reply(uint32(0)), recovery.ErrUnsupported, "malformed"},
		"RPC version":    {reply(uint32(1), uint32(0), uint32(2)), recovery.ErrUnsupported, "RPC version"},
		"weak port":      {reply(uint32(1), uint32(1), uint32(authTooWeak)), recovery.ErrDenied, "AUTH_TOOWEAK"},
		"bad credential": {reply(uint32(1), uint32(1), uint32(1)), recovery.ErrDenied, "sec=sys"},
		"other program":  {reply(uint32(0), uint32(0), uint32(0), uint32(1)), recovery.ErrUnreachable, "mountport"},
		"failed":         {reply(uint32(0), uint32(0), uint32(0), uint32(5)), recovery.ErrUnsupported, "accept_stat 5"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.raw = c.raw
			_, err := New(t.Context(), f.options())
			requireProblem(t, err, c.kind, c.text)
		})
	}
}

func TestUnknownHost(t *testing.T) {
	_, err := New(t.Context(), Options{Host: "nas.invalid", Port: 2049, MountPort: 2049, Path: "/backup"})
	requireProblem(t, err, recovery.ErrUnreachable, "nas.invalid")
}

func TestConnectionRefused(t *testing.T) {
	port, err := lab.FreePort()
	require.NoError(t, err)
	_, err = New(t.Context(), Options{Host: "127.0.0.1", Port: port, MountPort: port, Path: "/backup"})
	requireProblem(t, err, recovery.ErrUnreachable, "connection refused", fmt.Sprint("TCP port ", port))
}

func TestClosedStorage(t *testing.T) {
	f := newFake(t)
	s, err := New(t.Context(), f.options())
	require.NoError(t, err)
	require.NoError(t, s.Close(t.Context()))
	require.NoError(t, s.Close(t.Context()))
	_, err = s.GetMetadata(t.Context(), "kopia.repository")
	require.ErrorIs(t, err, errClosed)
}

// TestReservedPort: as root, connections come from ports below 1024, and again and again, though
// there are only 424 of them.
func TestReservedPort(t *testing.T) {
	f := newFake(t)
	for range 600 {
		c, reserved, err := dialConn(t.Context(), "127.0.0.1", f.port)
		require.NoError(t, err)
		require.True(t, reserved)
		local := c.tcp.LocalAddr().(*net.TCPAddr).Port
		require.GreaterOrEqual(t, local, lowestReserved)
		require.LessOrEqual(t, local, highestReserved)
		c.fail(errClosed)
	}
}
