package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// imageAnnotation notes on the temporary claim which VolumeSnapshot its image is.
// Source: backube/volsync internal/controller/volumehandler/volumehandler.go.
const imageAnnotation = "volsync.backube/snapname"

// synchronize takes a run as far as it gets, and reports whether it is complete.
// Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go: Synchronize, setupPrerequisites,
// handleJobCompletion.
func (v *VolSync) synchronize(ctx context.Context, r *replication) (done bool, err error) {
	// A paused mover is a complete one: nothing ran, and the trigger counts as done.
	if paused, _, _ := nestedBool(r, "paused"); paused || v.ordered(r.GetKind(), r.GetNamespace(), r.GetName()) == OrderSwallow {
		return true, nil
	}
	identity, err := v.identityOf(r)
	if err != nil {
		return false, err
	}
	claim, err := v.dataClaim(ctx, r)
	if err != nil || claim == nil {
		return false, err
	}
	cache, err := v.cacheClaim(ctx, r, claim)
	if err != nil {
		return false, err
	}
	account, err := v.serviceAccount(ctx, r)
	if err != nil {
		return false, err
	}
	secret, err := v.secret(ctx, r)
	if err != nil {
		return false, err
	}
	if !r.isSource() {
		r.set(identity.username+"@"+identity.hostname, "kopia", "requestedIdentity")
	}
	done, err = v.runMover(ctx, r, moverWork{identity: identity, claim: claim.Name, cache: cache, account: account, secret: secret})
	if err != nil || !done || r.isSource() {
		return done, err
	}
	r.set(nil, "kopia", "availableIdentities")
	r.set(int64(0), "kopia", "snapshotsFound")
	return v.takeImage(ctx, r, claim)
}

// dataClaim is the claim that the mover works on, nil while it is being made.
func (v *VolSync) dataClaim(ctx context.Context, r *replication) (*corev1.PersistentVolumeClaim, error) {
	if r.isSource() {
		return v.sourceClaim(ctx, r)
	}
	if name := r.kopia("destinationPVC"); name != "" {
		return v.client.CoreV1().PersistentVolumeClaims(r.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
	}
	spec, err := r.volumeSpec("accessModes", "capacity", "storageClassName")
	if err != nil {
		return nil, err
	}
	if len(spec.AccessModes) == 0 {
		return nil, errors.New("accessModes must be provided when destinationPVC is not")
	}
	if len(spec.Resources.Requests) == 0 {
		return nil, errors.New("capacity must be provided when destinationPVC is not")
	}
	return v.ensureClaim(ctx, r, destinationClaim(r), r.kopiaFlag("cleanupTempPVC"), spec)
}

func destinationClaim(r *replication) string { return "volsync-" + r.GetName() + "-dest" }

// sourceClaim is the claim itself with copyMethod Direct or None, else a temporary copy of it.
func (v *VolSync) sourceClaim(ctx context.Context, r *replication) (*corev1.PersistentVolumeClaim, error) {
	original, err := v.client.CoreV1().PersistentVolumeClaims(r.GetNamespace()).Get(ctx, r.spec("sourcePVC"), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	spec, err := r.volumeSpec("accessModes", "capacity", "storageClassName")
	if err != nil {
		return nil, err
	}
	if spec.StorageClassName == nil {
		spec.StorageClassName = original.Spec.StorageClassName
	}
	if len(spec.AccessModes) == 0 {
		spec.AccessModes = original.Spec.AccessModes
	}
	if len(spec.Resources.Requests) == 0 {
		spec.Resources = original.Spec.Resources
	}
	name := "volsync-" + r.GetName() + "-src"
	switch method := r.kopia("copyMethod"); method {
	case "Direct", "None":
		return original, nil
	case "Clone":
		spec.DataSource = &corev1.TypedLocalObjectReference{Kind: claimKind, Name: original.Name}
	case "Snapshot":
		snapshot, err := v.ensureSnapshot(ctx, r, name, original.Name, true)
		if err != nil || snapshot == nil {
			return nil, err
		}
		if ready, found := readyToUse(snapshot); found && !ready {
			return nil, nil
		}
		group := snapshotGroup
		spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: snapshotKind, Name: name}
	default:
		return nil, fmt.Errorf("unsupported copyMethod: %s -- must be Direct, None, Clone, or Snapshot", method)
	}
	return v.ensureClaim(ctx, r, name, true, spec)
}

// cacheClaim makes the claim for Kopia's cache where one is asked for, and gives its name; without one, the
// cache is an emptyDir.
func (v *VolSync) cacheClaim(ctx context.Context, r *replication, data *corev1.PersistentVolumeClaim) (string, error) {
	spec, err := r.volumeSpec("cacheAccessModes", "cacheCapacity", "cacheStorageClassName")
	if err != nil || spec.StorageClassName == nil && len(spec.AccessModes) == 0 {
		return "", err
	}
	if spec.StorageClassName == nil {
		spec.StorageClassName = data.Spec.StorageClassName
	}
	if len(spec.AccessModes) == 0 {
		spec.AccessModes = data.Spec.AccessModes
	}
	if len(spec.Resources.Requests) == 0 {
		spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: oneGibibyte()}
	}
	name := "volsync-" + r.direction() + "-" + r.GetName() + "-cache"
	_, err = v.ensureClaim(ctx, r, name, r.kopiaFlag("cleanupCachePVC"), spec)
	return name, err
}

// takeImage makes the restored volume the destination's latestImage: the claim itself with copyMethod Direct,
// else a VolumeSnapshot, which need only be bound, not ready.
// Source: backube/volsync internal/controller/volumehandler/volumehandler.go, ensureImageSnapshot;
// replicationdestination_controller.go, Synchronize.
func (v *VolSync) takeImage(ctx context.Context, r *replication, claim *corev1.PersistentVolumeClaim) (bool, error) {
	if method := r.kopia("copyMethod"); method == "Direct" || method == "None" {
		r.set(map[string]any{"apiGroup": "", "kind": claimKind, "name": claim.Name}, "latestImage")
		return true, nil
	}
	if claim.Annotations[imageAnnotation] == "" {
		claim = claim.DeepCopy()
		if claim.Annotations == nil {
			claim.Annotations = map[string]string{}
		}
		claim.Annotations[imageAnnotation] = claim.Name + "-" + time.Now().UTC().Format("20060102150405")
		var err error
		if claim, err = v.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, claim, metav1.UpdateOptions{}); err != nil {
			return false, err
		}
	}
	name := claim.Annotations[imageAnnotation]
	snapshot, err := v.ensureSnapshot(ctx, r, name, claim.Name, false)
	if err != nil || snapshot == nil {
		return false, err
	}
	old := r.status("latestImage", "name")
	if r.status("latestImage", "kind") == snapshotKind && old != "" && old != name {
		if err := v.label(ctx, r.GetNamespace(), old, map[string]any{cleanupLabel: string(r.GetUID())}); err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
	}
	r.set(map[string]any{"apiGroup": snapshotGroup, "kind": snapshotKind, "name": name}, "latestImage")
	return true, nil
}
