package gitops

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

// podSpecOf is the specification of the Pods that an object makes, nil when it makes none. What can't be decoded is an
// error: its Secrets would be missed.
func podSpecOf(object *unstructured.Unstructured) (*corev1.PodSpec, error) {
	path := []string{"spec", "template", "spec"}
	switch group, kind := object.GroupVersionKind().Group, object.GetKind(); {
	case group == "" && kind == "Pod":
		path = []string{"spec"}
	case group == "batch" && kind == "CronJob":
		path = []string{"spec", "jobTemplate", "spec", "template", "spec"}
	case group == "apps", group == "batch" && kind == "Job", group == "" && kind == "ReplicationController", group == "argoproj.io" && kind == "Rollout":
	default:
		return nil, nil
	}
	content, found, err := unstructured.NestedMap(object.Object, path...)
	if err == nil && !found {
		return nil, nil
	}
	var spec corev1.PodSpec
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(content, &spec)
	}
	if err != nil {
		return nil, &recovery.Problem{
			What: "read the Pod template of " + title(object), Why: err.Error(), Next: "correct the manifest; which Secrets it needs is not known", Err: recovery.ErrDamaged,
		}
	}
	return &spec, nil
}

// podReferences are the Secrets that Pods of a specification need.
func podReferences(object *unstructured.Unstructured, spec *corev1.PodSpec) []reference {
	var found []reference
	add := func(name string, optional *bool, keys ...string) {
		if name != "" {
			found = append(found, reference{object.GetNamespace(), name, keys, title(object), optional != nil && *optional})
		}
	}
	visitContainers(spec, func(container *corev1.Container) {
		for _, from := range container.EnvFrom {
			if from.SecretRef != nil {
				add(from.SecretRef.Name, from.SecretRef.Optional)
			}
		}
		for _, variable := range container.Env {
			if from := variable.ValueFrom; from != nil && from.SecretKeyRef != nil {
				add(from.SecretKeyRef.Name, from.SecretKeyRef.Optional, from.SecretKeyRef.Key)
			}
		}
	})
	for _, secret := range spec.ImagePullSecrets {
		add(secret.Name, nil)
	}
	for i := range spec.Volumes {
		volumeReferences(&spec.Volumes[i], add)
	}
	return found
}

func visitContainers(spec *corev1.PodSpec, visit func(container *corev1.Container)) {
	for i := range spec.InitContainers {
		visit(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		visit(&spec.Containers[i])
	}
}

func volumeReferences(volume *corev1.Volume, add func(name string, optional *bool, keys ...string)) {
	keysOf := func(items []corev1.KeyToPath) []string {
		keys := []string{}
		for _, item := range items {
			keys = append(keys, item.Key)
		}
		return keys
	}
	switch {
	case volume.Secret != nil:
		add(volume.Secret.SecretName, volume.Secret.Optional, keysOf(volume.Secret.Items)...)
	case volume.Projected != nil:
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil {
				add(source.Secret.Name, source.Secret.Optional, keysOf(source.Secret.Items)...)
			}
		}
	case volume.CSI != nil && volume.CSI.NodePublishSecretRef != nil:
		add(volume.CSI.NodePublishSecretRef.Name, nil)
	case volume.ISCSI != nil && volume.ISCSI.SecretRef != nil:
		add(volume.ISCSI.SecretRef.Name, nil)
	case volume.CephFS != nil && volume.CephFS.SecretRef != nil:
		add(volume.CephFS.SecretRef.Name, nil)
	case volume.RBD != nil && volume.RBD.SecretRef != nil:
		add(volume.RBD.SecretRef.Name, nil)
	case volume.FlexVolume != nil && volume.FlexVolume.SecretRef != nil:
		add(volume.FlexVolume.SecretRef.Name, nil)
	}
}

// referencesOf are the Secrets that an object needs.
func referencesOf(object *unstructured.Unstructured) ([]reference, error) {
	spec, err := podSpecOf(object)
	if err != nil {
		return nil, err
	}
	if spec != nil {
		return podReferences(object, spec), nil
	}
	content, _ := object.Object["spec"].(map[string]any)
	switch group := object.GroupVersionKind().Group; {
	case isKind(object, "", "ServiceAccount"):
		return listed(object, object.Object, "imagePullSecrets"), nil
	case isKind(object, "postgresql.cnpg.io", "Cluster"):
		return clusterReferences(object, content), nil
	case isKind(object, "postgresql.cnpg.io", "Pooler"), isKind(object, "barmancloud.cnpg.io", "ObjectStore"):
		return fieldReferences(object, content), nil
	case group == "cert-manager.io", group == "external-secrets.io":
		return issuerReferences(object, content), nil
	case group == "networking.k8s.io" && object.GetKind() == "Ingress", isKind(object, "gateway.networking.k8s.io", "Gateway"):
		return certificateReferences(object, content), nil
	case group == "volsync.backube":
		return moverReferences(object, content), nil
	case group == "kyverno.io", group == "policies.kyverno.io":
		return policyReferences(object), nil
	}
	return nil, nil
}

// listed are the Secrets of a list of {name}.
func listed(object *unstructured.Unstructured, holder map[string]any, field string) []reference {
	var found []reference
	items, _ := holder[field].([]any)
	for _, item := range items {
		node, _ := item.(map[string]any)
		if name, _ := node["name"].(string); name != "" {
			found = append(found, reference{object.GetNamespace(), name, nil, title(object), false})
		}
	}
	return found
}

func textOf(node map[string]any, field string) string {
	if node[field] == nil {
		return ""
	}
	return fmt.Sprint(node[field])
}
