package fence

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// podsTarget names the Pods before the claim's name.
	podsTarget = "Pods that mount claim"
	// jobKey is the label that the Job controller puts on the Pods of a Job.
	// Source: k8s.io/api/batch/v1, JobNameLabel.
	jobKey = "batch.kubernetes.io/job-name"
	// createdByKey and volsync stand on the Pods of VolSync's movers, by the Job's template.
	// Source: perfectra1n/volsync internal/controller/utils/utils.go, SetOwnedByVolSync.
	createdByKey = "app.kubernetes.io/created-by"
	volsync      = "volsync"
)

func podsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}

// podConditions pick the Pods that mount the claim, but those of the exempt Job. A generic ephemeral volume
// names no claim: the one that is made for it is held back as any creation of that name. Static Pods can't
// mount claims at all.
// Source: kubernetes pkg/kubelet/config/common.go, tryDecodeSinglePod.
func (s Spec) podConditions() []any {
	conditions := []any{condition("mounts-claim", fmt.Sprintf(
		"has(object.spec.volumes) && object.spec.volumes.exists(v, has(v.persistentVolumeClaim) && v.persistentVolumeClaim.claimName == '%s')", s.MountsClaim))}
	if s.ExemptJob != "" {
		conditions = append(conditions, condition("not-exempt", fmt.Sprintf(
			"!(%s && %s)", entryIs("labels", jobKey, s.ExemptJob), entryIs("labels", createdByKey, volsync))))
	}
	return conditions
}

// samplePod is a Pod that mounts the claim and that nothing else has a reason to refuse: it meets the
// restricted Pod Security Standard. It names no resources, so that a LimitRange fills in its own; a
// ResourceQuota is asked after the fence.
// Source: kubernetes pkg/kubeapiserver/options/plugins.go, AllOrderedPlugins.
func (s Spec) samplePod() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"namespace": s.Namespace, "generateName": "drctl-fence-probe-"},
		"spec": map[string]any{
			"automountServiceAccountToken": false,
			"restartPolicy":                "Never",
			"securityContext": map[string]any{
				"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"},
			},
			"containers": []any{map[string]any{
				"name": "probe", "image": "registry.k8s.io/pause:3.10",
				"securityContext": map[string]any{
					"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}},
				},
				"volumeMounts": []any{map[string]any{"name": "data", "mountPath": "/data"}},
			}},
			"volumes": []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": s.MountsClaim}}},
		},
	}}
}
