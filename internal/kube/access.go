package kube

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Can asks the API server whether this user may do something (a SelfSubjectAccessReview). An empty
// namespace means all of them, or a kind of the whole cluster; an empty name means any. A subresource
// follows its resource after a slash: "pods/exec".
func (c *Client) Can(ctx context.Context, namespace, verb string, gvr schema.GroupVersionResource, name string) (bool, error) {
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
	resource, subresource, _ := strings.Cut(gvr.Resource, "/")
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": reviews.GroupVersion().String(), "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"namespace": namespace, "verb": verb, "group": gvr.Group, "version": gvr.Version,
			"resource": resource, "subresource": subresource, "name": name,
		}},
	}}
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.dynamic.Resource(reviews).Create(requestCtx, review, metav1.CreateOptions{})
	if err != nil {
		return false, c.explain(ctx, fmt.Sprintf("ask whether %s of %s is allowed", verb, gvr.GroupResource()), reviews, err)
	}
	allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, nil
}
