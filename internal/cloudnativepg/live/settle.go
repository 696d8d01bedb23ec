package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func patchOf(operations ...operation) ([]byte, error) {
	patch, err := json.Marshal(operations)
	if err != nil {
		return nil, fmt.Errorf("encode a patch: %w", err)
	}
	return patch, nil
}

func typesUID(uid string) types.UID { return types.UID(uid) }

// Schedules are the ScheduledBackups of a Cluster.
func (a API) Schedules(ctx context.Context, namespace, name string) ([]recovery.ScheduledBackup, error) {
	objects, err := a.Client.ListWhere(ctx, schedules(), namespace, "")
	if err != nil {
		return nil, err
	}
	found := []recovery.ScheduledBackup{}
	for i := range objects {
		var schedule apiv1.ScheduledBackup
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, &schedule); err != nil {
			return nil, fmt.Errorf("read ScheduledBackup %s/%s: %w", namespace, objects[i].GetName(), errors.Join(recovery.ErrDamaged, err))
		}
		if schedule.Spec.Cluster.Name == name {
			found = append(found, recovery.ScheduledBackup{Name: schedule.Name, UID: string(schedule.UID), Suspended: schedule.IsSuspended()})
		}
	}
	return found, nil
}

// Suspend stops a schedule, or lets it run again.
func (a API) Suspend(ctx context.Context, namespace string, schedule recovery.ScheduledBackup, suspended bool) error {
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"suspend": suspended}})
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	_, err = a.Client.PatchMerge(ctx, schedules(), namespace, schedule.Name, body, kube.WriteOptions{})
	return err
}

// BackupObjects are the Backups that name a Cluster.
func (a API) BackupObjects(ctx context.Context, namespace, name string) ([]recovery.BackupObject, error) {
	objects, err := a.Client.ListWhere(ctx, backups(), namespace, "")
	if err != nil {
		return nil, err
	}
	var found []recovery.BackupObject
	for i := range objects {
		var backup apiv1.Backup
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, &backup); err != nil {
			return nil, fmt.Errorf("read Backup %s/%s: %w", namespace, objects[i].GetName(), errors.Join(recovery.ErrDamaged, err))
		}
		if backup.Spec.Cluster.Name == name {
			found = append(found, recovery.BackupObject{
				Name: backup.Name, Phase: string(backup.Status.Phase), Error: backup.Status.Error, Owned: ownerUID(&objects[i], name) != "",
			})
		}
	}
	return found, nil
}

// RequestBackup creates a Backup, by the method that the Cluster's shape asks for, unless it is there.
func (a API) RequestBackup(ctx context.Context, namespace, cluster, name, planID string) error {
	object, err := a.Client.Get(ctx, clusters(), namespace, cluster)
	if err != nil {
		return err
	}
	_, plugin, err := cloudnativepg.WriteServer(object)
	if err != nil {
		return err
	}
	spec := map[string]any{"cluster": map[string]any{"name": cluster}, "method": "barmanObjectStore"}
	if plugin {
		spec["method"] = "plugin"
		spec["pluginConfiguration"] = map[string]any{"name": "barman-cloud.cloudnative-pg.io"}
	}
	backup := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiv1.SchemeGroupVersion.String(), "kind": "Backup", "spec": spec,
		"metadata": map[string]any{
			"namespace": namespace, "name": name, "labels": map[string]any{cloudnativepg.PlanKey: planID, managedBy: "drctl"},
			// It goes with its Cluster: one that survived would run against the next.
			"ownerReferences": []any{map[string]any{
				"apiVersion": apiv1.SchemeGroupVersion.String(), "kind": "Cluster", "name": cluster, "uid": string(object.GetUID()),
			}},
		},
	}}
	_, err = a.Client.Create(ctx, backups(), backup, kube.WriteOptions{})
	if errors.Is(err, recovery.ErrExists) {
		return nil
	}
	return err
}

// logLines is how much of a recovery Job's log is looked at.
const logLines = 200

// RecoveryLog is the end of the newest recovery Pod's log; empty before there is one.
func (a API) RecoveryLog(ctx context.Context, namespace, name string) (string, error) {
	pods, err := a.Client.ListWhere(ctx, core("pods"), namespace, clusterLabel+"="+name)
	if err != nil {
		return "", err
	}
	pods = slices.DeleteFunc(pods, func(pod unstructured.Unstructured) bool {
		phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
		return pod.GetLabels()["cnpg.io/jobRole"] == "" || phase == "Pending" || phase == ""
	})
	if len(pods) == 0 {
		return "", nil
	}
	newest := slices.MaxFunc(pods, func(x, y unstructured.Unstructured) int {
		return x.GetCreationTimestamp().Compare(y.GetCreationTimestamp().Time)
	})
	containers, _, _ := unstructured.NestedSlice(newest.Object, "spec", "containers")
	container := ""
	if len(containers) > 0 {
		if fields, ok := containers[0].(map[string]any); ok {
			container, _ = fields["name"].(string)
		}
	}
	return a.Client.Logs(ctx, namespace, newest.GetName(), container, logLines)
}

// HandBack gives the Cluster Git's bootstrap and external clusters; false when it had them.
func (a API) HandBack(ctx context.Context, git json.RawMessage) (bool, error) {
	manifest, live, err := a.both(ctx, git)
	if err != nil {
		return false, err
	}
	patch, needed, err := cloudnativepg.HandBackPatch(live, manifest)
	if err != nil || !needed {
		return false, err
	}
	if _, err := a.Client.PatchJSON(ctx, clusters(), live.GetNamespace(), live.GetName(), patch, kube.WriteOptions{DryRun: true}); err != nil {
		return false, err
	}
	_, err = a.Client.PatchJSON(ctx, clusters(), live.GetNamespace(), live.GetName(), patch, kube.WriteOptions{})
	return err == nil, err
}

// HandedBack reports whether the live Cluster has no recovery any more.
func (a API) HandedBack(ctx context.Context, git json.RawMessage) (bool, error) {
	manifest, live, err := a.both(ctx, git)
	if err != nil {
		return false, err
	}
	_, needed, err := cloudnativepg.HandBackPatch(live, manifest)
	return !needed, err
}

func (a API) both(ctx context.Context, git json.RawMessage) (manifest, live *unstructured.Unstructured, err error) {
	if manifest, err = decode(git); err != nil {
		return nil, nil, err
	}
	live, err = a.Client.Get(ctx, clusters(), manifest.GetNamespace(), manifest.GetName())
	return manifest, live, err
}

// AdmitAsGitOps is a dry-run of Argo CD's own request: a forced server-side apply by its field manager.
// Source: gitops-engine pkg/utils/kube/resource_ops.go.
func (a API) AdmitAsGitOps(ctx context.Context, git json.RawMessage) error {
	manifest, err := decode(git)
	if err != nil {
		return err
	}
	_, err = a.Client.Apply(ctx, clusters(), manifest, kube.WriteOptions{DryRun: true, Force: true, FieldManager: argoManager})
	return err
}

// ReleaseFields drops drctl's entries of managedFields.
func (a API) ReleaseFields(ctx context.Context, namespace, name string) error {
	live, err := a.Client.Get(ctx, clusters(), namespace, name)
	if err != nil {
		return err
	}
	patch, needed, err := cloudnativepg.DropManagerPatch(live, kube.FieldManager)
	if err != nil || !needed {
		return err
	}
	_, err = a.Client.PatchJSON(ctx, clusters(), namespace, name, patch, kube.WriteOptions{})
	return err
}

// FieldsReleased reports whether drctl owns no field of the Cluster.
func (a API) FieldsReleased(ctx context.Context, namespace, name string) (bool, error) {
	live, err := a.Client.Get(ctx, clusters(), namespace, name)
	if err != nil {
		return false, err
	}
	_, needed, err := cloudnativepg.DropManagerPatch(live, kube.FieldManager)
	return !needed, err
}

// Operator is the image of CloudNativePG's operator, empty when its Deployment was not found or may not
// be read: then nothing is known of its version.
func (a API) Operator(ctx context.Context) (string, error) {
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	found, err := a.Client.ListWhere(ctx, deployments, "", "app.kubernetes.io/name=cloudnative-pg")
	if errors.Is(err, recovery.ErrDenied) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for i := range found {
		containers, _, _ := unstructured.NestedSlice(found[i].Object, "spec", "template", "spec", "containers")
		for _, container := range containers {
			fields, _ := container.(map[string]any)
			if image, _ := fields["image"].(string); strings.Contains(image, "cloudnative-pg") {
				return image, nil
			}
		}
	}
	return "", nil
}

// StorageClasses are the names of those there are.
func (a API) StorageClasses(ctx context.Context) ([]string, error) {
	classes, err := a.Client.ListWhere(ctx, schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, "", "")
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(classes))
	for i := range classes {
		names = append(names, classes[i].GetName())
	}
	return names, nil
}
