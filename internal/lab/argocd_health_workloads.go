package lab

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// conditionOf is one of an object's conditions, empty when it has none of that type.
func conditionOf(live *unstructured.Unstructured, kind string) map[string]string {
	conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
	for _, each := range conditions {
		condition, _ := each.(map[string]any)
		if condition["type"] != kind {
			continue
		}
		found := map[string]string{}
		for _, field := range []string{"status", "reason", "message"} {
			found[field], _ = condition[field].(string)
		}
		return found
	}
	return nil
}

// statefulSetHealth judges a StatefulSet by its Pods.
// Source: gitops-engine pkg/health/health_statefulset.go.
func statefulSetHealth(live *unstructured.Unstructured) *argoHealth {
	observed, _, _ := unstructured.NestedInt64(live.Object, "status", "observedGeneration")
	if observed == 0 || live.GetGeneration() > observed {
		return &argoHealth{Status: healthProgressing, Message: "Waiting for statefulset spec update to be observed..."}
	}
	wanted, found, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if !found {
		wanted = 1
	}
	ready, _, _ := unstructured.NestedInt64(live.Object, "status", "readyReplicas")
	if ready < wanted {
		return &argoHealth{Status: healthProgressing, Message: fmt.Sprintf("Waiting for %d pods to be ready...", wanted-ready)}
	}
	current, _, _ := unstructured.NestedString(live.Object, "status", "currentRevision")
	update, _, _ := unstructured.NestedString(live.Object, "status", "updateRevision")
	if current != update {
		return &argoHealth{Status: healthProgressing, Message: "waiting for statefulset rolling update to complete"}
	}
	return &argoHealth{Status: healthHealthy}
}

// daemonSetHealth judges a DaemonSet by its Pods.
// Source: gitops-engine pkg/health/health_daemonset.go.
func daemonSetHealth(live *unstructured.Unstructured) *argoHealth {
	number := func(field string) int64 {
		value, _, _ := unstructured.NestedInt64(live.Object, "status", field)
		return value
	}
	wanted := number("desiredNumberScheduled")
	switch {
	case live.GetGeneration() > number("observedGeneration"):
		return &argoHealth{Status: healthProgressing, Message: "Waiting for rollout to finish: observed daemon set generation less than desired generation"}
	case number("updatedNumberScheduled") < wanted:
		return &argoHealth{Status: healthProgressing, Message: fmt.Sprintf("Waiting for daemon set %q rollout to finish", live.GetName())}
	case number("numberAvailable") < wanted:
		return &argoHealth{Status: healthProgressing, Message: fmt.Sprintf("Waiting for daemon set %q rollout to finish: not all Pods are available", live.GetName())}
	}
	return &argoHealth{Status: healthHealthy}
}

// jobHealth judges a Job by how it ended.
// Source: gitops-engine pkg/health/health_job.go.
func jobHealth(live *unstructured.Unstructured) *argoHealth {
	if failed := conditionOf(live, "Failed"); failed["status"] == "True" {
		return &argoHealth{Status: healthDegraded, Message: failed["message"]}
	}
	if complete := conditionOf(live, "Complete"); complete["status"] == "True" {
		return &argoHealth{Status: healthHealthy, Message: complete["message"]}
	}
	if suspended := conditionOf(live, "Suspended"); suspended["status"] == "True" {
		return &argoHealth{Status: healthSuspended, Message: suspended["message"]}
	}
	return &argoHealth{Status: healthProgressing}
}

// applicationHealth judges a child Application as the script does that Argo CD's documentation has for argocd-cm.
func applicationHealth(live *unstructured.Unstructured) *argoHealth {
	health := &argoHealth{Status: healthProgressing}
	if status, _, _ := unstructured.NestedString(live.Object, "status", "health", "status"); status != "" {
		health.Status = status
	}
	health.Message, _, _ = unstructured.NestedString(live.Object, "status", "health", "message")
	return health
}

// applicationSetHealth judges an ApplicationSet by its conditions.
// Source: argo-cd resource_customizations/argoproj.io/ApplicationSet/health.lua.
func applicationSetHealth(live *unstructured.Unstructured) *argoHealth {
	for _, judged := range []struct{ kind, status, health string }{
		{"ErrorOccurred", "True", healthDegraded},
		{"ResourcesUpToDate", "False", healthDegraded},
		{"ResourcesUpToDate", "True", healthHealthy},
	} {
		if condition := conditionOf(live, judged.kind); condition["status"] == judged.status {
			return &argoHealth{Status: judged.health, Message: condition["message"]}
		}
	}
	return &argoHealth{Status: healthProgressing, Message: "Waiting for the status to be reported"}
}
