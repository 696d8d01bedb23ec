package storage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// backupLabel is the platform's whole user interface: hourly or daily.
	backupLabel = "backup"
	// clusterLabel stands on the claims of a CloudNativePG Cluster. Source: CNPG pkg/utils.
	clusterLabel = "cnpg.io/cluster"
	// waveAnnotation is Argo CD's sync wave.
	waveAnnotation = "argocd.argoproj.io/sync-wave"
	// longestPrefix leaves room for what is appended to a name, suffixLength letters that nobody else has.
	longestPrefix = 200
	suffixLength  = 8
)

// Claim is the server's present state, nil when there is none.
func (a *API) Claim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error) {
	object, err := a.client.Get(ctx, claims(), namespace, name)
	if err != nil {
		return nil, absent(err)
	}
	return ClaimOf(object)
}

// LookClaim is a look, nil when there is none.
func (a *API) LookClaim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error) {
	object, err := a.looks.Get(ctx, claims(), namespace, name)
	if err != nil || object == nil {
		return nil, err
	}
	return ClaimOf(object)
}

// Claims are those of a namespace, or of all that are watched for "": a look.
func (a *API) Claims(ctx context.Context, namespace string) ([]recovery.LiveClaim, error) {
	objects, err := a.looks.List(ctx, claims(), namespace)
	if err != nil {
		return nil, err
	}
	found := make([]recovery.LiveClaim, 0, len(objects))
	for _, object := range objects {
		claim, err := ClaimOf(object)
		if err != nil {
			return nil, err
		}
		found = append(found, *claim)
	}
	return found, nil
}

// ClaimOf reads a claim as it stands in the cluster or in a GitOps tree.
func ClaimOf(object *unstructured.Unstructured) (*recovery.LiveClaim, error) {
	var pvc corev1.PersistentVolumeClaim
	if err := read(object, &pvc); err != nil {
		return nil, err
	}
	manifest, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode claim %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	request := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	claim := &recovery.LiveClaim{
		Namespace: pvc.Namespace, Name: pvc.Name, UID: string(pvc.UID), PlanID: pvc.Annotations[recovery.PlanMark],
		Deleting: pvc.DeletionTimestamp != nil, Holding: pvc.Finalizers, Phase: string(pvc.Status.Phase),
		Backup: pvc.Labels[backupLabel], CNPGCluster: pvc.Labels[clusterLabel], Volume: pvc.Spec.VolumeName,
		RequestBytes: request.Value(), Manifest: manifest,
	}
	if pvc.Spec.StorageClassName != nil {
		claim.StorageClass = *pvc.Spec.StorageClassName
	}
	for _, mode := range pvc.Spec.AccessModes {
		claim.AccessModes = append(claim.AccessModes, string(mode))
	}
	if from := pvc.Spec.DataSourceRef; from != nil && from.Kind == "ReplicationDestination" && from.APIGroup != nil && *from.APIGroup == "volsync.backube" {
		claim.Source = from.Name
	}
	// Argo CD takes what is no number for 0.
	claim.Wave, _ = strconv.Atoi(pvc.Annotations[waveAnnotation])
	return claim, nil
}

// DeleteClaim deletes in the background, with the UID as precondition unless it is empty. One that is gone
// is recovery.ErrNotFound, another one recovery.ErrConflict.
func (a *API) DeleteClaim(ctx context.Context, namespace, name, uid string) error {
	return a.client.Delete(ctx, claims(), namespace, name, kube.Preconditions{UID: uid}, metav1.DeletePropagationBackground)
}

// CreateClaim posts the manifest and gives the new UID; recovery.ErrExists when there is one.
func (a *API) CreateClaim(ctx context.Context, manifest json.RawMessage) (string, error) {
	object, err := decode(manifest)
	if err != nil {
		return "", err
	}
	created, err := a.client.Create(ctx, claims(), object, kube.WriteOptions{})
	if err != nil {
		return "", err
	}
	return string(created.GetUID()), nil
}

// AdmitClaim asks schema, quotas and webhooks about the claim without creating it: under another name, since
// the claim itself may still be there, which would end the request before anybody is asked. The name is not left
// to the API server: policies ask for it, and it would come behind them.
func (a *API) AdmitClaim(ctx context.Context, manifest json.RawMessage) error {
	object, err := decode(manifest)
	if err != nil {
		return err
	}
	prefix := object.GetName()
	object.SetName(prefix[:min(len(prefix), longestPrefix)] + "-" + strings.ToLower(rand.Text()[:suffixLength]))
	_, err = a.client.Create(ctx, claims(), object, kube.WriteOptions{DryRun: true})
	var problem *recovery.Problem
	if errors.As(err, &problem) {
		named := *problem
		named.What = "ask whether claim " + object.GetNamespace() + "/" + prefix + " would be admitted" // and not that other name
		return &named
	}
	return err
}

func decode(manifest json.RawMessage) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(manifest); err != nil {
		return nil, fmt.Errorf("read the claim's manifest: %w", errors.Join(recovery.ErrDamaged, err))
	}
	return object, nil
}

// ReleaseClaim takes the plan's mark off the claim, and drctl out of the owners of its fields once somebody
// else has applied it: without any owner of its spec the next apply would take it for one that was never
// applied. Another claim by now is recovery.ErrConflict, and so is one that changed in between.
func (a *API) ReleaseClaim(ctx context.Context, namespace, name, uid, planID string) error {
	live, err := a.client.Get(ctx, claims(), namespace, name)
	if err != nil {
		return err
	}
	if string(live.GetUID()) != uid {
		return foreign("release", live, planID)
	}
	operations := []operation{{"test", "/metadata/uid", uid}, {"test", "/metadata/resourceVersion", live.GetResourceVersion()}}
	before := len(operations)
	escaped := strings.ReplaceAll(recovery.PlanMark, "/", "~1")
	if live.GetAnnotations()[recovery.PlanMark] == planID {
		operations = append(operations, operation{Op: "remove", Path: "/metadata/annotations/" + escaped})
	}
	if live.GetLabels()[recovery.PlanMark] == planID {
		operations = append(operations, operation{Op: "remove", Path: "/metadata/labels/" + escaped})
	}
	operations = append(operations, disown(live)...)
	if len(operations) == before {
		return nil
	}
	patch, err := patchOf(operations...)
	if err != nil {
		return err
	}
	_, err = a.client.PatchJSON(ctx, claims(), namespace, name, patch, kube.WriteOptions{})
	return err
}

// disown removes drctl's entries of managedFields, from the end so that the places of the others stay.
func disown(live *unstructured.Unstructured) []operation {
	entries := live.GetManagedFields()
	var operations []operation
	othersOwnSpec := false
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Manager != kube.FieldManager {
			othersOwnSpec = othersOwnSpec || (entries[i].Subresource == "" && ownsSpec(entries[i].FieldsV1))
			continue
		}
		path := fmt.Sprintf("/metadata/managedFields/%d", i)
		operations = append(operations, operation{"test", path + "/manager", kube.FieldManager}, operation{Op: "remove", Path: path})
	}
	if !othersOwnSpec {
		return nil
	}
	return operations
}

// ownsSpec reports whether the fields of a manager's entry include any of spec.
func ownsSpec(fields *metav1.FieldsV1) bool {
	var owned map[string]json.RawMessage
	if fields == nil || json.Unmarshal(fields.GetRawBytes(), &owned) != nil {
		return false
	}
	_, there := owned["f:spec"]
	return there
}
