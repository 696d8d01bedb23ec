package lab

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// make takes a snapshot step by step, each time as far as it gets: protected, bound to its content, copied,
// ready. What cannot be done is in its status, for people.
func (t *Snapshotter) make(ctx context.Context, snapshot *unstructured.Unstructured) error {
	if usable, _, _ := unstructured.NestedBool(snapshot.Object, "status", "readyToUse"); usable {
		return nil
	}
	name, _, _ := unstructured.NestedString(snapshot.Object, "spec", "source", "persistentVolumeClaimName")
	class, volume, err := t.source(snapshot, name)
	if err != nil {
		return t.refuse(ctx, snapshot, err)
	}
	all := t.client.Resource(snapshotResource("volumesnapshots")).Namespace(snapshot.GetNamespace())
	if len(snapshot.GetFinalizers()) == 0 {
		snapshot.SetFinalizers([]string{snapshotSourceFinalizer, snapshotBoundFinalizer})
		if snapshot, err = all.Update(ctx, snapshot, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	if err := t.makeContent(ctx, snapshot, class, volume); err != nil {
		return err
	}
	taken := time.Now().UTC().Truncate(time.Second)
	snapshot.Object["status"] = map[string]any{
		"boundVolumeSnapshotContentName": contentName(snapshot), "creationTime": taken.Format(time.RFC3339), "readyToUse": false,
	}
	if snapshot, err = all.UpdateStatus(ctx, snapshot, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := copyTree(ctx, t.provisioner.Folder(volume.Name), t.Folder(string(snapshot.GetUID()))); err != nil {
		return err
	}
	size := volume.Spec.Capacity[corev1.ResourceStorage]
	if err := t.contentReady(ctx, snapshot, taken, size.Value()); err != nil {
		return err
	}
	status, _ := snapshot.Object["status"].(map[string]any)
	status["readyToUse"], status["restoreSize"] = true, size.String()
	_, err = all.UpdateStatus(ctx, snapshot, metav1.UpdateOptions{})
	return err
}

// source finds the class and the volume of a snapshot.
func (t *Snapshotter) source(snapshot *unstructured.Unstructured, name string) (*unstructured.Unstructured, *corev1.PersistentVolume, error) {
	class, err := t.class(snapshot)
	if err != nil {
		return nil, nil, err
	}
	claim, err := t.provisioner.claims.PersistentVolumeClaims(snapshot.GetNamespace()).Get(name)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshot controller failed to update %s on API server: cannot get claim from snapshot", name)
	}
	if claim.Spec.VolumeName == "" {
		return nil, nil, fmt.Errorf("the PVC %s is not yet bound to a PV, will not attempt to take a snapshot", name)
	}
	volume, err := t.provisioner.volumes.Get(claim.Spec.VolumeName)
	return class, volume, err
}

func (t *Snapshotter) class(snapshot *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	name, named, _ := unstructured.NestedString(snapshot.Object, "spec", "volumeSnapshotClassName")
	if named {
		object, err := t.classes.Get(name)
		if err != nil {
			return nil, fmt.Errorf("failed to get snapshot class %s: %w", name, err)
		}
		return object.(*unstructured.Unstructured), nil
	}
	all, err := t.classes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	for _, object := range all {
		if class := object.(*unstructured.Unstructured); class.GetAnnotations()[defaultSnapshotClass] == "true" {
			return class, nil
		}
	}
	return nil, fmt.Errorf("cannot find default snapshot class")
}

// refuse says in the status why there is no snapshot; it is tried again.
func (t *Snapshotter) refuse(ctx context.Context, snapshot *unstructured.Unstructured, reason error) error {
	if said, _, _ := unstructured.NestedString(snapshot.Object, "status", "error", "message"); said == reason.Error() {
		return nil
	}
	snapshot.Object["status"] = map[string]any{
		"readyToUse": false, "error": map[string]any{"message": reason.Error(), "time": time.Now().UTC().Format(time.RFC3339)},
	}
	_, err := t.client.Resource(snapshotResource("volumesnapshots")).Namespace(snapshot.GetNamespace()).UpdateStatus(ctx, snapshot, metav1.UpdateOptions{})
	return err
}

func (t *Snapshotter) makeContent(ctx context.Context, snapshot, class *unstructured.Unstructured, volume *corev1.PersistentVolume) error {
	content := reference(snapshotGroup+"/v1", "VolumeSnapshotContent", "", contentName(snapshot))
	content.SetFinalizers([]string{snapshotContentFinalizer})
	content.Object["spec"] = map[string]any{
		"deletionPolicy": class.Object["deletionPolicy"], "driver": class.Object["driver"],
		"volumeSnapshotClassName": class.GetName(),
		"source":                  map[string]any{"volumeHandle": volume.Spec.CSI.VolumeHandle},
		"volumeSnapshotRef": map[string]any{
			"apiVersion": snapshotGroup + "/v1", "kind": snapshotKind, "namespace": snapshot.GetNamespace(), "name": snapshot.GetName(),
			"uid": string(snapshot.GetUID()),
		},
	}
	_, err := t.client.Resource(snapshotResource("volumesnapshotcontents")).Create(ctx, content, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (t *Snapshotter) contentReady(ctx context.Context, snapshot *unstructured.Unstructured, taken time.Time, sizeBytes int64) error {
	contents := t.client.Resource(snapshotResource("volumesnapshotcontents"))
	content, err := contents.Get(ctx, contentName(snapshot), metav1.GetOptions{})
	if err != nil {
		return err
	}
	content.Object["status"] = map[string]any{
		"snapshotHandle": string(snapshot.GetUID()), "creationTime": taken.UnixNano(), "readyToUse": true, "restoreSize": sizeBytes,
	}
	_, err = contents.UpdateStatus(ctx, content, metav1.UpdateOptions{})
	return err
}
