package kube

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Fresh is the same access over connections of its own, opened anew: behind a load balancer it may well
// end at another API server. The function closes them; it must be called.
//
// client-go shares connections between all clients of the same configuration, unless that holds a function
// for the proxy. Source: client-go transport/cache.go, tlsConfigKey.
func (c *Client) Fresh() (*Client, func(), error) {
	connections := &connections{dial: c.config.Dial, open: map[net.Conn]struct{}{}}
	if connections.dial == nil {
		connections.dial = (&net.Dialer{Timeout: requestTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	config := rest.CopyConfig(c.config)
	config.Dial = connections.connect
	if config.Proxy == nil {
		config.Proxy = http.ProxyFromEnvironment
	}
	client, err := newClient(config, c.context, c.requests)
	if err != nil {
		return nil, nil, err
	}
	return client, connections.close, nil
}

// connections remembers what it opened, so that all of it can be closed.
type connections struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

func (c *connections) connect(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = connection.Close()
		return nil, net.ErrClosed
	}
	c.open[connection] = struct{}{}
	return connection, nil
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for connection := range c.open {
		_ = connection.Close()
	}
	clear(c.open)
}
