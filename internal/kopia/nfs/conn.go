package nfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/willscott/go-nfs-client/nfs/rpc"
)

var (
	// errLost: the connection broke while, or before, a call was answered.
	errLost = errors.New("the connection broke")
	// errNoAnswer: a call had no answer within its time.
	errNoAnswer = errors.New("no answer in time")
	errClosed   = errors.New("the storage is closed")
)

// conn is one TCP connection that carries many calls at once; replies find their caller by
// transaction ID. Once broken it stays so.
type conn struct {
	tcp net.Conn
	// writing holds one token: the right to write a record.
	writing chan struct{}
	// done is closed when the connection is broken; err says why.
	done chan struct{}

	mu      sync.Mutex
	err     error
	xid     uint32
	waiting map[uint32]chan []byte
}

func newConn(tcp net.Conn) *conn {
	c := &conn{
		tcp: tcp, writing: make(chan struct{}, 1), done: make(chan struct{}),
		// A server remembers recent transaction IDs of a client to recognise repeats: begin anywhere.
		xid: rand.Uint32(), waiting: map[uint32]chan []byte{},
	}
	go c.receive()
	return c
}

// receive hands each reply to its caller until the connection ends.
func (c *conn) receive() {
	reader := bufio.NewReaderSize(c.tcp, 64<<10)
	for {
		record, err := readRecord(reader)
		if err != nil {
			c.fail(err)
			return
		}
		xid, err := replyXID(record)
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		reply := c.waiting[xid]
		delete(c.waiting, xid)
		c.mu.Unlock()
		if reply != nil { // nil: its caller went away
			reply <- record
		}
	}
}

// fail breaks the connection, for everybody who waits on it.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = cause
	// A reset instead of an orderly end: no data can be lost when nobody writes, and source ports below
	// 1024 are too few to leave them in TIME_WAIT.
	if tcp, ok := c.tcp.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.tcp.Close()
	close(c.done)
}

func (c *conn) broken() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *conn) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.err, errClosed) || errors.Is(c.err, errMalformed) {
		return c.err // trying again would not help
	}
	return fmt.Errorf("%w: %w", errLost, c.err)
}

// call sends one call and waits for its answer, as long as ctx allows. A call that ran out of time
// breaks the connection: a half-dead one would take that time from every later call, too.
func (c *conn) call(ctx context.Context, p procedure, credential rpc.Auth, args any) (*decoder, error) {
	reply := make(chan []byte, 1)
	c.mu.Lock()
	c.xid++
	xid := c.xid
	c.waiting[xid] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, xid)
		c.mu.Unlock()
	}()
	record, err := encodeCall(xid, p, credential, args)
	if err != nil {
		return nil, err
	}
	if err := c.write(ctx, record); err != nil {
		return nil, err
	}
	select {
	case record := <-reply:
		return openReply(record)
	case <-c.done:
		return nil, c.lost()
	case <-ctx.Done():
		return nil, c.expired(ctx)
	}
}

func (c *conn) expired(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errNoAnswer) {
		c.fail(cause)
	}
	return cause
}

func (c *conn) write(ctx context.Context, record []byte) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.done:
		return c.lost()
	case <-ctx.Done():
		return c.expired(ctx)
	}
	deadline, _ := ctx.Deadline()
	_ = c.tcp.SetWriteDeadline(deadline) // fails on a closed connection only, as Write then does
	if _, err := c.tcp.Write(record); err != nil {
		c.fail(err) // part of a record may be out: nothing can follow it
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return c.lost()
	}
	return nil
}
