package lab

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// cleanupLabel holds the UID of the replication that removes the object when its run is over.
// Source: backube/volsync internal/controller/utils/labels.go.
const cleanupLabel = "volsync.backube/cleanup"

func oneGibibyte() resource.Quantity { return resource.MustParse("1Gi") }

func nestedBool(r *replication, field string) (bool, bool, error) {
	return unstructured.NestedBool(r.Object, "spec", field)
}

// direction is how VolSync abbreviates a source and a destination in names.
func (r *replication) direction() string {
	if r.isSource() {
		return "src"
	}
	return "dst"
}

// volumeSpec reads the fields of the Kopia block that describe a volume.
func (r *replication) volumeSpec(modes, capacity, class string) (corev1.PersistentVolumeClaimSpec, error) {
	var spec corev1.PersistentVolumeClaimSpec
	all, _, err := unstructured.NestedStringSlice(r.Object, "spec", "kopia", modes)
	if err != nil {
		return spec, err
	}
	for _, mode := range all {
		spec.AccessModes = append(spec.AccessModes, corev1.PersistentVolumeAccessMode(mode))
	}
	if value, found, _ := unstructured.NestedFieldNoCopy(r.Object, "spec", "kopia", capacity); found {
		quantity, err := resource.ParseQuantity(fmt.Sprint(value))
		if err != nil {
			return spec, fmt.Errorf("%s: %w", capacity, err)
		}
		spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: quantity}
	}
	if name := r.kopia(class); name != "" {
		spec.StorageClassName = &name
	}
	return spec, nil
}

// owned are the metadata of an object that VolSync makes for a replication.
func (r *replication) owned(name string, temporary bool) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Namespace: r.GetNamespace(), Name: name, Labels: map[string]string{createdByLabel: volsyncCreator},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(r, volsyncResource(r.GetKind()).GroupVersion().WithKind(r.GetKind()))},
	}
	if temporary {
		meta.Labels[cleanupLabel] = string(r.GetUID())
	}
	return meta
}

// ensureClaim gives a claim of VolSync's own, and makes it where there is none. One that is left from an
// earlier run is used as it is, files included. It is nil while an older one is going away.
func (v *VolSync) ensureClaim(
	ctx context.Context, r *replication, name string, temporary bool, spec corev1.PersistentVolumeClaimSpec,
) (*corev1.PersistentVolumeClaim, error) {
	claims := v.client.CoreV1().PersistentVolumeClaims(r.GetNamespace())
	claim, err := v.claims.PersistentVolumeClaims(r.GetNamespace()).Get(name)
	switch {
	case apierrors.IsNotFound(err):
		claim, err = claims.Create(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: r.owned(name, temporary), Spec: spec}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = errTooEarly
		}
		return claim, err
	case err != nil:
		return nil, err
	case claim.DeletionTimestamp != nil:
		return nil, nil
	case temporary && claim.Labels[cleanupLabel] == "":
		body := fmt.Appendf(nil, `{"metadata": {"labels": {%q: %q}}}`, cleanupLabel, r.GetUID())
		return claims.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	return claim, nil
}

// ensureSnapshot gives a VolumeSnapshot of a claim, and makes it where there is none. It is nil until the
// snapshot is bound to its content.
func (v *VolSync) ensureSnapshot(ctx context.Context, r *replication, name, claim string, temporary bool) (*unstructured.Unstructured, error) {
	object, err := v.snapshots.ByNamespace(r.GetNamespace()).Get(name)
	if apierrors.IsNotFound(err) {
		snapshot, err := toUnstructured(map[string]any{
			"apiVersion": snapshotGroup + "/v1", "kind": snapshotKind, "metadata": r.owned(name, temporary),
			"spec": map[string]any{"source": map[string]any{"persistentVolumeClaimName": claim}},
		})
		if err != nil {
			return nil, err
		}
		if class := r.kopia("volumeSnapshotClassName"); class != "" {
			if err := unstructured.SetNestedField(snapshot.Object, class, "spec", "volumeSnapshotClassName"); err != nil {
				return nil, err
			}
		}
		_, err = v.dynamic.Resource(snapshotResource("volumesnapshots")).Namespace(r.GetNamespace()).Create(ctx, snapshot, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = errTooEarly
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	snapshot := object.(*unstructured.Unstructured)
	if content, _, _ := unstructured.NestedString(snapshot.Object, "status", "boundVolumeSnapshotContentName"); content == "" {
		return nil, nil
	}
	if snapshot.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	return snapshot, nil
}

func readyToUse(snapshot *unstructured.Unstructured) (ready, found bool) {
	ready, found, _ = unstructured.NestedBool(snapshot.Object, "status", "readyToUse")
	return ready, found
}

// label sets labels of a VolumeSnapshot; nil removes one.
func (v *VolSync) label(ctx context.Context, namespace, name string, labels map[string]any) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	_, err = v.dynamic.Resource(snapshotResource("volumesnapshots")).Namespace(namespace).
		Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	return err
}

func toUnstructured(object any) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	result := &unstructured.Unstructured{}
	return result, result.UnmarshalJSON(body)
}
