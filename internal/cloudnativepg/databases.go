// Package cloudnativepg reads CloudNativePG Clusters as far as recovery is concerned: the server and S3
// path they write backups to, the servers they can recover from, and what is wrong with either. It makes
// the Cluster that recovers, the patches that hand it back to Git, and knows what a recovery's log means.
// It knows both shapes, the in-tree barmanObjectStore and the barman-cloud plugin with its ObjectStore.
//
// It must not import other packages of drctl than recovery. The objects come from whoever can list
// them: a live cluster or a GitOps tree.
package cloudnativepg

import (
	"context"
	"errors"
	"fmt"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// Objects lists whole kinds: the live cluster or a GitOps tree.
type Objects interface {
	List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error)
}

// key names an object within its kind.
type key struct{ namespace, name string }

// surroundings are the objects that Clusters refer to or are referred to by.
type surroundings struct {
	stores map[key]*objectStore
	// storesKnown is false when the ObjectStores could not all be read.
	storesKnown bool
	backups     map[key]*apiv1.Backup
	schedules   map[key][]apiv1.ScheduledBackup // by Cluster
	// schedulesKnown is false when the ScheduledBackups could not all be read.
	schedulesKnown bool
}

// Databases reads the Clusters of a namespace, or of all of them for "". A Cluster that can't be decoded
// is a gap, and so is a kind around it that can't be listed. recovery.ErrNotFound: the cluster does not
// know CloudNativePG.
func Databases(ctx context.Context, objects Objects, namespace string) ([]recovery.Database, recovery.Gaps, error) {
	clusters, gaps, err := list[apiv1.Cluster](ctx, objects, apiv1.SchemeGroupVersion.WithResource("clusters"), namespace)
	if err != nil {
		return nil, gaps, err
	}
	databases := make([]recovery.Database, 0, len(clusters))
	if len(clusters) == 0 {
		return databases, gaps, nil
	}
	around, more, err := readSurroundings(ctx, objects, namespace, clusters)
	gaps = append(gaps, more...)
	if err != nil {
		return nil, gaps, err
	}
	for i := range clusters {
		databases = append(databases, around.database(&clusters[i]))
	}
	return databases, gaps, nil
}

// readSurroundings lists ScheduledBackups always, ObjectStores and Backups only where a Cluster refers
// to one. Only a cancellation is an error; all else is a gap.
func readSurroundings(ctx context.Context, objects Objects, namespace string, clusters []apiv1.Cluster) (*surroundings, recovery.Gaps, error) {
	around := &surroundings{stores: map[key]*objectStore{}, backups: map[key]*apiv1.Backup{}, schedules: map[key][]apiv1.ScheduledBackup{}}
	usesPlugin, usesBackup := false, false
	for i := range clusters {
		usesPlugin = usesPlugin || refersToObjectStore(&clusters[i])
		usesBackup = usesBackup || recoveryBackup(&clusters[i]) != ""
	}

	schedules, gaps, err := list[apiv1.ScheduledBackup](ctx, objects, apiv1.SchemeGroupVersion.WithResource("scheduledbackups"), namespace)
	around.schedulesKnown = err == nil && len(gaps) == 0
	addUnlessMissing(&gaps, err)
	for _, schedule := range schedules {
		of := key{schedule.Namespace, schedule.Spec.Cluster.Name}
		around.schedules[of] = append(around.schedules[of], schedule)
	}
	if usesPlugin {
		stores, more, err := list[objectStore](ctx, objects, objectStoresResource(), namespace)
		around.storesKnown = len(more) == 0 && (err == nil || errors.Is(err, recovery.ErrNotFound))
		gaps = append(gaps, more...)
		addUnlessMissing(&gaps, err)
		for i := range stores {
			around.stores[key{stores[i].Namespace, stores[i].Name}] = &stores[i]
		}
	}
	if usesBackup {
		backups, more, err := list[apiv1.Backup](ctx, objects, apiv1.SchemeGroupVersion.WithResource("backups"), namespace)
		gaps = append(gaps, more...)
		addUnlessMissing(&gaps, err)
		for i := range backups {
			around.backups[key{backups[i].Namespace, backups[i].Name}] = &backups[i]
		}
	}
	return around, gaps, ctx.Err()
}

// addUnlessMissing records an error of a list, but for a kind that the cluster does not know: then
// there is nothing of it, which is certain.
func addUnlessMissing(gaps *recovery.Gaps, err error) {
	if !errors.Is(err, recovery.ErrNotFound) {
		gaps.Add("list the objects around the Clusters", err)
	}
}

// list reads and decodes one kind.
func list[T any](ctx context.Context, objects Objects, gvr schema.GroupVersionResource, namespace string) ([]T, recovery.Gaps, error) {
	items, gaps, err := objects.List(ctx, gvr, namespace)
	if err != nil {
		return nil, gaps, err
	}
	decoded := make([]T, 0, len(items))
	for i := range items {
		var object T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(items[i].Object, &object); err != nil {
			gaps.Add("", &recovery.Problem{
				What: fmt.Sprintf("read %s %s/%s", items[i].GetKind(), items[i].GetNamespace(), items[i].GetName()),
				Why:  err.Error(),
				Next: "correct the manifest",
				Err:  recovery.ErrDamaged,
			})
			continue
		}
		decoded = append(decoded, object)
	}
	return decoded, gaps, nil
}

// database joins a Cluster with what is around it.
func (s *surroundings) database(cluster *apiv1.Cluster) recovery.Database {
	database := recovery.Database{
		Namespace:      cluster.Namespace,
		Name:           cluster.Name,
		UID:            string(cluster.UID),
		Labels:         cluster.Labels,
		Directory:      cluster.Annotations[recovery.DirectoryAnnotation],
		Phase:          cluster.Status.Phase,
		Instances:      max(cluster.Spec.Instances, 1), // the CRD's default
		ReadyInstances: -1,
		Archiving:      archiving(cluster.Status.Conditions),
		CreatedAt:      cluster.CreationTimestamp.UTC(),
		Warnings:       []string{},
	}
	if database.UID != "" {
		database.ReadyInstances = cluster.Status.ReadyInstances
	}
	s.addWriteSide(&database, cluster)
	s.addRecoverySources(&database, cluster)
	if database.ServerName != "" && s.schedulesKnown {
		database.Warnings = append(database.Warnings, scheduleWarnings(s.schedules[key{cluster.Namespace, cluster.Name}])...)
	}
	return database
}

// archiving is the ContinuousArchiving condition in recovery's words.
func archiving(conditions []metav1.Condition) string {
	condition := meta.FindStatusCondition(conditions, string(apiv1.ConditionContinuousArchiving))
	switch {
	case condition != nil && condition.Status == metav1.ConditionTrue:
		return "true"
	case condition != nil && condition.Status == metav1.ConditionFalse:
		return "false"
	default:
		return "unknown"
	}
}
