package nfs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/recovery"
)

// portmapperTimeout is short, because firewalls often swallow port 111 and let the NFS port through.
const portmapperTimeout = 5 * time.Second

// servicePorts are the TCP ports of the two services that a mount needs.
type servicePorts struct{ nfs, mount int }

// findPorts asks the portmapper for what the options leave open.
func findPorts(ctx context.Context, o Options, operations *atomic.Int64) (servicePorts, error) {
	ports := servicePorts{o.Port, o.MountPort}
	if ports.nfs != 0 && ports.mount != 0 {
		return ports, nil
	}
	asking := o
	asking.Timeout = min(o.Timeout, portmapperTimeout)
	c := newClient(asking, o.portmapperPort, 1, operations)
	defer c.close()
	what := "ask the portmapper of " + o.Host
	registered, err := c.registered(ctx, ports)
	switch {
	case err != nil && ctx.Err() == nil && o.Port != 0:
		return servicePorts{o.Port, o.Port}, nil
	case err != nil:
		return ports, withNext(c.problem(ctx, what, err),
			"check the host; or name the ports, so that no portmapper is needed: --repo nfs://HOST:2049/EXPORT")
	case registered.nfs == 0 || (registered.mount == 0 && o.Port == 0):
		return ports, &recovery.Problem{
			What: what, Why: "no NFSv3 over TCP is registered there: NFS is off, or version 4 only",
			Next: "switch NFSv3 on at the server, or name the port: --repo nfs://HOST:2049/EXPORT", Err: recovery.ErrUnsupported,
		}
	case registered.mount == 0:
		registered.mount = o.Port
	}
	return registered, nil
}

func (c *client) registered(ctx context.Context, known servicePorts) (servicePorts, error) {
	var err error
	if known.nfs == 0 {
		known.nfs, err = c.getport(ctx, nfs.Nfs3Prog, nfs.Nfs3Vers)
	}
	if known.mount == 0 && err == nil {
		known.mount, err = c.getport(ctx, nfs.MountProg, nfs.MountVers)
	}
	return known, err
}

// mounted is an export and the way from it to the repository's folder.
type mounted struct {
	export string
	handle []byte
	// below is absolute within the export: "/" or "/SUB/…".
	below string
}

// mountLongest mounts the longest prefix of the path that the server lets us mount.
func mountLongest(ctx context.Context, o Options, ports servicePorts, operations *atomic.Int64) (mounted, error) {
	c := newClient(o, ports.mount, 1, operations)
	defer c.close()
	what := fmt.Sprintf("mount %s (MOUNT service on port %d)", o, ports.mount)
	var first *mountError
	for _, export := range prefixes(o.Path) {
		handle, err := c.mount(ctx, export)
		if err == nil {
			below := "/" + strings.TrimPrefix(strings.TrimPrefix(o.Path, export), "/")
			return mounted{export, handle, below}, nil
		}
		var refused *mountError
		if !errors.As(err, &refused) {
			return mounted{}, c.mountProblem(ctx, what, ports, err)
		}
		if first == nil {
			first = refused
		}
	}
	return mounted{}, c.refusedExport(ctx, what, o.Path, first)
}

// mountProblem explains failures that are not about one path.
func (c *client) mountProblem(ctx context.Context, what string, ports servicePorts, err error) error {
	var refused *rejection
	switch {
	case errors.Is(err, errFlavors):
		return &recovery.Problem{
			What: what, Why: "the export accepts Kerberos only", Next: "allow sec=sys for this client on the server",
			Err: errors.Join(recovery.ErrUnsupported, err),
		}
	case errors.As(err, &refused) && refused.unserved && ports.mount == ports.nfs:
		return &recovery.Problem{
			What: what, Why: "the portmapper could not be asked for the MOUNT service, and it is not on the NFS port: " + refused.reason,
			Next: "open TCP port 111 and the port of mountd, or name mountd's: --repo 'nfs://HOST:2049/EXPORT?mountport=PORT'",
			Err:  errors.Join(recovery.ErrUnreachable, err),
		}
	}
	return c.problem(ctx, what, err)
}

// refusedExport explains why no prefix of the path could be mounted, with the server's own list of
// exports where it gives one.
func (c *client) refusedExport(ctx context.Context, what, wanted string, refused *mountError) error {
	p := &recovery.Problem{What: what, Err: errors.Join(recovery.ErrNotFound, refused)}
	exports, err := c.exports(ctx)
	list := "the server exports: " + strings.Join(exports, ", ")
	switch {
	case err != nil:
		list = "the server does not tell what it exports"
	case len(exports) == 0:
		list = "the server exports nothing to this machine"
	}
	// Some servers list only what the asking machine may mount: an empty list says nothing about names.
	if refused.code == nfs.MNT3ErrNoEnt || (len(exports) > 0 && !within(exports, wanted)) {
		p.Why = "there is no such export; " + list
		p.Next = "give one of its exports: --repo nfs://HOST/EXPORT"
		return p
	}
	p.Err = errors.Join(recovery.ErrDenied, refused)
	p.Why = "the server refuses it to this client (" + refused.Error() + "); " + list
	p.Next = "allow this machine's address for the export on the server"
	if c.unreserved.Load() {
		p.Why += "; the reason may also be our source port, which is not below 1024"
		p.Next += "; " + reservedPortNext
	}
	return p
}

// within tells whether wanted is one of the exports, or lies in one.
func within(exports []string, wanted string) bool {
	for _, export := range exports {
		if export == wanted || strings.HasPrefix(wanted, strings.TrimSuffix(export, "/")+"/") {
			return true
		}
	}
	return false
}
