package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/recovery"
)

// Logs gives the last lines of a container's log, at most 16 MiB of them.
func (c *Client) Logs(ctx context.Context, namespace, pod, container string, tailLines int64) (string, error) {
	what := fmt.Sprintf("read the log of container %s of Pod %s/%s", container, namespace, pod)
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log", url.PathEscape(namespace), url.PathEscape(pod))
	content, err := c.getRaw(ctx, path, map[string]string{"container": container, "tailLines": strconv.FormatInt(tailLines, 10)})
	if err != nil {
		return "", c.explainPod(ctx, what, err)
	}
	return string(content), nil
}

// Served says whether the cluster serves a kind in this very version.
func (c *Client) Served(ctx context.Context, gvr schema.GroupVersionResource) (bool, error) {
	what := fmt.Sprintf("ask for the kinds of %s", gvr.GroupVersion())
	path := "/apis/" + gvr.GroupVersion().String()
	if gvr.Group == "" {
		path = "/api/" + gvr.Version
	}
	content, err := c.getRaw(ctx, path, nil)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, c.explain(ctx, what, gvr, err)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(content, &list); err != nil {
		return false, &recovery.Problem{
			What: what, Why: "the answer is not a list of kinds: " + err.Error(),
			Next: "check --context", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == gvr.Resource }), nil
}

// getRaw gets a path below the server's URL; a longer answer than maxOutputBytes is cut off.
func (c *Client) getRaw(ctx context.Context, path string, query map[string]string) ([]byte, error) {
	client, err := c.rawClient()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := client.Get().AbsPath(path)
	for key, value := range query {
		request = request.Param(key, value)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return io.ReadAll(io.LimitReader(body, maxOutputBytes))
}

// rawClient decodes nothing but the Status of a refusal.
func (c *Client) rawClient() (*rest.RESTClient, error) {
	config := counting(c.config, c.requests)
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.AcceptContentTypes, config.ContentType = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the API server of context %q: %w", c.context, err)
	}
	return client, nil
}
