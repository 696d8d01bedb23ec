package nfs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/willscott/go-nfs-client/nfs"
	"github.com/willscott/go-nfs-client/nfs/rpc"
)

// authSys is the flavor of credentials that this package sends. Source: RFC 5531, 8.1.
const authSys = 1

// getport asks a portmapper for the TCP port of a program; 0 when it is not registered.
func (c *client) getport(ctx context.Context, program, version uint32) (int, error) {
	reply, err := c.call(ctx, procedure{rpc.PmapProg, rpc.PmapVers, rpc.PmapProcGetPort},
		rpc.Mapping{Prog: program, Vers: version, Prot: rpc.IPProtoTCP})
	if err != nil {
		return 0, err
	}
	port := reply.uint32()
	if reply.err == nil && port > 65535 {
		return 0, fmt.Errorf("portmapper names port %d: %w", port, errMalformed)
	}
	return int(port), reply.err
}

// mountError is a refusal of the MOUNT service. Source: RFC 1813, 5.1.5.
type mountError struct{ code uint32 }

func (e *mountError) Error() string {
	switch e.code {
	case nfs.MNT3ErrPerm:
		return "MNT3ERR_PERM"
	case nfs.MNT3ErrNoEnt:
		return "MNT3ERR_NOENT"
	case nfs.MNT3ErrIO:
		return "MNT3ERR_IO"
	case nfs.MNT3ErrAcces:
		return "MNT3ERR_ACCES"
	case nfs.MNT3ErrNotDir:
		return "MNT3ERR_NOTDIR"
	}
	return fmt.Sprintf("MOUNT status %d", e.code)
}

// errFlavors: the export takes no AUTH_SYS credentials.
var errFlavors = errors.New("the export does not accept AUTH_SYS")

// mount asks for the handle of a path, and takes the entry off the server's list of mounts again: the
// handle stays good, and nothing is left behind on the server.
func (c *client) mount(ctx context.Context, path string) ([]byte, error) {
	reply, err := c.mountCall(ctx, nfs.MountProc3MNT, struct{ Path string }{path})
	if err != nil {
		return nil, err
	}
	if code := reply.uint32(); code != nfs.MNT3Ok && reply.err == nil {
		return nil, &mountError{code}
	}
	handle, flavors := reply.opaque(), reply.flavors()
	if reply.err != nil {
		return nil, reply.err
	}
	if len(flavors) > 0 && !slices.Contains(flavors, authSys) {
		return nil, errFlavors
	}
	// Not every server answers it, and nothing depends on it.
	_, _ = c.mountCall(ctx, nfs.MountProc3UMNT, struct{ Path string }{path})
	return handle, nil
}

func (c *client) mountCall(ctx context.Context, number uint32, args any) (*decoder, error) {
	return c.call(ctx, procedure{nfs.MountProg, nfs.MountVers, number}, args)
}

func (d *decoder) flavors() []uint32 {
	var flavors []uint32
	for range d.uint32() {
		flavor := d.uint32()
		if d.err != nil {
			return nil
		}
		flavors = append(flavors, flavor)
	}
	return flavors
}

// exports lists what the server exports to anybody. Source: RFC 1813, 5.2.5.
func (c *client) exports(ctx context.Context) ([]string, error) {
	reply, err := c.mountCall(ctx, nfs.MountProc3Export, nil)
	if err != nil {
		return nil, err
	}
	exports := reply.exports()
	return exports, reply.err
}

func (d *decoder) exports() []string {
	var exports []string
	for d.bool() {
		path := string(d.opaque())
		for d.bool() { // the clients that it is for
			d.opaque()
		}
		if d.err != nil {
			return nil
		}
		exports = append(exports, path)
	}
	return exports
}
