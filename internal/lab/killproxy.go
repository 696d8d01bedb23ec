package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// ProxyTarget is one of the servers that a KillProxy stands in front of.
type ProxyTarget string

// The targets.
const (
	TargetAPI ProxyTarget = "api"
	TargetS3  ProxyTarget = "s3"
	TargetGit ProxyTarget = "git"
	// TargetCharts is a chart repository.
	TargetCharts ProxyTarget = "charts"
)

// Upstreams are the servers behind a KillProxy. What is left empty gets no listener.
type Upstreams struct {
	// API is how the lab reaches an API server; the proxy passes each client's own token on.
	API *rest.Config
	// S3URL is an S3 endpoint, GitURL a repository, ChartsURL a chart repository.
	S3URL, GitURL, ChartsURL string
}

// ProxyRequest is one request that arrived at a KillProxy.
type ProxyRequest struct {
	// N is its place among all requests since Reset, and MutatingN its place among those that change
	// something (0 for the others); both count from 1.
	N, MutatingN int
	Target       ProxyTarget
	Method       string
	// Path is the path and the telling part of the query, with names that differ from run to run
	// (plan IDs, UIDs, times, WAL segments, a release's revisions) replaced: two clean runs give the same.
	Path string
	// Mutating is true when an answer of success means that something changed.
	Mutating bool
}

// String is one line for a test's log.
func (r ProxyRequest) String() string {
	if r.Mutating {
		return fmt.Sprintf("%d (mutating %d) %s %s %s", r.N, r.MutatingN, r.Target, r.Method, r.Path)
	}
	return fmt.Sprintf("%d %s %s %s", r.N, r.Target, r.Method, r.Path)
}

// KillProxy stands in front of an API server, S3, Git and charts at once, sees every request of one program in
// order, and can kill that program before or after a chosen one, or spoil one. Unarmed it changes
// nothing: an upstream that is gone is a connection that ends.
type KillProxy struct {
	// APIURL, S3URL, GitURL and ChartsURL are to be used in place of the upstreams'.
	APIURL, S3URL, GitURL, ChartsURL string

	stack     *Stack
	dir       string
	authority *Authority
	normal    []normalisation

	mu       sync.Mutex
	requests []ProxyRequest
	mutating int
	kill     *armedKill
	fault    *armedFault
	hit      *ProxyRequest
	each     func(ProxyRequest) *Fault
	hits     []ProxyRequest
	// dead holds the targets that nothing reaches any more since the program was killed: what still
	// arrives is lost, as it would have been with the program.
	dead map[ProxyTarget]bool
}

// KillProxy starts a proxy on free ports of 127.0.0.1.
func (s *Stack) KillProxy(up Upstreams) (*KillProxy, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := s.Dir(fmt.Sprintf("killproxy-%d", port))
	if err != nil {
		return nil, err
	}
	p := &KillProxy{stack: s, dir: dir, normal: normalisations()}
	if p.authority, err = NewAuthority("drctl lab kill proxy"); err != nil {
		return nil, err
	}
	if _, _, err := p.authority.IssueServer(dir, "proxy"); err != nil {
		return nil, err
	}
	if up.API != nil {
		tls, err := rest.TLSConfigFor(up.API)
		if err != nil {
			return nil, fmt.Errorf("lab: kill proxy: %w", err)
		}
		// Without HTTP/2 on either side, connections can be upgraded (exec) and reset.
		p.APIURL, err = p.listen(TargetAPI, up.API.Host, &http.Transport{TLSClientConfig: tls})
		if err != nil {
			return nil, err
		}
	}
	if p.S3URL, err = p.listen(TargetS3, up.S3URL, &http.Transport{}); err != nil {
		return nil, err
	}
	if p.GitURL, err = p.listen(TargetGit, up.GitURL, &http.Transport{}); err != nil {
		return nil, err
	}
	p.ChartsURL, err = p.listen(TargetCharts, up.ChartsURL, &http.Transport{})
	return p, err
}

// listen serves one target and gives the URL to use in place of the upstream's.
func (p *KillProxy) listen(target ProxyTarget, upstream string, transport *http.Transport) (string, error) {
	if upstream == "" {
		return "", nil
	}
	to, err := url.Parse(upstream)
	if err != nil {
		return "", fmt.Errorf("lab: kill proxy: upstream %s: %w", target, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("lab: kill proxy for %s: %w", target, err)
	}
	transport.MaxIdleConnsPerHost, transport.DisableCompression = 256, true
	// An API server closes what was idle for 90 s; a request that has a body and meets that would be lost.
	transport.IdleConnTimeout = 20 * time.Second
	server := &http.Server{
		Handler:           &proxyHandler{proxy: p, target: target, forward: transparent(to, transport)},
		ReadHeaderTimeout: time.Minute, ErrorLog: silent(), Protocols: &http.Protocols{},
	}
	server.Protocols.SetHTTP1(true)
	p.stack.Defer(func() error {
		transport.CloseIdleConnections()
		return server.Close()
	})
	at := *to
	at.Host = listener.Addr().String()
	if to.Scheme == "https" {
		go func() {
			_ = server.ServeTLS(listener, filepath.Join(p.dir, "proxy.crt"), filepath.Join(p.dir, "proxy.key"))
		}()
	} else {
		go func() { _ = server.Serve(listener) }()
	}
	return at.String(), nil
}

// transparent forwards without touching the Host header, which S3 clients sign.
func transparent(to *url.URL, transport *http.Transport) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.Host = r.In.Host
		},
		Transport: transport, FlushInterval: -1, ErrorLog: silent(),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
}

// Kubeconfig writes a kubeconfig that reaches the API server through the proxy, as the user whose
// configuration is given, and gives its path.
func (p *KillProxy) Kubeconfig(user *rest.Config) (string, error) {
	const name = "lab"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: p.APIURL, CertificateAuthorityData: p.authority.PEM}
	config.AuthInfos[name] = &api.AuthInfo{Token: user.BearerToken}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	file, err := os.CreateTemp(p.dir, "kubeconfig-")
	if err != nil {
		return "", fmt.Errorf("lab: kubeconfig of the kill proxy: %w", err)
	}
	if err := errors.Join(file.Close(), clientcmd.WriteToFile(*config, file.Name())); err != nil {
		return "", fmt.Errorf("lab: kubeconfig of the kill proxy: %w", err)
	}
	return file.Name(), nil
}

// Log is every request since Reset, in order of arrival.
func (p *KillProxy) Log() []ProxyRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Mutations are the requests of Log that change something.
func (p *KillProxy) Mutations() []ProxyRequest {
	return slices.DeleteFunc(p.Log(), func(r ProxyRequest) bool { return !r.Mutating })
}

// Hit is the request that an armed kill or fault met; false as long as there was none.
func (p *KillProxy) Hit() (ProxyRequest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hit == nil {
		return ProxyRequest{}, false
	}
	return *p.hit, true
}

// Reset forgets the requests, disarms, and lets a next program through.
func (p *KillProxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.mutating, p.kill, p.fault, p.hit, p.dead, p.each, p.hits = nil, 0, nil, nil, nil, nil, nil, nil
}

// detached outlives the client: what it asked for is carried out though it is gone. An endless answer
// (a watch) is cut.
func detached(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
	return r.WithContext(ctx), cancel
}
