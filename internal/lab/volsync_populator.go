package lab

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// What the populator marks.
// Source: backube/volsync internal/controller/volumepopulator_controller.go, utils/labels.go.
const (
	populatedAnnotation  = "volsync.backube/populated-from"
	populatorClaimLabel  = "volsync.backube/populator-pvc-for"
	populatorLabelPrefix = "volsync.backube/volpop-pvc-"
)

// populatedFrom is the ReplicationDestination that a claim is to be populated from, empty for none.
func populatedFrom(claim *corev1.PersistentVolumeClaim) string {
	source := claim.Spec.DataSourceRef
	if source == nil || source.APIGroup == nil || *source.APIGroup != volsyncGroup || source.Kind != destinationKind {
		return ""
	}
	return source.Name
}

// populate fills an unbound claim from the latestImage of a ReplicationDestination: a second claim is made from
// that VolumeSnapshot, and its volume is then bound to the first. Whatever latestImage is there is taken, also
// one of long ago.
// Source: backube/volsync internal/controller/volumepopulator_controller.go, reconcilePVC.
func (v *VolSync) populate(ctx context.Context, namespace, name string) error {
	claim, err := v.claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil || populatedFrom(claim) == "" {
		return ignoreNotFound(err)
	}
	node, ready := v.populatorNode(claim)
	if !ready {
		return nil
	}
	prime, err := v.claims.PersistentVolumeClaims(namespace).Get(primeName(claim))
	if err != nil {
		if !apierrors.IsNotFound(err) {
			return err
		}
		prime = nil
	}
	if claim.Spec.VolumeName == "" {
		if claim.DeletionTimestamp != nil {
			return nil
		}
		if prime == nil {
			return v.makePrime(ctx, claim, node)
		}
		if err := v.holdSnapshots(ctx, claim, prime); err != nil {
			return err
		}
		if rebound, err := v.rebind(ctx, claim, prime); err != nil || !rebound {
			return err
		}
	}
	if prime != nil && prime.Status.Phase != corev1.ClaimLost {
		return nil
	}
	return v.endPopulation(ctx, claim, prime)
}

func primeName(claim *corev1.PersistentVolumeClaim) string { return "vs-prime-" + string(claim.UID) }

// populatorNode is the node that the scheduler chose, and whether the claim can be populated yet: with
// WaitForFirstConsumer, only once a Pod that mounts it was scheduled.
func (v *VolSync) populatorNode(claim *corev1.PersistentVolumeClaim) (node string, ready bool) {
	if claim.Spec.StorageClassName == nil {
		return "", true
	}
	class, err := v.classes.Get(*claim.Spec.StorageClassName)
	if err != nil {
		return "", false
	}
	if class.VolumeBindingMode == nil || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		return "", true
	}
	node = claim.Annotations[selectedNode]
	return node, node != ""
}

// makePrime makes the second claim, from the image that is the latest right now.
func (v *VolSync) makePrime(ctx context.Context, claim *corev1.PersistentVolumeClaim, node string) error {
	name := populatedFrom(claim)
	if v.ordered(destinationKind, claim.Namespace, name) == OrderNotPopulated {
		return nil
	}
	object, err := v.destinations.ByNamespace(claim.Namespace).Get(name)
	if err != nil {
		if !apierrors.IsNotFound(err) {
			return err
		}
		return v.warn(ctx, claim, "VolSyncPopulatorReplicationDestinationMissing", fmt.Sprintf("Unable to populate volume: %v", err))
	}
	destination := &replication{object.(*unstructured.Unstructured)}
	image := destination.status("latestImage", "name")
	switch {
	case image == "":
		return v.warn(ctx, claim, "VolSyncPopulatorReplicationDestinationNoLatestImage",
			"Unable to populate volume, waiting for replicationdestination to have latestImage")
	case destination.status("latestImage", "kind") != snapshotKind:
		return v.warn(ctx, claim, "VolSyncPopulatorError", "Unable to populate volume: ReplicationDestination latestImage is not a volumesnapshot")
	}
	if err := v.label(ctx, claim.Namespace, image, map[string]any{populatorLabelPrefix + string(claim.UID): claim.Name}); err != nil {
		return err
	}
	group := snapshotGroup
	prime := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: claim.Namespace, Name: primeName(claim),
			Labels:          map[string]string{populatorClaimLabel: claim.Name, createdByLabel: volsyncCreator},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(claim, corev1.SchemeGroupVersion.WithKind(claimKind))},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: claim.Spec.AccessModes, Resources: claim.Spec.Resources, StorageClassName: claim.Spec.StorageClassName,
			VolumeMode: claim.Spec.VolumeMode, DataSourceRef: &corev1.TypedObjectReference{APIGroup: &group, Kind: snapshotKind, Name: image},
		},
	}
	if node != "" {
		prime.Annotations = map[string]string{selectedNode: node}
	}
	if _, err := v.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Create(ctx, prime, metav1.CreateOptions{}); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return errTooEarly
		}
		return err
	}
	return nil
}

// holdSnapshots makes the second claim an owner of the VolumeSnapshot, so that nobody else removes it.
func (v *VolSync) holdSnapshots(ctx context.Context, claim, prime *corev1.PersistentVolumeClaim) error {
	return v.eachSnapshot(claim, func(snapshot *unstructured.Unstructured) error {
		if _, kept := snapshot.GetLabels()[doNotDelete]; kept {
			return nil
		}
		owners := snapshot.GetOwnerReferences()
		for _, owner := range owners {
			if owner.UID == prime.UID {
				return nil
			}
		}
		snapshot.SetOwnerReferences(append(owners, metav1.OwnerReference{APIVersion: "v1", Kind: claimKind, Name: prime.Name, UID: prime.UID}))
		_, err := v.dynamic.Resource(snapshotResource("volumesnapshots")).Namespace(claim.Namespace).Update(ctx, snapshot, metav1.UpdateOptions{})
		return err
	})
}

// eachSnapshot works on copies of the VolumeSnapshots that are labelled for the claim.
func (v *VolSync) eachSnapshot(claim *corev1.PersistentVolumeClaim, do func(*unstructured.Unstructured) error) error {
	selector, err := labels.Parse(populatorLabelPrefix + string(claim.UID))
	if err != nil {
		return err
	}
	snapshots, err := v.snapshots.ByNamespace(claim.Namespace).List(selector)
	if err != nil {
		return err
	}
	for _, object := range snapshots {
		if err := do(object.(*unstructured.Unstructured).DeepCopy()); err != nil {
			return err
		}
	}
	return nil
}

// rebind gives the second claim's volume to the first, and reports whether that is how it stands already.
func (v *VolSync) rebind(ctx context.Context, claim, prime *corev1.PersistentVolumeClaim) (bool, error) {
	if prime.Spec.VolumeName == "" {
		return false, nil
	}
	volume, err := v.client.CoreV1().PersistentVolumes().Get(ctx, prime.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return false, ignoreNotFound(err)
	}
	if owner := volume.Spec.ClaimRef; owner != nil && owner.UID == claim.UID {
		return true, nil
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{populatedAnnotation: claim.Namespace + "/" + prime.Spec.DataSourceRef.Name}},
		"spec": map[string]any{"claimRef": map[string]any{
			"namespace": claim.Namespace, "name": claim.Name, "uid": claim.UID, "resourceVersion": claim.ResourceVersion,
		}},
	})
	if err != nil {
		return false, err
	}
	_, err = v.client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{})
	return false, err
}

// endPopulation removes the marks and the second claim.
func (v *VolSync) endPopulation(ctx context.Context, claim, prime *corev1.PersistentVolumeClaim) error {
	err := v.eachSnapshot(claim, func(snapshot *unstructured.Unstructured) error {
		return ignoreNotFound(v.label(ctx, claim.Namespace, snapshot.GetName(), map[string]any{populatorLabelPrefix + string(claim.UID): nil}))
	})
	if err != nil || prime == nil || prime.DeletionTimestamp != nil {
		return err
	}
	return ignoreNotFound(v.client.CoreV1().PersistentVolumeClaims(prime.Namespace).Delete(ctx, prime.Name, metav1.DeleteOptions{}))
}

// warn makes an event about a claim, once for each reason.
func (v *VolSync) warn(ctx context.Context, claim *corev1.PersistentVolumeClaim, reason, message string) error {
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: claim.Name + "." + string(claim.UID)[:8] + "." + fmt.Sprintf("%x", len(reason))},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: claimKind, Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
		},
		Type: corev1.EventTypeWarning, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "volsync-controller"},
	}
	_, err := v.client.CoreV1().Events(claim.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
