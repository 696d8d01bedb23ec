package cloudnativepg

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// cleanMetadata takes away what only a server sets, what belongs to the object that was, and what would
// hold a recovery up, and says what an operator may miss.
//
// Argo CD's tracking annotation stays: the Cluster replaces the one that Argo CD tracks, in the same
// Application, under the same name. Without it Argo CD would find a difference that only its own apply
// can mend, and would not delete the Cluster with its Application.
// Source: argo-cd util/argo/resource_tracking.go.
//
// ownerReferences go: an owner of that name may have got another UID meanwhile, and the garbage
// collector would delete the recovered Cluster for it.
func cleanMetadata(rendered *unstructured.Unstructured) []string {
	delete(rendered.Object, "status")
	metadata, ok := rendered.Object["metadata"].(map[string]any)
	if !ok {
		return nil
	}
	var warnings []string
	if len(rendered.GetOwnerReferences()) > 0 {
		warnings = append(warnings, "the ownerReferences are left out: an owner that was made anew meanwhile would have the recovered Cluster deleted")
	}
	for _, field := range []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "generateName",
		"deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences",
	} {
		delete(metadata, field)
	}
	dropFinalizers(rendered)
	dropLabels(rendered, func(key string) bool { return key == PlanKey })
	dropAnnotations(rendered, func(key string) bool {
		return slices.Contains([]string{PlanKey, recovery.DirectoryAnnotation, "kubectl.kubernetes.io/last-applied-configuration"}, key)
	})
	return append(warnings, dropBrakes(rendered)...)
}

// dropFinalizers drops those of a delete in progress, which are never set on a new object.
func dropFinalizers(rendered *unstructured.Unstructured) {
	before := rendered.GetFinalizers()
	if before == nil {
		return
	}
	rest := slices.DeleteFunc(before, func(name string) bool { return name == "foregroundDeletion" || name == "orphan" })
	if len(rest) == 0 {
		unstructured.RemoveNestedField(rendered.Object, "metadata", "finalizers")
		return
	}
	rendered.SetFinalizers(rest)
}

// dropBrakes takes the annotations away with which an operator held the old Cluster back, and the one
// that lets a new Cluster write into a used archive. Source: CNPG pkg/utils/labels_annotations.go.
func dropBrakes(rendered *unstructured.Unstructured) []string {
	var warnings []string
	annotations := rendered.GetAnnotations()
	for _, brake := range []struct{ key, does string }{
		{"cnpg.io/fencedInstances", "would keep PostgreSQL stopped"},
		{"cnpg.io/hibernation", "would keep the Cluster down"},
		{"cnpg.io/reconciliationLoop", "would keep the operator from recovering it"},
		{"cnpg.io/skipEmptyWalArchiveCheck", "would let it write into a used WAL archive"},
	} {
		if value, there := annotations[brake.key]; there && value != "off" && value != "" {
			warnings = append(warnings, fmt.Sprintf("the annotation %s: %s is left out: it %s", brake.key, value, brake.does))
			dropAnnotations(rendered, func(key string) bool { return key == brake.key })
		}
	}
	if annotations["cnpg.io/skipWalArchiving"] == "enabled" {
		warnings = append(warnings, "the annotation cnpg.io/skipWalArchiving stays: nothing that is written after the recovery is archived")
	}
	return warnings
}

// setMark marks the Cluster as the plan's own.
func setMark(rendered *unstructured.Unstructured, planID string) {
	if planID == "" {
		return
	}
	labels, annotations := rendered.GetLabels(), rendered.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[PlanKey], annotations[PlanKey] = planID, planID
	rendered.SetLabels(labels)
	rendered.SetAnnotations(annotations)
}

// setBeside makes a Cluster of its own of it, that stands beside the live one: it writes no backups, no
// Service or Argo CD Application takes it for the other, and it makes no object whose name is fixed.
func setBeside(rendered *unstructured.Unstructured, name string) []string {
	rendered.SetName(name)
	fields := spec(rendered)
	delete(fields, "backup")
	plugins, _ := fields["plugins"].([]any)
	rest := slices.DeleteFunc(plugins, func(plugin any) bool {
		entry, _ := plugin.(map[string]any)
		return entry["name"] == pluginName
	})
	if len(rest) > 0 {
		fields["plugins"] = rest
	} else {
		delete(fields, "plugins")
	}
	dropLabels(rendered, selects)
	dropAnnotations(rendered, func(key string) bool { return selects(key) || key == "cnpg.io/reloadedAt" })
	return append(dropServices(rendered), dropInherited(rendered)...)
}

// selects reports whether a label or annotation says to which application, release or Cluster an object
// belongs. Argo CD, Flux and Helm would delete the copy as something that left Git, and drctl would
// take it for the database itself.
func selects(key string) bool {
	prefix, _, qualified := strings.Cut(key, "/")
	if !qualified {
		return key == "app"
	}
	switch prefix {
	case "argocd.argoproj.io", "app.kubernetes.io", "meta.helm.sh", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io":
		return true
	}
	return false
}

// dropServices leaves out Services whose names are fixed: they would select the copy instead.
func dropServices(rendered *unstructured.Unstructured) []string {
	services := listOfMaps(rendered, "spec", "managed", "services", "additional")
	if len(services) == 0 {
		return nil
	}
	names := make([]string, 0, len(services))
	for _, service := range services {
		name, _, _ := unstructured.NestedString(service, "serviceTemplate", "metadata", "name")
		names = append(names, name)
	}
	unstructured.RemoveNestedField(rendered.Object, "spec", "managed", "services", "additional")
	return []string{fmt.Sprintf("the additional Services %s are left out: they belong to the live Cluster", quoted(names))}
}

// dropInherited leaves out the labels that Pods and Services inherit: other Services may select by them.
func dropInherited(rendered *unstructured.Unstructured) []string {
	labels, there, _ := unstructured.NestedFieldNoCopy(rendered.Object, "spec", "inheritedMetadata", "labels")
	if !there {
		return nil
	}
	unstructured.RemoveNestedField(rendered.Object, "spec", "inheritedMetadata", "labels")
	return []string{fmt.Sprintf("spec.inheritedMetadata.labels %v are left out: Services that select by them would find the copy", labels)}
}

// dropLabels and dropAnnotations keep an object without any free of an empty map.
func dropLabels(object *unstructured.Unstructured, drop func(key string) bool) {
	dropKeys(object, "labels", drop)
}

func dropAnnotations(object *unstructured.Unstructured, drop func(key string) bool) {
	dropKeys(object, "annotations", drop)
}

func dropKeys(object *unstructured.Unstructured, field string, drop func(key string) bool) {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, "metadata", field)
	entries, ok := value.(map[string]any)
	if !ok {
		return
	}
	for key := range entries {
		if drop(key) {
			delete(entries, key)
		}
	}
	if len(entries) == 0 {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
}
