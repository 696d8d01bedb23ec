package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// backupLabel is the platform's whole user interface: hourly or daily.
	backupLabel = "backup"
	// clusterLabel stands on the claims of a CloudNativePG Cluster. Source: CNPG pkg/utils.
	clusterLabel = "cnpg.io/cluster"
)

// Objects lists whole kinds: the live cluster or a GitOps tree.
type Objects interface {
	List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error)
}

// Claims reads the PersistentVolumeClaims of a namespace, or of all of them for "". One that can't be
// decoded is a gap.
func Claims(ctx context.Context, objects Objects, namespace string) ([]recovery.Claim, recovery.Gaps, error) {
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	items, gaps, err := objects.List(ctx, gvr, namespace)
	if err != nil {
		return nil, gaps, err
	}
	claims := make([]recovery.Claim, 0, len(items))
	for i := range items {
		claim, err := claimOf(&items[i])
		if err != nil {
			gaps.Add("read PersistentVolumeClaim", err)
			continue
		}
		claims = append(claims, claim)
	}
	return claims, gaps, nil
}

func claimOf(object *unstructured.Unstructured) (recovery.Claim, error) {
	var pvc corev1.PersistentVolumeClaim
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pvc); err != nil {
		return recovery.Claim{}, &recovery.Problem{
			What: fmt.Sprintf("read PersistentVolumeClaim %s/%s", object.GetNamespace(), object.GetName()),
			Why:  err.Error(),
			Next: "correct the manifest",
			Err:  recovery.ErrDamaged,
		}
	}
	return recovery.Claim{
		Namespace:   pvc.Namespace,
		Name:        pvc.Name,
		UID:         string(pvc.UID),
		Phase:       string(pvc.Status.Phase),
		CreatedAt:   pvc.CreationTimestamp.UTC(),
		Labels:      pvc.Labels,
		Backup:      pvc.Labels[backupLabel],
		CNPGCluster: pvc.Labels[clusterLabel],
		Deleting:    pvc.DeletionTimestamp != nil,
	}, nil
}
