package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// mostWarnings is how many warnings of one object are read.
const mostWarnings = 50

// Warnings are the warnings about one object, each as "Reason: message", the newest first and none twice.
func (c *Client) Warnings(ctx context.Context, namespace, kind, name string) ([]string, error) {
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	selector := fields.SelectorFromSet(fields.Set{"involvedObject.kind": kind, "involvedObject.name": name, "type": "Warning"})
	list, err := c.listPage(ctx, gvr, namespace, metav1.ListOptions{FieldSelector: selector.String(), Limit: mostWarnings})
	if err != nil {
		return nil, c.explain(ctx, fmt.Sprintf("list the warnings about %s %s/%s", kind, namespace, name), gvr, err)
	}
	slices.SortStableFunc(list.Items, func(x, y unstructured.Unstructured) int { return strings.Compare(lastSeen(&y), lastSeen(&x)) })
	var texts []string
	for i := range list.Items {
		reason, _, _ := unstructured.NestedString(list.Items[i].Object, "reason")
		message, _, _ := unstructured.NestedString(list.Items[i].Object, "message")
		if text := reason + ": " + message; !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// lastSeen is when an event happened last, in RFC 3339: who writes events.k8s.io sets eventTime and series,
// who writes the older kind lastTimestamp.
func lastSeen(event *unstructured.Unstructured) string {
	for _, path := range [][]string{{"series", "lastObservedTime"}, {"lastTimestamp"}, {"eventTime"}, {"metadata", "creationTimestamp"}} {
		if text, _, _ := unstructured.NestedString(event.Object, path...); text != "" {
			return text
		}
	}
	return ""
}
