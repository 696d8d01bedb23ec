package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// FaultProxy stands in front of a TCP server (NFS, S3, an API server) and spoils what passes. It starts
// with nothing spoilt.
type FaultProxy struct {
	// Address is 127.0.0.1:PORT, to be used in place of the server's.
	Address string

	proxy *toxiproxy.Proxy
}

// FaultProxy starts a proxy in front of HOST:PORT, in this process.
func (s *Stack) FaultProxy(upstream string) (*FaultProxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "fault", "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("lab: proxy in front of %s: %w", upstream, err)
	}
	p := &FaultProxy{Address: proxy.Listen, proxy: proxy}
	s.Defer(func() error {
		p.proxy.Toxics.ResetToxics(context.Background())
		p.Cut()
		return nil
	})
	return p, nil
}

// Delay makes every answer arrive this much later. It does not limit how much is under way.
func (p *FaultProxy) Delay(by time.Duration) error {
	return p.add(fmt.Sprintf(`{"type": "latency", "attributes": {"latency": %d}}`, by.Milliseconds()))
}

// CutAfter ends each connection once the server has sent so many bytes on it: an answer that stops
// half way.
func (p *FaultProxy) CutAfter(sentBytes int64) error {
	return p.add(fmt.Sprintf(`{"type": "limit_data", "attributes": {"bytes": %d}}`, sentBytes))
}

// Hang lets connections stand and passes no answer any more: one that comes tomorrow. (toxiproxy's own
// "timeout" drops the answer, but passes on that the server closed the connection after it.)
func (p *FaultProxy) Hang() error { return p.Delay(24 * time.Hour) }

// Cut ends all connections at once and refuses new ones: the server is gone.
func (p *FaultProxy) Cut() { p.proxy.Stop() }

// Heal undoes everything above: the server is back, at the same address.
func (p *FaultProxy) Heal(ctx context.Context) error {
	p.proxy.Toxics.ResetToxics(ctx)
	p.proxy.Stop()
	if err := p.proxy.Start(); err != nil {
		return fmt.Errorf("lab: proxy on %s: %w", p.Address, err)
	}
	return nil
}

func (p *FaultProxy) add(toxic string) error {
	if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		return fmt.Errorf("lab: spoil what passes %s: %w", p.Address, err)
	}
	return nil
}
