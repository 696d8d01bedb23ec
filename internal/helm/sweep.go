package helm

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/recovery"
)

// settleDown ends what Helm leaves half done after a deployment or a rollback: objects of other revisions that it passed over,
// and Pods that no controller replaces.
func (c *Client) settleDown(ctx context.Context, target Target, revisions []*releasev1.Release) error {
	wanted, err := parseHeads(revisions[0].Manifest)
	if err != nil {
		return err
	}
	objects, err := leftovers(revisions[1:], names(wanted, target.Namespace))
	if err != nil {
		return err
	}
	if err := c.remove(ctx, target, objects); err != nil {
		return err
	}
	return c.replaceStuck(ctx, wanted, target.Namespace)
}

// names are the objects by what they are called, in the namespace that they will be in.
func names(objects []*unstructured.Unstructured, namespace string) map[string]bool {
	all := map[string]bool{}
	for _, object := range objects {
		all[identity(object, namespace)] = true
	}
	return all
}

// identity tells objects apart over API versions. One that names no namespace is in the release's, or in none.
func identity(object *unstructured.Unstructured, namespace string) string {
	if own := object.GetNamespace(); own != "" {
		namespace = own
	}
	kind := object.GroupVersionKind().GroupKind()
	return kind.String() + " " + namespace + "/" + object.GetName()
}

// leftovers are objects of the revisions that are not wanted. Definitions, and what the chart says to keep, are never among them.
func leftovers(revisions []*releasev1.Release, wanted map[string]bool) ([]*unstructured.Unstructured, error) {
	var left []*unstructured.Unstructured
	seen := map[string]bool{}
	for _, revision := range revisions {
		objects, err := parseHeads(revision.Manifest)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			id := identity(object, revision.Namespace)
			if wanted[id] || seen[id] || object.GetKind() == definitionKind || keeps(object) {
				continue
			}
			seen[id] = true
			left = append(left, object)
		}
	}
	return left, nil
}

func keeps(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[resourcePolicy] == "keep"
}

// survivor is the live object where it still is there, belongs to the release and is not to be kept; nil otherwise.
func (c *Client) survivor(ctx context.Context, target Target, object *unstructured.Unstructured) (dynamic.ResourceInterface, *unstructured.Unstructured, error) {
	resource, err := c.place(object, target.Namespace)
	if meta.IsNoMatchError(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, explain(ctx, "read "+describe(object), err)
	}
	live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, explain(ctx, "read "+describe(object), err)
	}
	annotations := live.GetAnnotations()
	if annotations[ownerName] != target.Name || annotations[ownerNamespace] != target.Namespace || keeps(live) {
		return nil, nil, nil
	}
	return resource, live, nil
}

// remove deletes what is still there of the objects, and waits until it is gone.
func (c *Client) remove(ctx context.Context, target Target, objects []*unstructured.Unstructured) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, object := range objects {
		group.Go(func() error {
			resource, live, err := c.survivor(within, target, object)
			if err != nil || live == nil {
				return err
			}
			return removeOne(within, resource, live)
		})
	}
	return group.Wait()
}

func removeOne(ctx context.Context, resource dynamic.ResourceInterface, live *unstructured.Unstructured) error {
	what := "delete " + describe(live)
	uid, foreground := live.GetUID(), metav1.DeletePropagationForeground
	options := metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &uid}}
	if err := resource.Delete(ctx, live.GetName(), options); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return explain(ctx, what, err)
	}
	deadline := time.Now().Add(hookTimeout)
	for {
		now, err := resource.Get(ctx, live.GetName(), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return explain(ctx, what, err)
		case now.GetUID() != uid:
			// Another one of the same name: ours is gone.
			return nil
		case time.Now().After(deadline):
			return &recovery.Problem{
				What: what, Why: fmt.Sprintf("it is still there; its finalizers are %v", now.GetFinalizers()),
				Next: "see what its finalizers wait for, then run the command again", Err: recovery.ErrConflict,
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(establishPause):
		}
	}
}
