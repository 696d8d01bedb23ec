package helm

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// fieldManager owns what Helm applies. The helm program has the same, so that either goes on where the other ended.
	// Source: helm cmd/helm/helm.go.
	fieldManager = "helm"
	// queriesPerSecond and burst are far above client-go's 5 and 10, by which a chart of 60 objects takes a minute; the
	// API server protects itself by priority and fairness.
	queriesPerSecond = 200
	burst            = 400
	// atOnce is how many objects are compared with the cluster in parallel.
	atOnce = 8
)

// Options say which cluster the releases are in.
type Options struct {
	// REST is the connection; it is copied. Without one only Load works.
	REST *rest.Config
	// CacheDir keeps chart archives that were downloaded, by their digest; empty keeps none.
	CacheDir string
}

// Target is a release as it is to be.
type Target struct {
	Namespace, Name string
	// Chart was loaded by the same client; its Values count.
	Chart recovery.Chart
	// TakeOwnership adopts objects that are there already and belong to no release, or to another one.
	TakeOwnership bool
}

// Client is Helm. It may be used from several goroutines.
type Client struct {
	config   *rest.Config
	cacheDir string
	dynamic  dynamic.Interface
	typed    kubernetes.Interface
	mapper   *restmapper.DeferredDiscoveryRESTMapper

	mu sync.Mutex
	// charts are the files of the charts that were loaded, by digest: Helm changes a chart that it renders, so each
	// use reads it anew.
	charts map[string][]*archive.BufferedFile
}

// New prepares a client; it sends no request.
func New(options Options) (*Client, error) {
	settle()
	c := &Client{cacheDir: options.CacheDir, charts: map[string][]*archive.BufferedFile{}}
	if options.REST == nil {
		return c, nil
	}
	c.config = rest.CopyConfig(options.REST)
	c.config.QPS, c.config.Burst = max(c.config.QPS, queriesPerSecond), max(c.config.Burst, burst)
	c.config.WarningHandlerWithContext = rest.NoWarnings{}
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	return c, c.connect(client)
}

func (c *Client) connect(client *http.Client) (err error) {
	if c.dynamic, err = dynamic.NewForConfigAndClient(c.config, client); err != nil {
		return fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	if c.typed, err = kubernetes.NewForConfigAndClient(c.config, client); err != nil {
		return fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	discover, err := discovery.NewDiscoveryClientForConfigAndClient(c.config, client)
	if err != nil {
		return fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discover))
	return nil
}

// settle gives Helm's package variable the helm program's own value, once a process: by default objects would be owned by
// whatever this program's file is called. And it stops the process's default logger: much of Helm writes to that one,
// and not to the one that it is given, down to "resource exists on cluster" at each upgrade.
var settle = sync.OnceFunc(func() {
	helmkube.ManagedFieldsManager = fieldManager
	slog.SetDefault(slog.New(slog.DiscardHandler))
})

// bound is a transport whose requests end with a context. Helm sends most of its requests with a context of its own, and
// goes on in the background when it is cancelled; so nothing does.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip sends the request, unless the context has ended.
func (b bound) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := context.Cause(b.ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	stop := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	response, err := b.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	response.Body = &boundBody{ReadCloser: response.Body, end: func() { stop(); cancel(nil) }}
	return response, nil
}
