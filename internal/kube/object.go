package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Get reads one object; namespace is empty for kinds of the whole cluster. An object that is absent, like
// a kind that the cluster does not know, is recovery.ErrNotFound.
func (c *Client) Get(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	object, err := c.resource(gvr, namespace).Get(requestCtx, name, metav1.GetOptions{})
	if err != nil {
		return nil, c.explainObject(ctx, "read "+describe(gvr, namespace, name), gvr, err)
	}
	return object, nil
}

// ListWhere gives every object that a label selector picks, in a namespace or in all of them for "". It
// is for decisions: other than with List, any part that can't be read is an error.
func (c *Client) ListWhere(ctx context.Context, gvr schema.GroupVersionResource, namespace, labelSelector string) ([]unstructured.Unstructured, error) {
	items, err := c.listPages(ctx, gvr, namespace, labelSelector)
	if err != nil {
		what := listing(gvr, namespace)
		if labelSelector != "" {
			what = fmt.Sprintf("%s where %s", what, labelSelector)
		}
		return nil, c.explain(ctx, what, gvr, err)
	}
	return items, nil
}

func (c *Client) resource(gvr schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return c.dynamic.Resource(gvr)
	}
	return c.dynamic.Resource(gvr).Namespace(namespace)
}

// describe names one object in messages: "clusters.postgresql.cnpg.io cloudnative-pg/immich-database".
func describe(gvr schema.GroupVersionResource, namespace, name string) string {
	if namespace == "" {
		return gvr.GroupResource().String() + " " + name
	}
	return gvr.GroupResource().String() + " " + namespace + "/" + name
}
