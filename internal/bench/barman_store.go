package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/drctl/drctl/internal/lab"
)

// backend is the S3 server of a work.
type backend interface {
	endpointURL() string
	put(ctx context.Context, key string, body []byte) error
	// putEmpty writes many objects without content, in the order of their keys.
	putEmpty(ctx context.Context, keys []string) error
}

// slowStore is an S3 server behind a delay, with a count of the requests that arrive:
//
//	client → toxiproxy (20 ms on every answer) → counting proxy → server
type slowStore struct {
	server backend
	// endpoint is that of the delaying proxy.
	endpoint                     string
	accessKeyID, secretAccessKey string
	requests                     atomic.Int64
	// oursCount and theirsCount are the requests of each side's last run.
	oursCount, theirsCount int64
	closers                []func() error
	logf                   func(format string, args ...any)
}

// newMinIOStore has a real S3 server behind it.
func newMinIOStore(ctx context.Context, env Env) (*slowStore, error) {
	stack := lab.NewStack(env.Dir, env.Logf)
	s := &slowStore{closers: []func() error{stack.Close}, logf: env.Logf}
	m, err := stack.MinIO(ctx)
	if err == nil {
		err = m.MakeBucket(ctx, barmanBucket)
	}
	if err == nil {
		s.server, s.accessKeyID, s.secretAccessKey = minioBackend{m}, m.AccessKeyID, m.SecretAccessKey
		err = s.front(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// newMemoryStore has a server behind it that costs next to nothing: what is left is the client's way of
// asking.
func newMemoryStore(ctx context.Context, env Env) (*slowStore, error) {
	memory := newMemoryBackend(ctx)
	s := &slowStore{server: memory, closers: []func() error{memory.close}, logf: env.Logf, accessKeyID: "bench", secretAccessKey: "bench"}
	if err := s.front(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// front puts the counting proxy and the delaying one before the server.
func (s *slowStore) front(ctx context.Context) error {
	upstream, err := url.Parse(s.server.endpointURL())
	if err != nil {
		return err
	}
	// The signature covers the Host header, so it goes through as the client wrote it.
	counting := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			s.requests.Add(1)
			r.SetURL(upstream)
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("bench: listen: %w", err)
	}
	server := &http.Server{Handler: counting, ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.logf("counting proxy: %v", err)
		}
	}()
	s.closers = append(s.closers, server.Close)
	return s.delay(listener.Addr().String())
}

// delay starts the proxy whose every answer takes longer.
func (s *slowStore) delay(upstream string) error {
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(api, "s3", "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		return fmt.Errorf("bench: start the delaying proxy: %w", err)
	}
	s.closers = append(s.closers, func() error { proxy.Stop(); return nil })
	s.endpoint = "http://" + proxy.Listen
	toxic := fmt.Sprintf(`{"name": "delay", "type": "latency", "stream": "downstream", "attributes": {"latency": %d}}`, barmanDelay.Milliseconds())
	if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		return fmt.Errorf("bench: set the delay: %w", err)
	}
	return nil
}

// close stops what was started, newest first.
func (s *slowStore) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i](); err != nil {
			s.logf("close: %v", err)
		}
	}
}

func (s *slowStore) destination() string { return "s3://" + barmanBucket + "/" + barmanPrefix }

// env is that of a program that reads the store.
func (s *slowStore) env() []string {
	return append(os.Environ(), "AWS_ACCESS_KEY_ID="+s.accessKeyID, "AWS_SECRET_ACCESS_KEY="+s.secretAccessKey,
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true")
}
