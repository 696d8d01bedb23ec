package kube

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// pageSize is how many objects one LIST request asks for.
const pageSize = 500

// List gives every object of a kind in a namespace, or in all of them for "". Where the cluster-wide
// LIST is forbidden the namespaces are listed one by one, and each refused one is a gap. A kind that
// the cluster does not know is recovery.ErrNotFound. When a listing breaks off in the middle, what was
// read is returned with a gap.
//
// The objects carry no managedFields: half of their size, and of no use to a reader.
func (c *Client) List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	items, err := c.listPages(ctx, gvr, namespace, "")
	if err != nil && namespace == "" && apierrors.IsForbidden(err) {
		return c.listEachNamespace(ctx, gvr, err)
	}
	return c.partial(ctx, gvr, namespace, items, err)
}

// partial turns the outcome of one listing into items and gaps, or into an error when nothing was read.
func (c *Client) partial(ctx context.Context, gvr schema.GroupVersionResource, namespace string, items []unstructured.Unstructured, err error) ([]unstructured.Unstructured, recovery.Gaps, error) {
	if err == nil {
		return items, nil, nil
	}
	what := listing(gvr, namespace)
	if len(items) == 0 || ctx.Err() != nil {
		return nil, nil, c.explain(ctx, what, gvr, err)
	}
	var gaps recovery.Gaps
	gaps.Add(what, c.explain(ctx, fmt.Sprintf("%s (broken off after %d)", what, len(items)), gvr, err))
	return items, gaps, nil
}

// listPages reads a kind in pages, or what a label selector picks of it. What was read before an error is
// returned with it.
//
// No resourceVersion is set: with limit and without one the first page is a consistent read, and the
// continue token pins the others to the same version ("0" would make the server ignore the limit). A
// token that expired in the meantime (410) is answered by one listing from scratch without a limit.
// Source: Kubernetes API concepts, "Retrieving large results sets in chunks".
func (c *Client) listPages(ctx context.Context, gvr schema.GroupVersionResource, namespace, labelSelector string) ([]unstructured.Unstructured, error) {
	var items []unstructured.Unstructured
	options := metav1.ListOptions{Limit: pageSize, LabelSelector: labelSelector}
	for {
		page, err := c.listPage(ctx, gvr, namespace, options)
		if apierrors.IsResourceExpired(err) && options.Continue != "" {
			items, options = nil, metav1.ListOptions{LabelSelector: labelSelector}
			continue
		}
		if err != nil {
			return items, err
		}
		for i := range page.Items {
			page.Items[i].SetManagedFields(nil)
		}
		items = append(items, page.Items...)
		options.Continue = page.GetContinue()
		if options.Continue == "" {
			return items, nil
		}
	}
}

func (c *Client) listPage(ctx context.Context, gvr schema.GroupVersionResource, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.dynamic.Resource(gvr).Namespace(namespace).List(ctx, options)
}

// listEachNamespace stands in for a cluster-wide LIST that was refused with the given error.
func (c *Client) listEachNamespace(ctx context.Context, gvr schema.GroupVersionResource, refused error) ([]unstructured.Unstructured, recovery.Gaps, error) {
	namespaces, err := c.namespaceNames(ctx)
	if apierrors.IsForbidden(err) {
		return nil, nil, c.allForbidden(gvr, "so is listing the namespaces", refused)
	}
	if err != nil {
		return nil, nil, c.explain(ctx, "list namespaces", namespacesResource(), err)
	}
	type outcome struct {
		items []unstructured.Unstructured
		gaps  recovery.Gaps
		err   error
	}
	outcomes := make([]outcome, len(namespaces))
	var group errgroup.Group
	group.SetLimit(namespacesAtOnce)
	for i, namespace := range namespaces {
		group.Go(func() error {
			items, err := c.listPages(ctx, gvr, namespace, "")
			o := &outcomes[i]
			o.items, o.gaps, o.err = c.partial(ctx, gvr, namespace, items, err)
			return nil
		})
	}
	_ = group.Wait() // every outcome is kept, so that one refusal does not hide the others
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", listing(gvr, ""), err)
	}

	var items []unstructured.Unstructured
	var gaps recovery.Gaps
	denied := 0
	for i, o := range outcomes {
		items = append(items, o.items...)
		gaps = append(gaps, o.gaps...)
		gaps.Add(listing(gvr, namespaces[i]), o.err)
		if errors.Is(o.err, recovery.ErrDenied) {
			denied++
		}
	}
	if denied == len(namespaces) {
		return nil, nil, c.allForbidden(gvr, "so is each namespace alone", refused)
	}
	return items, gaps, nil
}

// allForbidden is the error for a kind that may be listed nowhere.
func (c *Client) allForbidden(gvr schema.GroupVersionResource, also string, refused error) error {
	return &recovery.Problem{
		What: listing(gvr, ""),
		Why:  fmt.Sprintf("the API server forbids it for all namespaces at once, and %s", also),
		Next: "give -n NAMESPACE, or have the ClusterRole of docs/rbac-read.yaml bound to you",
		Err:  errors.Join(recovery.ErrDenied, refused),
	}
}

// listing names a LIST in messages.
func listing(gvr schema.GroupVersionResource, namespace string) string {
	where := "in all namespaces"
	if namespace != "" {
		where = "in namespace " + namespace
	}
	return fmt.Sprintf("list %s %s", gvr.GroupResource(), where)
}
