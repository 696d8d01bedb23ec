package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sandbox is what a Pod's containers share: a network of their own with nothing in it but loopback, so
// that every Pod can have port 5432. Connections get in and out through this process, port by port.
type sandbox struct {
	// IP is the Pod's address: one of 127.0.0.0/8 that nobody else on this machine listens on.
	IP string

	calls  chan func()
	ending chan struct{}
	mu     sync.Mutex
	opened []net.Listener
	closed bool
}

// newSandbox makes a network namespace on a thread of its own, which stays in it. It needs root.
func newSandbox(exposed ...int) (*sandbox, error) {
	s := &sandbox{calls: make(chan func()), ending: make(chan struct{})}
	ready := make(chan error, 1)
	go s.live(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("lab: network of a Pod: %w (the lab's node needs root)", err)
	}
	if err := s.takeAddress(exposed); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// live never unlocks its thread, so that the runtime ends it together with this goroutine: nothing else
// may ever run in that network.
func (s *sandbox) live(ready chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = raiseLoopback()
	}
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case call := <-s.calls:
			call()
		case <-s.ending:
			return
		}
	}
}

func raiseLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// inside runs a function on the thread that is in the Pod's network.
func (s *sandbox) inside(do func() error) error {
	result := make(chan error, 1)
	select {
	case s.calls <- func() { result <- do() }:
		return <-result
	case <-s.ending:
		return errors.New("lab: the Pod has ended")
	}
}

// takeAddress finds a free address, and passes connections to it on to the Pod's own ports.
func (s *sandbox) takeAddress(ports []int) error {
	var last error
	for range 20 {
		var random [3]byte
		if _, err := rand.Read(random[:]); err != nil {
			return err
		}
		s.IP = net.IPv4(127, 1+random[0]%250, random[1], 1+random[2]%250).String()
		if last = s.exposeAll(ports); last == nil {
			return nil
		}
	}
	return fmt.Errorf("lab: no free address for a Pod: %w", last)
}

func (s *sandbox) exposeAll(ports []int) error {
	var opened []net.Listener
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort(s.IP, strconv.Itoa(port)))
		if err != nil {
			for _, other := range opened {
				_ = other.Close()
			}
			return err
		}
		opened = append(opened, listener)
	}
	for i, listener := range opened {
		s.forward(listener, func() (connection net.Conn, err error) {
			err = s.inside(func() error {
				connection, err = dialLoopback(ports[i])
				return err
			})
			return connection, err
		})
	}
	return nil
}

// reach lets the Pod connect to a port of this machine's 127.0.0.1 under the same address.
func (s *sandbox) reach(port int) error {
	var listener net.Listener
	err := s.inside(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: let a Pod reach port %d: %w", port, err)
	}
	s.forward(listener, func() (net.Conn, error) { return dialLoopback(port) })
	return nil
}

func dialLoopback(port int) (net.Conn, error) {
	return net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 10*time.Second)
}

func (s *sandbox) forward(listener net.Listener, dial func() (net.Conn, error)) {
	s.mu.Lock()
	s.opened = append(s.opened, listener)
	closed := s.closed
	s.mu.Unlock()
	if closed {
		_ = listener.Close()
	}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go pipe(from, dial)
		}
	}()
}

func pipe(from net.Conn, dial func() (net.Conn, error)) {
	to, err := dial()
	if err != nil {
		_ = from.Close()
		return
	}
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, err := io.Copy(pair[1], pair[0])
			if half, ok := pair[1].(*net.TCPConn); ok && err == nil {
				_ = half.CloseWrite()
				return
			}
			_ = pair[0].Close()
			_ = pair[1].Close()
		})
	}
	both.Wait()
	_ = from.Close()
	_ = to.Close()
}

// start starts a program in the Pod's network, with mounts and process numbers of its own. The kernel
// ends it, and all that it started, when the sandbox or this process ends.
func (s *sandbox) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC, Setpgid: true, Pdeathsig: syscall.SIGKILL,
	}
	return s.inside(cmd.Start)
}

// enter makes a command that runs in the namespaces of a started program, as this user.
func (c *container) enter(ctx context.Context, command []string) *exec.Cmd {
	args := []string{
		"--target", strconv.Itoa(c.cmd.Process.Pid), "--mount", "--net", "--ipc", "--pid", "--root", "--wd",
		"--setgid", strconv.Itoa(c.gid), "--setuid", strconv.Itoa(c.uid), "--",
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(args, command...)...)
	cmd.Env = c.env
	return cmd
}

// close ends the network, and with it whatever still runs in it.
func (s *sandbox) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, listener := range s.opened {
		_ = listener.Close()
	}
	close(s.ending)
}

// needsNode says what a machine lacks for the lab's node.
func needsNode() error {
	if os.Getuid() != 0 {
		return errors.New("lab: the lab's node runs Pods in namespaces of their own, and that needs root")
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		return missingPackages([]string{"util-linux"})
	}
	return nil
}
