package restore

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// claimManifest makes the manifest of the claim that is created: the old one's own, populated from
// drctl's destination and marked with the plan. A copy beside carries neither the backup label, which would
// have it backed up under its own name, nor what makes Argo CD take it for its own and prune it.
func claimManifest(from json.RawMessage, planID, destination, newName string) (json.RawMessage, error) {
	var object map[string]any
	if err := json.Unmarshal(from, &object); err != nil {
		return nil, fmt.Errorf("read the claim's manifest: %w", err)
	}
	metadata, _ := object["metadata"].(map[string]any)
	spec, _ := object["spec"].(map[string]any)
	if metadata == nil || spec == nil {
		return nil, &recovery.Problem{What: "read the claim's manifest", Why: "it has no metadata or no spec", Next: "correct it", Err: recovery.ErrDamaged}
	}
	labels, annotations := texts(metadata["labels"]), texts(metadata["annotations"])
	maps.DeleteFunc(annotations, func(key, _ string) bool { return bindingAnnotation(key) })
	name := metadata["name"]
	if newName != "" {
		name = newName
		delete(labels, "backup")
		delete(labels, "app.kubernetes.io/instance")
		delete(annotations, "argocd.argoproj.io/tracking-id")
	}
	annotations[recovery.PlanMark] = planID
	for _, field := range []string{"volumeName", "dataSource", "dataSourceRef"} {
		delete(spec, field)
	}
	spec["dataSourceRef"] = map[string]any{"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": destination}
	fresh := map[string]any{"namespace": metadata["namespace"], "name": name, "annotations": annotations}
	if len(labels) > 0 {
		fresh["labels"] = labels
	}
	return json.Marshal(map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": fresh, "spec": spec})
}

// bindingAnnotation: what controllers wrote on the old claim about its volume, and kubectl about its own
// last apply.
func bindingAnnotation(key string) bool {
	return strings.HasPrefix(key, "pv.kubernetes.io/") || strings.HasPrefix(key, "volume.kubernetes.io/") ||
		strings.HasPrefix(key, "volume.beta.kubernetes.io/") || key == "kubectl.kubernetes.io/last-applied-configuration" || key == recovery.PlanMark
}

func texts(value any) map[string]string {
	all := map[string]string{}
	entries, _ := value.(map[string]any)
	for key, entry := range entries {
		if text, ok := entry.(string); ok {
			all[key] = text
		}
	}
	return all
}

// describedClaim is a claim of which nothing is left but its snapshots, as the flags describe it.
func describedClaim(o Options) (*recovery.LiveClaim, error) {
	if o.SizeBytes == 0 {
		return nil, &recovery.Problem{
			What: "find the manifest of claim " + o.Namespace + "/" + o.Name, Why: "neither the API nor the GitOps tree has it",
			Next: "give --gitops DIR, or describe it: --size 10Gi --storage-class longhorn", Err: recovery.ErrNotFound,
		}
	}
	mode := o.AccessMode
	if mode == "" {
		mode = "ReadWriteOnce"
	}
	spec := map[string]any{
		"accessModes": []string{mode},
		"resources":   map[string]any{"requests": map[string]any{"storage": fmt.Sprint(o.SizeBytes)}},
	}
	if o.StorageClass != "" {
		spec["storageClassName"] = o.StorageClass
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"namespace": o.Namespace, "name": o.Name}, "spec": spec,
	})
	return &recovery.LiveClaim{
		Namespace: o.Namespace, Name: o.Name, StorageClass: o.StorageClass, AccessModes: []string{mode}, RequestBytes: o.SizeBytes, Manifest: manifest,
	}, err
}
