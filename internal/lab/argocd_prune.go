package lab

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// prune deletes what carries the Application's mark and is no longer in Git, in the foreground.
func (a *ArgoCD) prune(ctx context.Context, app *argoApplication, targets []*unstructured.Unstructured, result *argoSyncResult) error {
	left, err := a.leftovers(ctx, app, targets)
	if err != nil {
		return err
	}
	policy := metav1.DeletePropagationForeground
	for _, object := range left {
		if object.GetDeletionTimestamp() != nil {
			continue
		}
		resource, err := a.apply.resource(object.GroupVersionKind(), object.GetNamespace())
		if err != nil {
			return err
		}
		if err := resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		result.Resources = append(result.Resources, resultFor(object, "Pruned", "pruned"))
	}
	return nil
}

// leftovers are the live objects that the last comparison knew, that carry the mark, and that are no
// target any more.
func (a *ArgoCD) leftovers(ctx context.Context, app *argoApplication, targets []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	wanted := map[string]bool{}
	for _, target := range targets {
		wanted[trackingID(app.Metadata.Name, target)] = true
	}
	var left []*unstructured.Unstructured
	for _, known := range app.Status.Resources {
		if known.Hook {
			continue
		}
		object := reference(schemaVersion(known.Group, known.Version), known.Kind, known.Namespace, known.Name)
		if wanted[trackingID(app.Metadata.Name, object)] {
			continue
		}
		live, err := a.apply.Get(ctx, object)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if live.GetAnnotations()[argoTrackingAnnotation] == trackingID(app.Metadata.Name, live) {
			left = append(left, live)
		}
	}
	return left, nil
}

func schemaVersion(group, version string) string { return strings.TrimPrefix(group+"/"+version, "/") }

// trackingID names an object for its Application. Source: util/argo/resource_tracking.go.
func trackingID(app string, object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	return fmt.Sprintf("%s:%s/%s:%s/%s", app, kind.Group, kind.Kind, object.GetNamespace(), object.GetName())
}
