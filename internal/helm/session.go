package helm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"helm.sh/helm/v4/pkg/action"
	chartcommon "helm.sh/helm/v4/pkg/chart/common"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/drctl/drctl/internal/recovery"
)

// boundBody ends its request's context when it is closed.
type boundBody struct {
	io.ReadCloser
	end func()
}

// Close closes the body, and ends the request.
func (b *boundBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// session is Helm's configuration for one call: everything that it sends ends with the call's context.
func (c *Client) session(ctx context.Context, namespace string) (*action.Configuration, error) {
	if c.config == nil {
		return nil, fmt.Errorf("no cluster was given: %w", recovery.ErrUsage)
	}
	config := rest.CopyConfig(c.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bound{ctx: ctx, next: next} })
	discover, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	getter := &getter{config: config, namespace: namespace, discovery: memory.NewMemCacheClient(discover)}
	getter.mapper = restmapper.NewDeferredDiscoveryRESTMapper(getter.discovery)
	configuration := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := configuration.Init(getter, namespace, "secret"); err != nil {
		return nil, fmt.Errorf("prepare Helm: %w", err)
	}
	if client, ok := configuration.KubeClient.(*helmkube.Client); ok {
		client.Namespace = namespace
	}
	return configuration, nil
}

// capabilities are what templates are told of the cluster. They are asked for once a session.
func (c *Client) capabilities(session *action.Configuration) (*chartcommon.Capabilities, error) {
	if session.Capabilities != nil {
		return session.Capabilities, nil
	}
	discover, err := session.RESTClientGetter.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	version, err := discover.ServerVersion()
	if err != nil {
		return nil, err
	}
	versions, err := action.GetVersionSet(discover)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	session.Capabilities = &chartcommon.Capabilities{
		APIVersions: versions, HelmVersion: chartcommon.DefaultCapabilities.HelmVersion,
		KubeVersion: chartcommon.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
	}
	return session.Capabilities, nil
}

// getter is a connection in the form that Helm wants it in.
type getter struct {
	config    *rest.Config
	namespace string
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

// ToRESTConfig is the connection.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return g.config, nil }

// ToDiscoveryClient asks what the server knows once, and then remembers.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

// ToRESTMapper finds the resources of kinds.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// ToRawKubeConfigLoader is asked for the namespace alone.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}
