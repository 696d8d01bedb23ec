package nfs

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/willscott/go-nfs-client/nfs/rpc"
)

// maxAttempts is how often a call is sent when connections break under it. Every call of this package
// only reads, so sending it again is harmless.
const maxAttempts = 3

// client spreads calls over a few connections to one port and makes connections as they are needed.
type client struct {
	host       string
	port       int
	credential rpc.Auth
	uid, gid   uint32
	timeout    time.Duration
	slots      []*slot
	// operations counts calls sent; shared by all clients of one storage.
	operations *atomic.Int64
	// unreserved is set once a connection had to use a source port above 1023.
	unreserved atomic.Bool
}

// slot holds one connection, or none.
type slot struct {
	// busy counts the calls on it.
	busy atomic.Int64
	// mu is a lock that can be waited for under a context: it holds one token.
	mu     chan struct{}
	conn   *conn
	closed bool
}

func newClient(o Options, port, connections int, operations *atomic.Int64) *client {
	// The library's type takes exactly one supplementary group; it sends 0, root's, when left alone.
	auth := rpc.AuthUnix{Stamp: uint32(time.Now().Unix()), Machinename: "drctl", Uid: o.UID, Gid: o.GID, GidLen: 1, Gids: o.GID}
	c := &client{host: o.Host, port: port, credential: auth.Auth(), uid: o.UID, gid: o.GID, timeout: o.Timeout, operations: operations}
	for range connections {
		c.slots = append(c.slots, &slot{mu: make(chan struct{}, 1)})
	}
	return c
}

// close breaks all connections; later calls fail.
func (c *client) close() {
	for _, s := range c.slots {
		s.mu <- struct{}{}
		s.closed = true
		if s.conn != nil {
			s.conn.fail(errClosed)
		}
		<-s.mu
	}
}

// call runs one procedure within the client's timeout, which covers connecting and repeating it.
func (c *client) call(ctx context.Context, p procedure, args any) (*decoder, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errNoAnswer)
	defer cancel()
	for attempt := 1; ; attempt++ {
		reply, err := c.callOnce(ctx, p, args)
		if !errors.Is(err, errLost) || attempt == maxAttempts {
			return reply, err
		}
	}
}

func (c *client) callOnce(ctx context.Context, p procedure, args any) (*decoder, error) {
	s := c.leastBusy()
	s.busy.Add(1)
	defer s.busy.Add(-1)
	connection, err := c.connection(ctx, s)
	if err != nil {
		return nil, err
	}
	c.operations.Add(1)
	return connection.call(ctx, p, c.credential, args)
}

// leastBusy prefers the first slots, so that calls one after the other share one connection.
func (c *client) leastBusy() *slot {
	best := c.slots[0]
	for _, s := range c.slots[1:] {
		if s.busy.Load() < best.busy.Load() {
			best = s
		}
	}
	return best
}

func (c *client) connection(ctx context.Context, s *slot) (*conn, error) {
	select {
	case s.mu <- struct{}{}:
		defer func() { <-s.mu }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.closed {
		return nil, errClosed
	}
	if s.conn != nil && !s.conn.broken() {
		return s.conn, nil
	}
	connection, reserved, err := dialConn(ctx, c.host, c.port)
	if err != nil {
		return nil, err
	}
	if !reserved {
		c.unreserved.Store(true)
	}
	s.conn = connection
	return connection, nil
}
