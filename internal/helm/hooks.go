package helm

import (
	"context"
	"fmt"

	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// hookAnnotation tells that an object is a hook, and when it is run. Source: helm pkg/release/v1/hook.go.
const hookAnnotation = "helm.sh/hook"

// removeHooks deletes the hooks of the revisions and waits until they are gone. Helm leaves them: for it they are no part
// of a release. A Job that is left would be taken for one of the next attempt.
func (c *Client) removeHooks(ctx context.Context, target Target, revisions []*releasev1.Release) error {
	seen := map[string]bool{}
	for _, revision := range revisions {
		for _, hook := range revision.Hooks {
			objects, err := parseHeads(hook.Manifest)
			if err != nil {
				return fmt.Errorf("read hook %s: %w", hook.Path, err)
			}
			for _, object := range objects {
				if id := identity(object, target.Namespace); !seen[id] {
					seen[id] = true
					if err := c.removeHook(ctx, target, object); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// removeHook deletes an object that is a hook on the server too: one of that name which is none is somebody else's.
func (c *Client) removeHook(ctx context.Context, target Target, object *unstructured.Unstructured) error {
	resource, err := c.place(object, target.Namespace)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return explain(ctx, "read "+describe(object), err)
	}
	live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return explain(ctx, "read "+describe(object), err)
	case live.GetAnnotations()[hookAnnotation] == "" || keeps(live):
		return nil
	}
	return removeOne(ctx, resource, live)
}
