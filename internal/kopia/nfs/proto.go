package nfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/willscott/go-nfs-client/nfs"
)

// Procedures and statuses that the library does not name. Source: RFC 1813.
const (
	procFSStat      = 18
	statusJukebox   = 10008
	jukeboxInterval = 200 * time.Millisecond
)

// statusError is an answer of the NFS server other than NFS3_OK.
type statusError struct {
	code uint32
	// attributes are those of the file or folder, where the server sent them along.
	attributes *attributes
}

func (e *statusError) Error() string {
	var named *nfs.Error
	err := nfs.NFS3Error(e.code)
	switch {
	case errors.As(err, &named):
		return named.ErrorString
	case errors.Is(err, os.ErrPermission):
		return "NFS3ERR_PERM"
	case errors.Is(err, os.ErrNotExist):
		return "NFS3ERR_NOENT"
	case e.code == statusJukebox:
		return "NFS3ERR_JUKEBOX"
	}
	return fmt.Sprintf("NFS status %d", e.code)
}

// isStatus tells whether err is one of the answers.
func isStatus(err error, codes ...uint32) bool {
	var status *statusError
	if !errors.As(err, &status) {
		return false
	}
	for _, code := range codes {
		if status.code == code {
			return true
		}
	}
	return false
}

// nfs runs an NFSv3 procedure and waits while the server says that it needs time (a file on tape, a
// disk that spins up).
func (c *client) nfs(ctx context.Context, number uint32, args any) (*decoder, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errNoAnswer)
	defer cancel()
	for {
		reply, err := c.nfsOnce(ctx, number, args)
		if !isStatus(err, statusJukebox) {
			return reply, err
		}
		select {
		case <-time.After(jukeboxInterval):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (c *client) nfsOnce(ctx context.Context, number uint32, args any) (*decoder, error) {
	reply, err := c.call(ctx, procedure{nfs.Nfs3Prog, nfs.Nfs3Vers, number}, args)
	if err != nil {
		return nil, err
	}
	if code := reply.uint32(); code != nfs.NFS3Ok && reply.err == nil {
		// Each failure of the procedures used here but GETATTR's carries attributes; a missing or
		// garbled rest leaves them nil.
		return nil, &statusError{code: code, attributes: reply.optionalAttributes()}
	}
	return reply, reply.err
}

// lookup finds name in a folder. Source: RFC 1813, 3.3.3.
func (c *client) lookup(ctx context.Context, folder []byte, name string) ([]byte, *attributes, error) {
	reply, err := c.nfs(ctx, nfs.NFSProc3Lookup, nfs.Diropargs3{FH: folder, Filename: name})
	if err != nil {
		return nil, nil, err
	}
	handle, found := reply.opaque(), reply.optionalAttributes()
	if reply.err != nil {
		return nil, nil, reply.err
	}
	if found == nil {
		found, err = c.getattr(ctx, handle)
	}
	return handle, found, err
}

func (c *client) getattr(ctx context.Context, handle []byte) (*attributes, error) {
	reply, err := c.nfs(ctx, nfs.NFSProc3GetAttr, struct{ FH []byte }{handle})
	if err != nil {
		return nil, err
	}
	found := reply.attributes()
	return found, reply.err
}

// readlink gives what a symbolic link names.
func (c *client) readlink(ctx context.Context, handle []byte) (string, error) {
	reply, err := c.nfs(ctx, nfs.NFSProc3Readlink, struct{ FH []byte }{handle})
	if err != nil {
		return "", err
	}
	reply.optionalAttributes()
	target := string(reply.opaque())
	return target, reply.err
}

// readReply is what one READ gave: possibly less than was asked for.
type readReply struct {
	data []byte
	eof  bool
	// size of the whole file, -1 when the server did not say.
	size int64
}

// read reads once. Source: RFC 1813, 3.3.6.
func (c *client) read(ctx context.Context, handle []byte, offset int64, count uint32) (readReply, error) {
	reply, err := c.nfs(ctx, nfs.NFSProc3Read, struct {
		FH     []byte
		Offset uint64
		Count  uint32
	}{handle, uint64(offset), count})
	if err != nil {
		return readReply{}, err
	}
	result := readReply{size: -1}
	if found := reply.optionalAttributes(); found != nil {
		result.size = int64(found.SizeBytes)
	}
	reply.uint32() // count: the length of the data says it again
	result.eof, result.data = reply.bool(), reply.opaque()
	if reply.err == nil && len(result.data) > int(count) {
		reply.err = errMalformed
	}
	return result, reply.err
}

// limits are what a server can do at once. Source: RFC 1813, 3.3.19.
type limits struct{ maxReadBytes uint32 }

func (c *client) fsinfo(ctx context.Context, handle []byte) (limits, error) {
	reply, err := c.nfs(ctx, nfs.NFSProc3FSInfo, struct{ FH []byte }{handle})
	if err != nil {
		return limits{}, err
	}
	reply.optionalAttributes()
	l := limits{maxReadBytes: reply.uint32()}
	return l, reply.err
}

// fsstat gives the size of the file system and what is free for us. Source: RFC 1813, 3.3.18.
func (c *client) fsstat(ctx context.Context, handle []byte) (totalBytes, availableBytes uint64, err error) {
	reply, err := c.nfs(ctx, procFSStat, struct{ FH []byte }{handle})
	if err != nil {
		return 0, 0, err
	}
	reply.optionalAttributes()
	totalBytes = reply.uint64()
	reply.take(8) // free for root
	availableBytes = reply.uint64()
	return totalBytes, availableBytes, reply.err
}
