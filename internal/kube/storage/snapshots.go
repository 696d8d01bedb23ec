package storage

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// SnapshotVolume requests a VolumeSnapshot of the claim; one of that name and plan is no error. Without a
// class the cluster's default one is taken.
func (a *API) SnapshotVolume(ctx context.Context, namespace, claim, name, class, planID string) error {
	spec := map[string]any{"source": map[string]any{"persistentVolumeClaimName": claim}}
	if class != "" {
		spec["volumeSnapshotClassName"] = class
	}
	return a.ensure(ctx, volumeSnapshots(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": volumeSnapshots().GroupVersion().String(), "kind": "VolumeSnapshot", "metadata": marked(namespace, name, planID), "spec": spec,
	}}, planID)
}

// VolumeSnapshot is a look, nil when there is none.
func (a *API) VolumeSnapshot(ctx context.Context, namespace, name string) (*recovery.VolumeSnapshot, error) {
	object, err := a.looks.Get(ctx, volumeSnapshots(), namespace, name)
	if err != nil || object == nil {
		return nil, err
	}
	snapshot := &recovery.VolumeSnapshot{Name: name, UID: string(object.GetUID()), PlanID: object.GetAnnotations()[recovery.PlanMark]}
	snapshot.Ready, _, _ = unstructured.NestedBool(object.Object, "status", "readyToUse")
	snapshot.Error, _, _ = unstructured.NestedString(object.Object, "status", "error", "message")
	return snapshot, nil
}

// RemoveVolumeSnapshot removes the plan's own; one that is gone is no error.
func (a *API) RemoveVolumeSnapshot(ctx context.Context, namespace, name, planID string) error {
	return a.remove(ctx, volumeSnapshots(), namespace, name, planID)
}
