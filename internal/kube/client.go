// Package kube reads and writes objects of a live cluster: whole kinds with one chunked LIST each, single
// objects by name, commands and logs of Pods, and the cluster's identity. It knows no kind but those of
// Kubernetes itself.
//
// It must not import other packages of drctl than recovery and operation, whose lock and mirror it keeps
// in the cluster, and neither cobra nor cli-runtime: the REST configuration comes from the app.
package kube

import (
	"context"
	"fmt"
	"net/http"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	// queriesPerSecond and burst are far above client-go's 5 and 10, which would make a listing of 200
	// namespaces take 38 s, and above what 200 restores at once ask for; the API server protects itself by
	// priority and fairness.
	queriesPerSecond = 500
	burst            = 1000
	// requestTimeout bounds one request, so that a server that accepts and never answers is noticed.
	requestTimeout = 30 * time.Second
	// namespacesAtOnce is how many namespaces are listed in parallel where a cluster-wide LIST is
	// refused.
	namespacesAtOnce = 8
)

// Options say which cluster to read.
type Options struct {
	// REST is the connection; it is copied.
	REST *rest.Config
	// Context is the name of the kubeconfig context, for messages; empty inside a cluster.
	Context string
}

// Client reads one cluster. It may be used from several goroutines.
type Client struct {
	dynamic  dynamic.Interface
	config   *rest.Config
	server   string
	context  string
	requests *atomic.Int64

	namespacesMu sync.Mutex
	namespaces   []string
}

// New prepares a client; it sends no request.
func New(options Options) (*Client, error) {
	return newClient(options.REST, options.Context, &atomic.Int64{})
}

// newClient counts into requests.
func newClient(original *rest.Config, contextName string, requests *atomic.Int64) (*Client, error) {
	config := rest.CopyConfig(original)
	config.QPS = max(config.QPS, queriesPerSecond)
	config.Burst = max(config.Burst, burst)
	config.WarningHandlerWithContext = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(counting(config, requests))
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the API server of context %q: %w", contextName, err)
	}
	return &Client{
		dynamic:  client,
		config:   config,
		server:   serverURL(config),
		context:  contextName,
		requests: requests,
	}, nil
}

// Server is the API server's URL, without credentials.
func (c *Client) Server() string { return c.server }

// ContextName is the name of the kubeconfig context, empty when there is none.
func (c *Client) ContextName() string { return c.context }

// Requests is the number of HTTP requests that were sent so far, retries included.
func (c *Client) Requests() int64 { return c.requests.Load() }

// ClusterUID identifies the cluster: the UID of its namespace kube-system.
func (c *Client) ClusterUID(ctx context.Context) (string, error) {
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	namespace, err := c.dynamic.Resource(namespacesResource()).Get(requestCtx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", c.explain(ctx, "read namespace kube-system", namespacesResource(), err)
	}
	return string(namespace.GetUID()), nil
}

// Namespaces lists the names of all namespaces, sorted. They are read once and then remembered.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	names, err := c.namespaceNames(ctx)
	if err != nil {
		return nil, c.explain(ctx, "list namespaces", namespacesResource(), err)
	}
	return names, nil
}

// namespaceNames is Namespaces with the API's own error.
func (c *Client) namespaceNames(ctx context.Context) ([]string, error) {
	c.namespacesMu.Lock()
	defer c.namespacesMu.Unlock()
	if c.namespaces != nil {
		return c.namespaces, nil
	}
	items, err := c.listPages(ctx, namespacesResource(), "", "")
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(items))
	for i := range items {
		names = append(names, items[i].GetName())
	}
	sort.Strings(names)
	c.namespaces = names
	return names, nil
}

func namespacesResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
}

// serverURL is the URL of the configured host, or the host as it stands when it is no URL.
func serverURL(config *rest.Config) string {
	address, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return config.Host
	}
	return address.Redacted()
}

// counting is the configuration with its requests counted.
func counting(config *rest.Config, requests *atomic.Int64) *rest.Config {
	counted := rest.CopyConfig(config)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return countingTransport{next: next, requests: requests}
	})
	return counted
}

// countingTransport counts requests.
type countingTransport struct {
	next     http.RoundTripper
	requests *atomic.Int64
}

// RoundTrip counts and passes on.
func (t countingTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	return t.next.RoundTrip(request)
}

// Connection is the configuration for another client of the same cluster, whose requests are counted with this one's.
func (c *Client) Connection() *rest.Config { return counting(c.config, c.requests) }
