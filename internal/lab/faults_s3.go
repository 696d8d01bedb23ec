package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// S3Fault says what happens to some of the requests that pass an S3Proxy.
type S3Fault struct {
	// Match chooses the requests that count; nil for all of them.
	Match func(*http.Request) bool
	// First is the first of those to be spoilt, counted from 1 (0 means 1); Last is the last, 0 for no
	// end.
	First, Last int
	// Delay passes before anything else happens.
	Delay time.Duration
	// Status is answered with an S3 error, and the server is not asked; 0 forwards the request.
	Status int
	// Cut sends the answer's headers and half of its body, and ends the connection.
	Cut bool
}

// S3Listing matches a listing of objects.
func S3Listing(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2"
}

// S3Object gives a match for reads of an object whose key ends so.
func S3Object(suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, suffix) }
}

// S3Request is one request that passed an S3Proxy.
type S3Request struct {
	Method string
	Path   string
	Query  url.Values
	// Listing is true for a listing of objects.
	Listing bool
}

// S3Proxy is an HTTP proxy in front of a MinIO that counts requests and spoils some. Signatures stay
// valid: MinIO sees the address that the client signed.
type S3Proxy struct {
	// EndpointURL is to be used in place of the MinIO's.
	EndpointURL string
	// CA is the certificate (PEM) of the authority that signed a TLS proxy's own; nobody trusts it
	// without being told. Nil for plain HTTP.
	CA []byte

	forward *httputil.ReverseProxy

	mu       sync.Mutex
	faults   []S3Fault
	counts   []int
	requests []S3Request
}

// S3Proxy starts a proxy in front of a MinIO.
func (s *Stack) S3Proxy(m *MinIO, faults ...S3Fault) (*S3Proxy, error) {
	return s.startS3Proxy(m, faults, false)
}

// S3ProxyTLS starts a proxy that speaks HTTPS, with a certificate of an authority that is unknown to
// the system.
func (s *Stack) S3ProxyTLS(m *MinIO, faults ...S3Fault) (*S3Proxy, error) {
	return s.startS3Proxy(m, faults, true)
}

func (s *Stack) startS3Proxy(m *MinIO, faults []S3Fault, secure bool) (*S3Proxy, error) {
	target, err := url.Parse(m.EndpointURL)
	if err != nil {
		return nil, fmt.Errorf("lab: endpoint of MinIO: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: S3 proxy: %w", err)
	}
	p := &S3Proxy{EndpointURL: "http://" + listener.Addr().String(), forward: forwarder(target), faults: faults, counts: make([]int, len(faults))}
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: silent()}
	s.Defer(func() error {
		p.forward.Transport.(*http.Transport).CloseIdleConnections()
		return server.Close()
	})
	if !secure {
		go func() { _ = server.Serve(listener) }()
		return p, nil
	}
	p.EndpointURL = "https://" + listener.Addr().String()
	certificate, key, err := p.certify(s)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() { _ = server.ServeTLS(listener, certificate, key) }()
	return p, nil
}

func (p *S3Proxy) certify(s *Stack) (certificate, key string, err error) {
	dir, err := s.Dir("s3-proxy")
	if err != nil {
		return "", "", err
	}
	authority, err := NewAuthority("an authority that nobody knows")
	if err != nil {
		return "", "", err
	}
	p.CA = authority.PEM
	return authority.IssueServer(dir, strings.NewReplacer(":", "-", "/", "").Replace(p.EndpointURL))
}

func forwarder(target *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport:      &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		ModifyResponse: cutBody,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		// A cut body and a refused certificate are what was asked for, not news.
		ErrorLog: silent(),
	}
}

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

// ServeHTTP counts, spoils or forwards a request.
func (p *S3Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.note(r)
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	if fault.Status != 0 {
		writeS3Error(w, fault.Status)
		return
	}
	p.forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), cutKey{}, fault.Cut)))
}

// note records a request and adds up the faults that hit it.
func (p *S3Proxy) note(r *http.Request) S3Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, S3Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Listing: S3Listing(r)})
	var hit S3Fault
	for i, fault := range p.faults {
		if fault.Match != nil && !fault.Match(r) {
			continue
		}
		p.counts[i]++
		if p.counts[i] < fault.First || fault.Last != 0 && p.counts[i] > fault.Last {
			continue
		}
		hit.Delay += fault.Delay
		hit.Status = max(hit.Status, fault.Status)
		hit.Cut = hit.Cut || fault.Cut
	}
	return hit
}

// Requests are those that passed so far, in order.
func (p *S3Proxy) Requests() []S3Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]S3Request(nil), p.requests...)
}

// Spoil replaces the faults and forgets the requests so far.
func (p *S3Proxy) Spoil(faults ...S3Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.counts, p.requests = faults, make([]int, len(faults)), nil
}

func writeS3Error(w http.ResponseWriter, status int) {
	code := map[int]string{
		http.StatusServiceUnavailable: "SlowDown", http.StatusInternalServerError: "InternalError", http.StatusForbidden: "AccessDenied",
	}[status]
	if code == "" {
		code = "LabFault" + strconv.Itoa(status)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>a fault of the lab</Message></Error>`, code)
}

type cutKey struct{}

// cutBody keeps the announced length and sends half of it.
func cutBody(response *http.Response) error {
	if cut, _ := response.Request.Context().Value(cutKey{}).(bool); !cut {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), brokenReader{}))
	return nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) {
	return 0, errors.New("lab: the connection is cut here")
}
