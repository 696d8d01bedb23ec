package storage

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// consumerImage is the image that every node has already, for the sandbox of its Pods, and that does
	// nothing. Where it can't be had the Pod serves its purpose all the same: a claim is given its node when
	// the Pod is scheduled, before any image is pulled.
	consumerImage = "registry.k8s.io/pause:3.10"
	// nobody is the user that the image runs as.
	nobody = int64(65535)
)

// CreateConsumer makes a Pod that mounts the claim and does nothing, so that a class that waits for a
// consumer binds it. One of the plan's own is no error, another one recovery.ErrExists.
func (a *API) CreateConsumer(ctx context.Context, namespace, name, claim, planID string) error {
	return a.ensure(ctx, pods(), consumer(namespace, name, claim, planID), planID)
}

// RemoveConsumer deletes it; one that is gone is no error.
func (a *API) RemoveConsumer(ctx context.Context, namespace, name, planID string) error {
	return a.remove(ctx, pods(), namespace, name, planID)
}

// consumer fits into a namespace that admits restricted Pods only, and asks for next to nothing.
func consumer(namespace, name, claim, planID string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": marked(namespace, name, planID),
		"spec": map[string]any{
			"restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": int64(1),
			"securityContext": map[string]any{
				"runAsNonRoot": true, "runAsUser": nobody, "runAsGroup": nobody, "seccompProfile": map[string]any{"type": "RuntimeDefault"},
			},
			"containers": []any{map[string]any{
				"name": "consumer", "image": consumerImage,
				"resources": map[string]any{
					"requests": map[string]any{"cpu": "1m", "memory": "8Mi"}, "limits": map[string]any{"cpu": "10m", "memory": "32Mi"},
				},
				"securityContext": map[string]any{
					"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}},
				},
				"volumeMounts": []any{map[string]any{"name": "claim", "mountPath": "/claim"}},
			}},
			"volumes": []any{map[string]any{"name": "claim", "persistentVolumeClaim": map[string]any{"claimName": claim}}},
		},
	}}
}

// ensure creates an object unless it is there and the plan's own.
func (a *API) ensure(ctx context.Context, kind gvr, manifest *unstructured.Unstructured, planID string) error {
	_, err := a.client.Create(ctx, kind, manifest, kube.WriteOptions{})
	if !errors.Is(err, recovery.ErrExists) {
		return err
	}
	there, readErr := a.client.Get(ctx, kind, manifest.GetNamespace(), manifest.GetName())
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if there.GetAnnotations()[recovery.PlanMark] == planID && there.GetDeletionTimestamp() == nil {
		return nil
	}
	return err
}

// remove deletes an object of the plan's own.
func (a *API) remove(ctx context.Context, kind gvr, namespace, name, planID string) error {
	there, err := a.client.Get(ctx, kind, namespace, name)
	if err != nil {
		return absent(err)
	}
	if there.GetAnnotations()[recovery.PlanMark] != planID {
		return foreign("remove", there, planID)
	}
	return absent(a.client.Delete(ctx, kind, namespace, name, kube.Preconditions{UID: string(there.GetUID())}, metav1.DeletePropagationBackground))
}
