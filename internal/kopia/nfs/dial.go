package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Source ports that many servers take for a sign of root. Below lowestReserved stand well-known
// services of this machine, which a client must not occupy.
const (
	lowestReserved  = 600
	highestReserved = 1023
)

// dial connects to host, from a source port below 1024 where the system allows it. reserved tells
// whether it did.
func dial(ctx context.Context, host string, port int) (tcp net.Conn, reserved bool, err error) {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, false, orCause(ctx, err)
	}
	var failures error
	for _, address := range addresses {
		target := net.JoinHostPort(address.Unmap().String(), strconv.Itoa(port))
		tcp, reserved, err = dialAddress(ctx, target)
		if err == nil {
			return tcp, reserved, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, false, failures
}

func dialAddress(ctx context.Context, target string) (net.Conn, bool, error) {
	const count = highestReserved - lowestReserved + 1
	first := rand.IntN(count)
	for i := range count {
		local := net.TCPAddr{Port: lowestReserved + (first+i)%count}
		dialer := net.Dialer{LocalAddr: &local}
		tcp, err := dialer.DialContext(ctx, "tcp", target)
		switch {
		case err == nil:
			return tcp, true, nil
		case ctx.Err() != nil:
			return nil, false, context.Cause(ctx)
		case isBind(err) && errors.Is(err, fs.ErrPermission):
			return dialUnreserved(ctx, target)
		case isBind(err), errors.Is(err, syscall.EADDRNOTAVAIL):
			continue // that port is taken
		}
		return nil, false, err
	}
	return dialUnreserved(ctx, target)
}

func dialUnreserved(ctx context.Context, target string) (net.Conn, bool, error) {
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	return tcp, false, orCause(ctx, err)
}

// orCause replaces a failure that comes from the end of ctx by the reason for that end.
func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// isBind tells a refused source port from a refused connection.
func isBind(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && call.Syscall == "bind"
}

// dialConn is dial for an RPC connection; its errors are errUnconnected.
func dialConn(ctx context.Context, host string, port int) (*conn, bool, error) {
	tcp, reserved, err := dial(ctx, host, port)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errUnconnected, err)
	}
	return newConn(tcp), reserved, nil
}

// errUnconnected: no connection could be made.
var errUnconnected = errors.New("cannot connect")
