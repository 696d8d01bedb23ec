package nfs

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/recovery"
)

const reservedPortNext = "run drctl as root, or let the export accept other source ports: option `insecure` in /etc/exports (Linux), " +
	"`PrivilegedPort = false` (nfs-ganesha), \"allow connections from non-privileged ports\" (Synology, QNAP)"

// problem explains a failed call to the person who waits for it. What says what was being done.
func (c *client) problem(ctx context.Context, what string, err error) error {
	var done *recovery.Problem
	var refused *rejection
	var status *statusError
	switch {
	case err == nil, errors.As(err, &done):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case errors.Is(err, errUnconnected), errors.Is(err, errLost), errors.Is(err, errNoAnswer):
		return c.unreachable(what, err)
	case errors.As(err, &refused):
		return c.refused(what, refused)
	case errors.As(err, &status):
		return c.statusProblem(what, status)
	case errors.Is(err, errMalformed):
		return &recovery.Problem{
			What: what, Why: fmt.Sprintf("what answers on %s port %d does not speak NFSv3 (%v)", c.host, c.port, err),
			Next: "check host and port in --repo nfs://HOST:PORT/EXPORT", Err: errors.Join(recovery.ErrUnsupported, err),
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (c *client) unreachable(what string, err error) error {
	p := &recovery.Problem{What: what, Err: errors.Join(recovery.ErrUnreachable, err)}
	p.Next = fmt.Sprintf("check that the server runs and that this machine reaches its TCP port %d", c.port)
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		p.Why, p.Next = "the host name "+name.Name+" is not known", "check the host in --repo, or give its address"
	case errors.Is(err, errNoAnswer):
		p.Why = fmt.Sprintf("no answer from %s port %d within %s", c.host, c.port, c.timeout)
	case errors.Is(err, errLost):
		p.Why = fmt.Sprintf("%s port %d ended the connection %d times", c.host, c.port, maxAttempts)
	default:
		p.Why = fmt.Sprintf("no connection to %s port %d: %v", c.host, c.port, withoutPorts(err))
	}
	return p
}

// withoutPorts gives the system's own reason: the error around it names our source port, which tells
// the reader nothing.
func withoutPorts(err error) error {
	var operation *net.OpError
	if errors.As(err, &operation) {
		return operation.Err
	}
	return err
}

// refused explains an answer of the RPC layer: mostly a source port or a credential that the server
// does not take.
func (c *client) refused(what string, refused *rejection) error {
	p := &recovery.Problem{What: what, Why: refused.Error(), Err: errors.Join(recovery.ErrDenied, refused)}
	switch {
	case refused.auth == 0:
		p.Next, p.Err = "check the port in --repo nfs://HOST:PORT/EXPORT; NFSv3 must be on at the server", errors.Join(recovery.ErrUnsupported, refused)
	case c.unreserved.Load():
		p.Why = "the export demands a source port below 1024, which only root may use (" + refused.reason + ")"
		p.Next = reservedPortNext
	default:
		p.Next = "allow this machine, and sec=sys, for the export on the server"
	}
	return p
}

func (c *client) statusProblem(what string, status *statusError) error {
	p := &recovery.Problem{What: what, Why: "the server answers " + status.Error(), Err: status}
	switch status.code {
	case nfs.NFS3ErrPerm, nfs.NFS3ErrAcces:
		c.explainDenial(p, status)
	case nfs.NFS3ErrNoEnt:
		p.Why, p.Err = "it is not there", errors.Join(recovery.ErrNotFound, status)
	case nfs.NFS3ErrNotDir:
		p.Why, p.Err = "it is not a folder", errors.Join(recovery.ErrNotFound, status)
		p.Next = "give the repository's folder in --repo"
	case nfs.NFS3ErrStale, nfs.NFS3ErrBadHandle:
		p.Why = "the server does not know the folder any more (" + status.Error() + "): it was replaced, or exported anew, meanwhile"
		p.Next, p.Err = "run the command again", errors.Join(recovery.ErrUnreachable, status)
	case nfs.NFS3ErrNotSupp:
		p.Next, p.Err = "use an NFS server with READDIRPLUS, or mount the export and give --repo PATH", errors.Join(recovery.ErrUnsupported, status)
	case statusJukebox:
		p.Why = fmt.Sprintf("the server asked to wait for more than %s (%s)", c.timeout, status)
		p.Next, p.Err = "run the command again later", errors.Join(recovery.ErrUnreachable, status)
	default:
		p.Next = "look into the server's log"
	}
	return p
}

// explainDenial tells apart whom the server refuses: a source port (Linux answers NFS3ERR_PERM) or a
// user.
func (c *client) explainDenial(p *recovery.Problem, status *statusError) {
	p.Err = errors.Join(recovery.ErrDenied, status)
	if status.code == nfs.NFS3ErrPerm && c.unreserved.Load() {
		p.Why = "the export demands a source port below 1024, which only root may use (" + status.Error() + ")"
		p.Next = reservedPortNext
		return
	}
	p.Why = fmt.Sprintf("the server refuses uid %d, gid %d (%s)", c.uid, c.gid, status)
	p.Next = "name the owner of the files: --repo 'nfs://HOST/EXPORT?uid=UID&gid=GID'"
	if c.uid == 0 {
		p.Why += "; root is mapped to nobody, unless the export says no_root_squash"
	}
	if owner := status.attributes; owner != nil {
		p.Why += fmt.Sprintf("; it is %04o and belongs to %d:%d", owner.Mode&0o7777, owner.UID, owner.GID)
		p.Next = fmt.Sprintf("read it as its owner: --repo 'nfs://HOST/EXPORT?uid=%d&gid=%d'", owner.UID, owner.GID)
	}
}

// withNext replaces what a Problem says to do.
func withNext(err error, next string) error {
	var p *recovery.Problem
	if !errors.As(err, &p) {
		return err
	}
	changed := *p
	changed.Next = next
	return &changed
}

func isNotFound(err error) bool { return isStatus(err, nfs.NFS3ErrNoEnt) }

func isStale(err error) bool { return isStatus(err, nfs.NFS3ErrStale, nfs.NFS3ErrBadHandle) }
