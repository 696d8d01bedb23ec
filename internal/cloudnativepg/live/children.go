package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// belongs reports whether an object is named for, labelled for or owned by a Cluster of that name. The
// operator matches by the owner's name and not by its UID, and names children after the Cluster.
// Source: CNPG internal/controller/cluster_controller.go.
func belongs(object *unstructured.Unstructured, cluster string) bool {
	if object.GetLabels()[clusterLabel] == cluster || ownerUID(object, cluster) != "" {
		return true
	}
	rest, named := strings.CutPrefix(object.GetName(), cluster+"-")
	return named && isSerial(rest)
}

// isSerial holds for what the operator puts behind a Cluster's name: a number, perhaps with -wal, -tbs-…
// or the kind of a Job. Another Cluster's name may begin with this one's: immich-database-copy-1.
func isSerial(rest string) bool {
	digits := strings.TrimLeft(rest, "0123456789")
	return len(digits) < len(rest) && (digits == "" || digits[0] == '-')
}

// ownerUID is the UID of the Cluster of that name that owns the object, empty for none.
func ownerUID(object *unstructured.Unstructured, cluster string) string {
	for _, owner := range object.GetOwnerReferences() {
		if owner.Kind == "Cluster" && owner.Name == cluster && strings.HasPrefix(owner.APIVersion, clusters().Group+"/") {
			return string(owner.UID)
		}
	}
	return ""
}

// Volumes are the claims of a Cluster with the volumes below them.
func (a API) Volumes(ctx context.Context, namespace, name string) ([]recovery.Volume, error) {
	claims, err := a.Client.ListWhere(ctx, core("persistentvolumeclaims"), namespace, "")
	if err != nil {
		return nil, err
	}
	volumes := []recovery.Volume{}
	for i := range claims {
		if !belongs(&claims[i], name) {
			continue
		}
		volume, err := a.volume(ctx, &claims[i], name)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, volume)
	}
	return volumes, nil
}

func (a API) volume(ctx context.Context, object *unstructured.Unstructured, cluster string) (recovery.Volume, error) {
	var claim corev1.PersistentVolumeClaim
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &claim); err != nil {
		return recovery.Volume{}, fmt.Errorf("read claim %s/%s: %w", object.GetNamespace(), object.GetName(), errors.Join(recovery.ErrDamaged, err))
	}
	volume := recovery.Volume{Claim: claim.Name, ClaimUID: string(claim.UID), OwnerUID: ownerUID(object, cluster), Name: claim.Spec.VolumeName}
	if volume.Name == "" {
		return volume, nil
	}
	found, err := a.Client.Get(ctx, core("persistentvolumes"), "", volume.Name)
	if err != nil {
		return volume, err
	}
	var pv corev1.PersistentVolume
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &pv); err != nil {
		return volume, fmt.Errorf("read volume %s: %w", volume.Name, errors.Join(recovery.ErrDamaged, err))
	}
	size := pv.Spec.Capacity[corev1.ResourceStorage]
	volume.ReclaimPolicy, volume.SizeBytes, volume.StorageClass = string(pv.Spec.PersistentVolumeReclaimPolicy), size.Value(), pv.Spec.StorageClassName
	for _, mode := range pv.Spec.AccessModes {
		volume.AccessModes = append(volume.AccessModes, string(mode))
	}
	return volume, nil
}

// SetReclaimPolicy sets a volume's policy while it is Bound to the claim of that UID. A Released volume
// that is patched to Delete is gone within seconds, so the claim is tested in the same request.
func (a API) SetReclaimPolicy(ctx context.Context, volume, claimUID, policy string) error {
	found, err := a.Client.Get(ctx, core("persistentvolumes"), "", volume)
	if err != nil {
		return err
	}
	phase, _, _ := unstructured.NestedString(found.Object, "status", "phase")
	if phase != string(corev1.VolumeBound) {
		return &recovery.Problem{
			What: "set the reclaim policy of volume " + volume, Why: "it is " + phase + ", not Bound", Next: "leave it as it is", Err: recovery.ErrConflict,
		}
	}
	patch, err := patchOf(
		operation{"test", "/spec/claimRef/uid", claimUID}, operation{"test", "/status/phase", string(corev1.VolumeBound)},
		operation{"replace", "/spec/persistentVolumeReclaimPolicy", policy})
	if err != nil {
		return err
	}
	_, err = a.Client.PatchJSON(ctx, core("persistentvolumes"), "", volume, patch, kube.WriteOptions{})
	return err
}

// Leftovers are Pods, Jobs, claims and Services of a Cluster's name, each with what holds it. The operator
// adopts a claim, and refuses to go on over a Service of its own that no Cluster owns any more.
// Source: CNPG internal/controller/cluster_create.go.
func (a API) Leftovers(ctx context.Context, namespace, name string) ([]recovery.Leftover, error) {
	var left []recovery.Leftover
	for _, kind := range []struct {
		gvr  schema.GroupVersionResource
		kind string
	}{
		{core("pods"), "Pod"}, {schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, "Job"},
		{core("persistentvolumeclaims"), "PersistentVolumeClaim"}, {core("services"), "Service"},
	} {
		objects, err := a.Client.ListWhere(ctx, kind.gvr, namespace, "")
		if err != nil {
			return nil, err
		}
		for i := range objects {
			if belongs(&objects[i], name) && (kind.kind != "Service" || ownService(objects[i].GetName(), name)) {
				left = append(left, recovery.Leftover{
					Kind: kind.kind, Namespace: namespace, Name: objects[i].GetName(), UID: string(objects[i].GetUID()), Why: holds(&objects[i]),
				})
			}
		}
	}
	return left, nil
}

// ownService: the operator makes three Services by itself. Others that carry its label are somebody's own,
// and stay.
func ownService(service, cluster string) bool {
	return slices.Contains([]string{cluster + "-rw", cluster + "-ro", cluster + "-r"}, service)
}

// holds says what an object that ought to be gone waits for.
func holds(object *unstructured.Unstructured) string {
	if object.GetDeletionTimestamp() == nil {
		return "not being deleted"
	}
	var parts []string
	if finalizers := object.GetFinalizers(); len(finalizers) > 0 {
		parts = append(parts, "finalizers "+strings.Join(finalizers, ", "))
	}
	if node, _, _ := unstructured.NestedString(object.Object, "spec", "nodeName"); node != "" {
		parts = append(parts, "stopping on node "+node+" since "+object.GetDeletionTimestamp().UTC().Format("15:04:05Z"))
	}
	return strings.Join(parts, "; ")
}

// passwordSecrets are the generated ones that hold passwords. The certificates are made anew without
// anybody noticing.
func passwordSecrets(cluster string) []string {
	return []string{cluster + "-app", cluster + "-superuser"}
}

// OwnedSecrets are the Secrets with passwords that go with the Cluster of that UID.
func (a API) OwnedSecrets(ctx context.Context, namespace, name, clusterUID string) ([]recovery.OwnedSecret, error) {
	var owned []recovery.OwnedSecret
	for _, secret := range passwordSecrets(name) {
		object, err := a.Client.Get(ctx, core("secrets"), namespace, secret)
		if errors.Is(err, recovery.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ownerUID(object, name) == clusterUID && clusterUID != "" {
			owned = append(owned, recovery.OwnedSecret{Name: secret, UID: string(object.GetUID())})
		}
	}
	return owned, nil
}

// DisownSecret drops the Cluster's owner reference, so that the Secret outlives it.
func (a API) DisownSecret(ctx context.Context, namespace string, secret recovery.OwnedSecret, clusterUID string) error {
	return a.changeOwners(ctx, namespace, secret, func(owners []metav1.OwnerReference) []metav1.OwnerReference {
		return slices.DeleteFunc(owners, func(owner metav1.OwnerReference) bool { return string(owner.UID) == clusterUID })
	})
}

// OwnSecret puts the Cluster's owner reference back.
func (a API) OwnSecret(ctx context.Context, namespace string, secret recovery.OwnedSecret, clusterName, clusterUID string) error {
	return a.changeOwners(ctx, namespace, secret, func(owners []metav1.OwnerReference) []metav1.OwnerReference {
		if slices.ContainsFunc(owners, func(owner metav1.OwnerReference) bool { return string(owner.UID) == clusterUID }) {
			return owners
		}
		controller := true
		owner := metav1.OwnerReference{APIVersion: clusters().GroupVersion().String(), Kind: "Cluster", Name: clusterName, Controller: &controller}
		owner.UID = typesUID(clusterUID)
		return append(owners, owner)
	})
}

func (a API) changeOwners(ctx context.Context, namespace string, secret recovery.OwnedSecret, change func([]metav1.OwnerReference) []metav1.OwnerReference) error {
	object, err := a.Client.Get(ctx, core("secrets"), namespace, secret.Name)
	if err != nil {
		return err
	}
	operations := []operation{{"test", "/metadata/uid", secret.UID}}
	if had, found, _ := unstructured.NestedFieldNoCopy(object.Object, "metadata", "ownerReferences"); found {
		operations = append(operations, operation{"test", "/metadata/ownerReferences", had})
	}
	owners := change(slices.Clone(object.GetOwnerReferences()))
	patch, err := patchOf(append(operations, operation{"add", "/metadata/ownerReferences", owners})...)
	if err != nil {
		return err
	}
	_, err = a.Client.PatchJSON(ctx, core("secrets"), namespace, secret.Name, patch, kube.WriteOptions{})
	return err
}
