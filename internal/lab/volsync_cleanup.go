package lab

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// doNotDelete keeps a VolumeSnapshot from VolSync's cleaning up.
// Source: backube/volsync internal/controller/utils/labels.go.
const doNotDelete = "volsync.backube/do-not-delete"

// cleanUp removes what was made for one run: the Job (and with it the mover's Pod and log), temporary claims,
// VolumeSnapshots of earlier runs. A VolumeSnapshot that a claim is populated from stays.
// Source: backube/volsync internal/controller/utils/cleanup.go.
func (v *VolSync) cleanUp(ctx context.Context, r *replication) error {
	if !r.isSource() {
		if err := v.forgetImage(ctx, r); err != nil {
			return err
		}
	}
	selector := labels.SelectorFromSet(labels.Set{cleanupLabel: string(r.GetUID())})
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	claims, err := v.claims.PersistentVolumeClaims(r.GetNamespace()).List(selector)
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if claim.DeletionTimestamp == nil {
			err := v.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Delete(ctx, claim.Name, options)
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	if err := v.cleanUpSnapshots(ctx, r, selector); err != nil {
		return err
	}
	jobs, err := v.jobs.Jobs(r.GetNamespace()).List(selector)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := v.client.BatchV1().Jobs(job.Namespace).Delete(ctx, job.Name, options); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (v *VolSync) cleanUpSnapshots(ctx context.Context, r *replication, selector labels.Selector) error {
	snapshots, err := v.snapshots.ByNamespace(r.GetNamespace()).List(selector)
	if err != nil {
		return err
	}
	for _, object := range snapshots {
		snapshot := object.(*unstructured.Unstructured)
		_, kept := snapshot.GetLabels()[doNotDelete]
		if snapshot.GetDeletionTimestamp() != nil || kept || inUse(snapshot, r.GetUID()) {
			continue
		}
		version := snapshot.GetResourceVersion()
		err := v.dynamic.Resource(snapshotResource("volumesnapshots")).Namespace(r.GetNamespace()).
			Delete(ctx, snapshot.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// inUse reports whether a VolumeSnapshot has another owner, or a claim is being populated from it.
func inUse(snapshot *unstructured.Unstructured, owner types.UID) bool {
	for _, reference := range snapshot.GetOwnerReferences() {
		if reference.UID != owner {
			return true
		}
	}
	for key := range snapshot.GetLabels() {
		if strings.HasPrefix(key, populatorLabelPrefix) {
			return true
		}
	}
	return false
}

// forgetImage takes the name of this run's image off the claim, so that the next run makes another.
func (v *VolSync) forgetImage(ctx context.Context, r *replication) error {
	name := firstText(r.kopia("destinationPVC"), destinationClaim(r))
	claim, err := v.claims.PersistentVolumeClaims(r.GetNamespace()).Get(name)
	if err != nil || claim.Annotations[imageAnnotation] == "" {
		return ignoreNotFound(err)
	}
	body := fmt.Appendf(nil, `{"metadata": {"annotations": {%q: null}}}`, imageAnnotation)
	_, err = v.client.CoreV1().PersistentVolumeClaims(r.GetNamespace()).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	return ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
