// Package live is what a recovery does to and asks of CloudNativePG through the Kubernetes API: it finds
// a Cluster and everything that belongs to it, deletes and creates it, asks its PostgreSQL, and hands it
// back to Git.
//
// It imports kube, cloudnativepg (which knows the manifests) and recovery, and no use case.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	clusterLabel = "cnpg.io/cluster"
	managedBy    = "app.kubernetes.io/managed-by"
	// argoManager is the field manager of Argo CD. Source: argo-cd common/common.go, ArgoCDSSAManager.
	argoManager = "argocd-controller"
	// postgresContainer is the container of an instance Pod. Source: CNPG pkg/specs/pods.go.
	postgresContainer = "postgres"
)

// API is the cluster. Every method reads or changes the server's present state.
type API struct{ Client *kube.Client }

func clusters() schema.GroupVersionResource { return apiv1.SchemeGroupVersion.WithResource("clusters") }
func backups() schema.GroupVersionResource  { return apiv1.SchemeGroupVersion.WithResource("backups") }
func schedules() schema.GroupVersionResource {
	return apiv1.SchemeGroupVersion.WithResource("scheduledbackups")
}
func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

// Find gives the Cluster, nil when there is none.
func (a API) Find(ctx context.Context, namespace, name string) (*recovery.LiveCluster, error) {
	object, err := a.Client.Get(ctx, clusters(), namespace, name)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return describe(object)
}

func describe(object *unstructured.Unstructured) (*recovery.LiveCluster, error) {
	var cluster apiv1.Cluster
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &cluster); err != nil {
		return nil, fmt.Errorf("read Cluster %s/%s: %w", object.GetNamespace(), object.GetName(), errors.Join(recovery.ErrDamaged, err))
	}
	manifest, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode Cluster %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	live := &recovery.LiveCluster{
		Namespace: cluster.Namespace, Name: cluster.Name, UID: string(cluster.UID), PlanID: cloudnativepg.PlanMark(object),
		Deleting: cluster.DeletionTimestamp != nil, Bootstrap: cloudnativepg.Bootstrap(object), Phase: cluster.Status.Phase, PhaseReason: cluster.Status.PhaseReason,
		Ready:   meta.IsStatusConditionTrue(cluster.Status.Conditions, string(apiv1.ConditionClusterReady)),
		Primary: cluster.Status.CurrentPrimary, Archiving: "unknown", StopDelay: time.Duration(cluster.GetMaxStopDelay()) * time.Second,
		Manifest: manifest,
	}
	// Without a known backup section there is no server: that is an answer, not a failure.
	live.WriteServer, _, _ = cloudnativepg.WriteServer(object)
	condition := meta.FindStatusCondition(cluster.Status.Conditions, string(apiv1.ConditionContinuousArchiving))
	if condition != nil && condition.Status != metav1.ConditionUnknown {
		live.Archiving, live.ArchivingWhy = strings.ToLower(string(condition.Status)), condition.Message
	}
	return live, nil
}

// Delete deletes the Cluster in the background, with the UID as precondition unless it is empty. In the
// foreground it would end while a claim is still there: their owner references do not block it.
func (a API) Delete(ctx context.Context, namespace, name, uid string) error {
	return a.Client.Delete(ctx, clusters(), namespace, name, kube.Preconditions{UID: uid}, metav1.DeletePropagationBackground)
}

// Create posts a Cluster and gives its UID.
func (a API) Create(ctx context.Context, manifest json.RawMessage) (string, error) {
	object, err := decode(manifest)
	if err != nil {
		return "", err
	}
	created, err := a.Client.Create(ctx, clusters(), object, kube.WriteOptions{})
	if err != nil {
		return "", err
	}
	return string(created.GetUID()), nil
}

// Admit asks schema and webhooks about a Cluster without creating it. That one of this name exists is no
// objection: it is looked at only after admission.
func (a API) Admit(ctx context.Context, manifest json.RawMessage) error {
	object, err := decode(manifest)
	if err != nil {
		return err
	}
	_, err = a.Client.Create(ctx, clusters(), object, kube.WriteOptions{DryRun: true})
	if errors.Is(err, recovery.ErrExists) {
		return nil
	}
	return err
}

func decode(manifest json.RawMessage) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(manifest); err != nil {
		return nil, fmt.Errorf("read the Cluster's manifest: %w", errors.Join(recovery.ErrDamaged, err))
	}
	return object, nil
}

// SQL runs a query in the Pod, as the superuser over PostgreSQL's own socket, so that no password is
// needed. The rows come unaligned, one a line, "|" between columns.
func (a API) SQL(ctx context.Context, namespace, pod, database, query string) (string, error) {
	out, err := a.Client.Exec(ctx, namespace, pod, postgresContainer, nil,
		"psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", query)
	return strings.TrimSpace(out), err
}
