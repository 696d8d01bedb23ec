package helm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// establishTimeout bounds how long a definition that was accepted may take until it is served.
	establishTimeout = time.Minute
	establishPause   = 200 * time.Millisecond
)

// ApplyDefinitions applies the CustomResourceDefinitions of the chart's crds/ folders server-side and gives their names, sorted.
// Helm installs them once and never again; and definitions exceed what a client-side apply can remember (262,144 bytes in an
// annotation). It returns when they are served.
func (c *Client) ApplyDefinitions(ctx context.Context, target Target) ([]string, error) {
	if c.dynamic == nil {
		return nil, fmt.Errorf("no cluster was given: %w", recovery.ErrUsage)
	}
	loaded, given, err := c.chart(target)
	if err != nil {
		return nil, err
	}
	// Dependencies that the values switch off bring no definitions.
	if err := chartutil.ProcessDependencies(loaded, given); err != nil {
		return nil, invalidValues("read the dependencies of chart "+target.Chart.Name, err, given)
	}
	objects, err := definitions(loaded.CRDObjects())
	if err != nil {
		return nil, err
	}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	names := make([]string, 0, len(objects))
	for _, object := range objects {
		names = append(names, object.GetName())
		group.Go(func() error { return c.applyDefinition(within, object) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(names)
	// What the cluster knows has changed: ask again.
	c.mapper.Reset()
	return names, nil
}

func (c *Client) applyDefinition(ctx context.Context, object *unstructured.Unstructured) error {
	what := "apply " + describe(object)
	resource := c.dynamic.Resource(definitionsResource())
	if _, err := resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
		return explain(ctx, what, err)
	}
	deadline := time.Now().Add(establishTimeout)
	for {
		live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return explain(ctx, what, err)
		}
		established, why := establishment(live)
		if established {
			return nil
		}
		if time.Now().After(deadline) {
			return &recovery.Problem{What: what, Why: "the API server does not serve it: " + why, Next: "look at it: kubectl describe crd " + object.GetName(), Err: recovery.ErrInvalid}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(establishPause):
		}
	}
}

// definitions are the objects of the crds/ folders.
func definitions(files []chart.CRD) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, file := range files {
		objects, err := parse(string(file.File.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Filename, err)
		}
		for _, object := range objects {
			if object.GetKind() != definitionKind {
				return nil, &recovery.Problem{
					What: "read " + file.Filename, Why: "it holds a " + object.GetKind() + "; a crds/ folder is for definitions", Next: "take another version of the chart",
					Err: recovery.ErrInvalid,
				}
			}
			all = append(all, object)
		}
	}
	return all, nil
}

// establishment reports whether a definition is served, and the API server's words where it is not.
func establishment(definition *unstructured.Unstructured) (established bool, why string) {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	why = "the API server has not looked at it yet"
	for _, each := range conditions {
		condition, ok := each.(map[string]any)
		if !ok {
			continue
		}
		switch {
		case condition["type"] == "Established" && condition["status"] == "True":
			return true, ""
		case condition["type"] == "NamesAccepted" && condition["status"] == "False":
			return false, fmt.Sprint(condition["message"])
		case condition["type"] == "Established":
			why = fmt.Sprint(condition["message"])
		}
	}
	return false, why
}

func definitionsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// forget lets a session, and the client, find out anew what the cluster knows: a chart that was just deployed may have brought
// definitions in its templates.
func (c *Client) forget(session *action.Configuration) {
	c.mapper.Reset()
	if discover, err := session.RESTClientGetter.ToDiscoveryClient(); err == nil {
		discover.Invalidate()
	}
}
