package nfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/willscott/go-nfs-client/nfs/rpc"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// DefaultTimeout is long enough for a disk that has to spin up first.
	DefaultTimeout = 30 * time.Second
	// DefaultConnections carry the calls of a listing side by side.
	DefaultConnections = 4
	maxConnections     = 16
	// maxPathBytes is MNTPATHLEN. Source: RFC 1813, 5.1.2.
	maxPathBytes = 1024
)

// Options say where the repository is and who reads it.
type Options struct {
	// Host is a name or an address, IPv4 or IPv6 without brackets.
	Host string `json:"host"`
	// Port serves NFS and MountPort the MOUNT protocol; 0 asks the portmapper. With Port given and no
	// portmapper to ask, MOUNT is tried on that same port.
	Port      int `json:"port,omitempty"`
	MountPort int `json:"mountPort,omitempty"`
	// Path is the export followed by the folder of the repository in it. The export is the longest
	// prefix that the server mounts.
	Path string `json:"path"`
	// UID and GID are claimed with AUTH_SYS; the server believes them, except for 0 (root_squash).
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	// Timeout is for each single call, 0 means DefaultTimeout.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Connections are at most so many, 0 means DefaultConnections.
	Connections int `json:"connections,omitempty"`

	// portmapperPort is 111, but in tests.
	portmapperPort int
}

// New mounts the export, finds the folder of the repository in it and serves its blobs, read-only.
// The storage also has a method Operations() int64: how many calls were sent so far.
//
// Errors are *recovery.Problem with ErrUsage, ErrUnreachable, ErrDenied, ErrNotFound or
// ErrUnsupported, or wrap the cause of ctx's end. ctx is for New alone.
func New(ctx context.Context, o Options) (blob.Storage, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	operations := new(atomic.Int64)
	ports, err := findPorts(ctx, o, operations)
	if err != nil {
		return nil, err
	}
	at, err := mountLongest(ctx, o, ports, operations)
	if err != nil {
		return nil, err
	}
	c := newClient(o, ports.nfs, o.Connections, operations)
	s, err := open(ctx, o, c, at)
	if err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

func open(ctx context.Context, o Options, c *client, at mounted) (*storage, error) {
	what := "open " + o.String()
	limits, err := c.fsinfo(ctx, at.handle)
	if err != nil {
		return nil, c.problem(ctx, what, err)
	}
	export := newTree(c, at.handle, limits)
	root, err := export.folder(ctx, at.below)
	if isNotFound(err) {
		return nil, &recovery.Problem{
			What: what, Why: fmt.Sprintf("the server exports %s, and there is no folder %s in it", at.export, at.below),
			Next: "give the repository's own folder in --repo", Err: errors.Join(recovery.ErrNotFound, err),
		}
	}
	if err != nil {
		return nil, c.problem(ctx, what, err)
	}
	return newStorage(o, newTree(c, root, limits)), nil
}

// complete checks the options and fills in the defaults.
func (o Options) complete() (Options, error) {
	o.Path = path.Clean("/" + o.Path)
	switch {
	case o.Host == "":
		return o, usage("name the host: --repo nfs://HOST/EXPORT")
	case o.Port < 0 || o.Port > 65535 || o.MountPort < 0 || o.MountPort > 65535:
		return o, usage("a port is a number from 1 to 65535")
	case strings.ContainsRune(o.Path, 0):
		return o, usage("a path cannot contain a zero byte")
	case len(o.Path) > maxPathBytes:
		return o, usage(fmt.Sprintf("an NFS path has at most %d bytes", maxPathBytes))
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.portmapperPort == 0 {
		o.portmapperPort = rpc.PmapPort
	}
	if o.Connections <= 0 {
		o.Connections = DefaultConnections
	}
	o.Connections = min(o.Connections, maxConnections)
	return o, nil
}

func usage(next string) error {
	return &recovery.Problem{What: "read the NFS location", Why: "it is incomplete or impossible", Next: next, Err: recovery.ErrUsage}
}

// String is the location as the operator writes it.
func (o Options) String() string {
	host := o.Host
	if o.Port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(o.Port))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "nfs://" + host + o.Path
}

// prefixes gives p and its parents, longest first, down to "/".
func prefixes(p string) []string {
	all := []string{p}
	for p != "/" {
		p = path.Dir(p)
		all = append(all, p)
	}
	return all
}
