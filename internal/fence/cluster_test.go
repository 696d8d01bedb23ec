package fence_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
)

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	databases   = schema.GroupVersionResource{Group: "test.drctl.dev", Version: "v1", Resource: "databases"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	policies    = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	bindings    = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}
)

// within bounds what the API server needs a moment for; it is far above what was ever seen.
const within = time.Minute

// cluster is the real API server with the two namespaces and the kind that the tests use.
type cluster struct {
	*lab.Kubernetes
	api *kube.Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{Users: []string{"nobody"}})
	require.NoError(t, err)
	api, err := kube.New(kube.Options{REST: k.RESTConfig(), Context: "lab"})
	require.NoError(t, err)
	c := &cluster{Kubernetes: k, api: api}
	for _, name := range []string{"db", "other"} {
		c.create(t, namespaces, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
		}})
	}
	c.create(t, definitions, definition())
	require.Eventually(t, func() bool {
		served, err := api.Served(t.Context(), databases)
		if err != nil || !served {
			return false
		}
		_, err = api.Create(t.Context(), databases, database("db", "probe"), kube.WriteOptions{DryRun: true})
		return err == nil
	}, within, 50*time.Millisecond)
	return c
}

func (c *cluster) create(t *testing.T, gvr schema.GroupVersionResource, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	created, err := c.api.Create(t.Context(), gvr, object, kube.WriteOptions{})
	require.NoError(t, err)
	return created
}

// up puts a fence up and waits until it holds on this API server.
func (c *cluster) up(t *testing.T, spec fence.Spec, sample *unstructured.Unstructured) {
	t.Helper()
	require.NoError(t, fence.Up(t.Context(), c.api, spec))
	t.Cleanup(func() {
		// The test's own context is over by then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), within)
		defer cancel()
		if err := fence.Down(ctx, c.api, spec); err != nil {
			t.Errorf("fence down: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, fence.Prove(ctx, c.api, spec, sample, 200*time.Millisecond))
}

// definition is of a kind with a schema that refuses, and a status of its own.
func definition() *unstructured.Unstructured {
	spec := map[string]any{"type": "object", "required": []any{"size"}, "properties": map[string]any{
		"size": map[string]any{"type": "integer"}, "note": map[string]any{"type": "string"},
	}}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "databases.test.drctl.dev"},
		"spec": map[string]any{
			"group": "test.drctl.dev", "scope": "Namespaced",
			"names": map[string]any{"plural": "databases", "singular": "database", "kind": "Database", "listKind": "DatabaseList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "required": []any{"spec"},
					"properties": map[string]any{"spec": spec, "status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			}},
		},
	}}
}

func database(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "test.drctl.dev/v1", "kind": "Database",
		"metadata": map[string]any{"namespace": namespace, "name": name},
		"spec":     map[string]any{"size": int64(1)},
	}}
}

func configMap(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": namespace, "name": name},
	}}
}

func databaseSpec(planID, name string) fence.Spec {
	return fence.Spec{PlanID: planID, Expires: time.Now().Add(24 * time.Hour), GVR: databases, Kind: "Database", Namespace: "db", Name: name}
}

func configMapSpec(planID, name string) fence.Spec {
	return fence.Spec{PlanID: planID, Expires: time.Now().Add(24 * time.Hour), GVR: configMaps, Kind: "ConfigMap", Namespace: "db", Name: name}
}

func marked(object *unstructured.Unstructured, planID string) *unstructured.Unstructured {
	object.SetAnnotations(map[string]string{fence.MarkKey: planID})
	return object
}
