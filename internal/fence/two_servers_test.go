package fence_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
)

// balancer gives each new TCP connection to the next of its backends, as a load balancer before several
// API servers does.
type balancer struct {
	address string
	next    atomic.Int64
	served  []atomic.Int64
}

func newBalancer(t *testing.T, backends ...string) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	b := &balancer{address: "https://" + listener.Addr().String(), served: make([]atomic.Int64, len(backends))}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			i := int(b.next.Add(1)) % len(backends)
			b.served[i].Add(1)
			go relay(connection, backends[i])
		}
	}()
	return b
}

func relay(client net.Conn, backend string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", backend)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(server, client); done <- struct{}{} }()
	go func() { _, _ = io.Copy(client, server); done <- struct{}{} }()
	<-done
}

func hostOf(t *testing.T, config *rest.Config) string {
	t.Helper()
	address, err := url.Parse(config.Host)
	require.NoError(t, err)
	return address.Host
}

// twoServers are clients of each API server and of the balancer before them.
func twoServers(t *testing.T, c *cluster) ([2]*kube.Client, *kube.Client, *balancer) {
	t.Helper()
	second, err := c.SecondAPIServer(t.Context())
	require.NoError(t, err)
	var servers [2]*kube.Client
	for i, config := range []*rest.Config{c.RESTConfig(), second} {
		servers[i], err = kube.New(kube.Options{REST: config})
		require.NoError(t, err)
	}
	front := newBalancer(t, hostOf(t, c.RESTConfig()), hostOf(t, second))
	config := c.RESTConfig()
	config.Host = front.address
	balanced, err := kube.New(kube.Options{REST: config})
	require.NoError(t, err)
	return servers, balanced, front
}

// TestTwoAPIServers: what is proven through a load balancer holds on both servers behind it, and they
// learn of the fence at different times.
func TestTwoAPIServers(t *testing.T) {
	c := newCluster(t)
	servers, balanced, front := twoServers(t, c)

	for _, name := range []string{"one", "two", "three"} {
		spec := databaseSpec("plan-two-servers-"+name, name)
		require.NoError(t, fence.Up(t.Context(), balanced, spec))
		begin := time.Now()
		effective := firstDenials(t, servers, spec)
		require.NoError(t, fence.Down(t.Context(), balanced, spec))
		t.Logf("effective after %s and %s: %s apart", effective[0].Sub(begin).Round(time.Millisecond),
			effective[1].Sub(begin).Round(time.Millisecond), effective[0].Sub(effective[1]).Abs().Round(time.Millisecond))
	}

	spec := databaseSpec("plan-two-servers", "proven")
	require.NoError(t, fence.Up(t.Context(), balanced, spec))
	before := [2]int64{front.served[0].Load(), front.served[1].Load()}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	begin := time.Now()
	require.NoError(t, fence.Prove(ctx, balanced, spec, database("db", "proven"), 5*time.Second))
	t.Logf("proven in %s over %d and %d connections", time.Since(begin).Round(10*time.Millisecond),
		front.served[0].Load()-before[0], front.served[1].Load()-before[1])
	require.Greater(t, front.served[0].Load()-before[0], int64(5), "fresh connections reach both servers")
	require.Greater(t, front.served[1].Load()-before[1], int64(5), "fresh connections reach both servers")
	for i := range servers {
		_, err := servers[i].Create(t.Context(), databases, database("db", "proven"), kube.WriteOptions{})
		require.True(t, fence.Denied(err, spec.PlanID), "server %d: %v", i, err)
	}
}

// firstDenials asks each server by itself until it refuses.
func firstDenials(t *testing.T, servers [2]*kube.Client, spec fence.Spec) [2]time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var when [2]time.Time
	var group sync.WaitGroup
	for i, server := range servers {
		group.Go(func() {
			for ctx.Err() == nil {
				_, err := server.Create(ctx, spec.GVR, database(spec.Namespace, spec.Name), kube.WriteOptions{DryRun: true})
				if fence.Denied(err, spec.PlanID) {
					when[i] = time.Now()
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	group.Wait()
	require.False(t, when[0].IsZero() || when[1].IsZero(), "one server never refused: %v", when)
	return when
}
