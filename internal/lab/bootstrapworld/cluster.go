package bootstrapworld

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
)

// The bystander is somebody else's namespace in the cluster, with data.
const (
	Bystander       = "bystander"
	bystanderSecret = "canary"
)

// furnish makes what is there before a bootstrap: Cilium, a storage class, the definitions of Gateway API, and a
// bystander.
func (w *World) furnish(ctx context.Context) error {
	objects := []*unstructured.Unstructured{
		made("storage.k8s.io/v1", "StorageClass", "", "longhorn", map[string]any{
			"provisioner": "driver.longhorn.io", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "allowVolumeExpansion": true,
		}),
		made("v1", "Namespace", "", Bystander, nil),
		workload("DaemonSet", "kube-system", "cilium", "cilium-agent", "registry.invalid/cilium/cilium:v"+CiliumVersion),
		workload("Deployment", "kube-system", "cilium-operator", "cilium-operator", "registry.invalid/cilium/operator-generic:v"+CiliumVersion),
	}
	for plural, kind := range map[string]string{"gatewayclasses": "GatewayClass", "gateways": "Gateway", "httproutes": "HTTPRoute"} {
		objects = append(objects, definition(plural, kind))
	}
	if err := w.applier.Apply(ctx, objects...); err != nil {
		return err
	}
	_, err := w.client.CoreV1().Secrets(Bystander).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: bystanderSecret}, StringData: map[string]string{"token": "CANARY-BYSTANDER-20c4"},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("bootstrapworld: the bystander's Secret: %w", err)
	}
	return w.until(ctx, "Cilium is ready", func() (bool, error) {
		agent, err := w.client.AppsV1().DaemonSets("kube-system").Get(ctx, "cilium", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		operator, err := w.client.AppsV1().Deployments("kube-system").Get(ctx, "cilium-operator", metav1.GetOptions{})
		return err == nil && agent.Status.NumberReady == 1 && operator.Status.AvailableReplicas == 1, err
	})
}

// Furnish makes the same in the empty cluster of another world, on which a node runs.
func Furnish(ctx context.Context, k *lab.Kubernetes) (err error) {
	w := &World{Kubernetes: k}
	if w.client, err = kubernetes.NewForConfig(k.RESTConfig()); err != nil {
		return fmt.Errorf("bootstrapworld: client: %w", err)
	}
	if w.applier, err = k.Applier(); err != nil {
		return err
	}
	return w.furnish(ctx)
}

func made(version, kind, namespace, name string, fields map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	for field, value := range fields {
		object.Object[field] = value
	}
	object.SetAPIVersion(version)
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// workload is a Deployment or DaemonSet whose Pods are said to run.
func workload(kind, namespace, name, container, image string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	return made("apps/v1", kind, namespace, name, map[string]any{"spec": map[string]any{
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": container, "image": image}}},
		},
	}})
}

// definition is one of Gateway API's, of which nothing but the name counts here.
func definition(plural, kind string) *unstructured.Unstructured {
	const group = "gateway.networking.k8s.io"
	object := made("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", plural+"."+group, map[string]any{"spec": map[string]any{
		"group": group, "scope": "Namespaced",
		"names": map[string]any{"plural": plural, "kind": kind, "listKind": kind + "List", "singular": plural[:len(plural)-1]},
		"versions": []any{map[string]any{
			"name": "v1", "served": true, "storage": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
		}},
	}})
	// The group is Kubernetes' own, whose definitions have to say where they were approved.
	object.SetAnnotations(map[string]string{"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/891"})
	return object
}

// patience bounds everything that is waited for.
const patience = 2 * time.Minute

// until waits until something is so. A question that fails is asked again, and is the reason when it never is.
func (w *World) until(ctx context.Context, what string, is func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; {
		so, err := is()
		if so && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("bootstrapworld: it is not so that %s, after %s: %w", what, patience, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("bootstrapworld: until %s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
