package bootstrapworld

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
)

// Reset takes the cluster back to empty: Applications, Argo CD, what they made, its definitions, and drctl's locks and
// copies go, and the world waits until they are gone.
func (w *World) Reset(ctx context.Context) error {
	w.Argo.Pause()
	defer w.Argo.Resume()
	if err := w.resetArgo(ctx); err != nil {
		return fmt.Errorf("bootstrapworld: reset: %w", err)
	}
	going, err := w.going(ctx)
	if err != nil {
		return fmt.Errorf("bootstrapworld: reset: %w", err)
	}
	if err := w.emptyNamespaces(ctx, going); err != nil {
		return fmt.Errorf("bootstrapworld: reset: %w", err)
	}
	for _, name := range going {
		if err := w.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("bootstrapworld: reset: namespace %s: %w", name, err)
		}
	}
	err = w.until(ctx, "the namespaces are gone", func() (bool, error) {
		left, err := w.going(ctx)
		return len(left) == 0, err
	})
	if err != nil {
		return err
	}
	return w.resetRest(ctx)
}

// going are the namespaces of Argo CD and of what it made.
func (w *World) going(ctx context.Context) ([]string, error) {
	namespaces, err := w.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, namespace := range namespaces.Items {
		if !stays(namespace.Name) {
			names = append(names, namespace.Name)
		}
	}
	return names, nil
}

// emptyNamespaces ends Pods and claims first: the controller of namespaces would find them with finalizers, and look
// again only after eight seconds. Source: kubernetes pkg/controller/namespace/deletion/namespaced_resources_deleter.go.
func (w *World) emptyNamespaces(ctx context.Context, namespaces []string) error {
	for _, namespace := range namespaces {
		if err := w.stopPods(ctx, namespace); err != nil {
			return fmt.Errorf("namespace %s: %w", namespace, err)
		}
	}
	return w.until(ctx, "Pods and claims are gone", func() (bool, error) {
		for _, namespace := range namespaces {
			for _, kind := range []schema.GroupVersionResource{{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "persistentvolumeclaims"}} {
				if left, err := w.list(ctx, kind, namespace); err != nil || len(left) > 0 {
					return false, err
				}
			}
		}
		return true, nil
	})
}

func stays(namespace string) bool {
	return namespace == corev1.NamespaceDefault || namespace == Bystander || strings.HasPrefix(namespace, "kube-")
}

// stopPods ends what runs in a namespace at once, and deletes its claims.
func (w *World) stopPods(ctx context.Context, namespace string) error {
	now, background := int64(0), metav1.DeletePropagationBackground
	for _, kind := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "statefulsets"},
		{Group: "apps", Version: "v1", Resource: "replicasets"}, {Group: "batch", Version: "v1", Resource: "jobs"}, {Version: "v1", Resource: "pods"},
		{Version: "v1", Resource: "persistentvolumeclaims"},
	} {
		options := metav1.DeleteOptions{GracePeriodSeconds: &now, PropagationPolicy: &background}
		if err := w.dynamic.Resource(kind).Namespace(namespace).DeleteCollection(ctx, options, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("%s: %w", kind.Resource, err)
		}
	}
	return nil
}

// resetArgo removes the sets before what they would make anew.
func (w *World) resetArgo(ctx context.Context) error {
	for _, kind := range []string{"applicationsets", "applications", "appprojects"} {
		err := w.dynamic.Resource(argoKind(kind)).Namespace(lab.ArgoNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (w *World) resetRest(ctx context.Context) error {
	for _, kind := range []struct {
		resource  schema.GroupVersionResource
		namespace string
		ours      func(metav1.Object) bool
	}{
		{definitionKind(), "", func(o metav1.Object) bool { return strings.HasSuffix(o.GetName(), ".argoproj.io") }},
		{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "", isArgos},
		{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}, "", isArgos},
		{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "kube-system", ours},
		{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "kube-system", ours},
	} {
		err := w.until(ctx, kind.resource.Resource+" are gone", func() (bool, error) {
			objects, err := w.list(ctx, kind.resource, kind.namespace)
			if err != nil {
				return false, err
			}
			gone := true
			for i := range objects {
				if !kind.ours(&objects[i]) {
					continue
				}
				gone = false
				if objects[i].GetDeletionTimestamp() != nil {
					continue
				}
				err := w.dynamic.Resource(kind.resource).Namespace(kind.namespace).Delete(ctx, objects[i].GetName(), metav1.DeleteOptions{})
				if err != nil && !apierrors.IsNotFound(err) {
					return false, err
				}
			}
			return gone, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func isArgos(object metav1.Object) bool { return strings.HasPrefix(object.GetName(), "argocd-") }

// KeepArgo removes the platform and leaves Argo CD as it is: a cluster that somebody began with.
func (w *World) KeepArgo(ctx context.Context) error {
	w.Argo.Pause()
	defer w.Argo.Resume()
	if err := w.resetArgo(ctx); err != nil {
		return fmt.Errorf("bootstrapworld: %w", err)
	}
	for _, name := range []string{"longhorn-system", "kyverno", "gateway", "photos"} {
		if err := w.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("bootstrapworld: namespace %s: %w", name, err)
		}
	}
	return w.until(ctx, "the platform is gone", func() (bool, error) {
		namespaces, err := w.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		return !slices.ContainsFunc(namespaces.Items, func(n corev1.Namespace) bool {
			return slices.Contains([]string{"longhorn-system", "kyverno", "gateway", "photos"}, n.Name)
		}), nil
	})
}
