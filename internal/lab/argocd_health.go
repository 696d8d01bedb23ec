package lab

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The health of an object, best first: an Application is as healthy as its worst object.
// Source: gitops-engine pkg/health/health.go.
const (
	healthHealthy     = "Healthy"
	healthSuspended   = "Suspended"
	healthProgressing = "Progressing"
	healthMissing     = "Missing"
	healthDegraded    = "Degraded"
	healthUnknown     = "Unknown"
)

// healthOf judges a live object; nil for a kind that has no health of its own. An Application has one only where
// argocd-cm says how to tell it: without that, every wave of Applications starts at once.
// Source: docs/operator-manual/health.md.
func (a *ArgoCD) healthOf(live *unstructured.Unstructured) *argoHealth {
	if live.GroupVersionKind().GroupKind().String() == "Application.argoproj.io" && live.GetDeletionTimestamp() == nil {
		if !a.appsCount {
			return nil
		}
		return applicationHealth(live)
	}
	return healthOf(live)
}

func healthOf(live *unstructured.Unstructured) *argoHealth {
	if live.GetDeletionTimestamp() != nil {
		return &argoHealth{Status: healthProgressing, Message: "Pending deletion"}
	}
	if live.GetKind() == "Cluster" && live.GroupVersionKind().Group == "postgresql.cnpg.io" {
		return clusterHealth(live)
	}
	switch live.GroupVersionKind().GroupKind().String() {
	case "PersistentVolumeClaim":
		return claimHealth(live)
	case "Deployment.apps":
		return deploymentHealth(live)
	case "StatefulSet.apps":
		return statefulSetHealth(live)
	case "DaemonSet.apps":
		return daemonSetHealth(live)
	case "Job.batch":
		return jobHealth(live)
	case "ApplicationSet.argoproj.io":
		return applicationSetHealth(live)
	}
	return nil
}

// claimHealth judges a claim by its phase.
// Source: gitops-engine pkg/health/health_pvc.go.
func claimHealth(live *unstructured.Unstructured) *argoHealth {
	phase, _, _ := unstructured.NestedString(live.Object, "status", "phase")
	switch phase {
	case "Bound":
		return &argoHealth{Status: healthHealthy}
	case "Pending":
		return &argoHealth{Status: healthProgressing}
	case "Lost":
		return &argoHealth{Status: healthDegraded}
	}
	return &argoHealth{Status: healthUnknown}
}

// deploymentHealth judges a Deployment by its Pods.
// Source: gitops-engine pkg/health/health_deployment.go.
func deploymentHealth(live *unstructured.Unstructured) *argoHealth {
	number := func(fields ...string) int64 {
		value, _, _ := unstructured.NestedInt64(live.Object, fields...)
		return value
	}
	updated := number("status", "updatedReplicas")
	switch {
	case conditionOf(live, "Progressing")["reason"] == "ProgressDeadlineExceeded":
		return &argoHealth{Status: healthDegraded, Message: fmt.Sprintf("Deployment %q exceeded its progress deadline", live.GetName())}
	case live.GetGeneration() > number("status", "observedGeneration"):
		return &argoHealth{Status: healthProgressing, Message: "Waiting for rollout to finish: observed deployment generation less than desired generation"}
	case updated < number("spec", "replicas"), number("status", "replicas") > updated:
		return &argoHealth{Status: healthProgressing, Message: "Waiting for rollout to finish"}
	case number("status", "availableReplicas") < updated:
		return &argoHealth{Status: healthProgressing, Message: "Waiting for rollout to finish: not all Pods are available"}
	}
	return &argoHealth{Status: healthHealthy}
}

// clusterHealth judges a CloudNativePG Cluster by its phase.
// Source: argo-cd resource_customizations/postgresql.cnpg.io/Cluster/health.lua.
func clusterHealth(live *unstructured.Unstructured) *argoHealth {
	if live.GetAnnotations()["cnpg.io/reconciliationLoop"] == "disabled" {
		return &argoHealth{Status: healthSuspended, Message: "Cluster reconciliation is suspended"}
	}
	phase, _, _ := unstructured.NestedString(live.Object, "status", "phase")
	reason, _, _ := unstructured.NestedString(live.Object, "status", "phaseReason")
	if _, judged, _ := unstructured.NestedSlice(live.Object, "status", "conditions"); !judged {
		return &argoHealth{Status: healthProgressing, Message: reason}
	}
	status := healthUnknown
	for candidate, phases := range map[string][]string{
		healthHealthy: {"Cluster in healthy state"},
		healthProgressing: {
			"Setting up primary", "Creating a new replica", "Upgrading cluster", "Waiting for the instances to become active",
			"Promoting to primary cluster",
		},
		healthDegraded: {
			"Switchover in progress", "Failing over", "Upgrading Postgres major version", "Cluster upgrade delayed",
			"Waiting for user action", "Primary instance is being restarted in-place",
			"Primary instance is being restarted without a switchover", "Online upgrade in progress", "Applying configuration",
			"Cluster cannot execute instance online upgrade due to missing architecture binary",
		},
		healthSuspended: {
			"Unable to create required cluster objects", "Cluster has incomplete or invalid image catalog",
			"Cluster cannot proceed to reconciliation due to an unknown plugin being required",
			"Cluster is unrecoverable and needs manual intervention",
		},
	} {
		if slices.Contains(phases, phase) {
			status = candidate
		}
	}
	return &argoHealth{Status: status, Message: reason}
}

// unseenChild: a child Application that is not there, or that nobody has judged, has no part in its parent's health.
// Source: controller/health.go, setApplicationHealth.
func (r *argoResource) unseenChild() bool {
	return r.Kind == "Application" && r.Group == "argoproj.io" && (r.Health.Status == healthMissing || r.Health.Status == healthUnknown)
}

// worstHealth is the Application's own.
func worstHealth(resources []argoResource) argoHealth {
	order := []string{healthHealthy, healthSuspended, healthProgressing, healthMissing, healthDegraded, healthUnknown}
	worst := 0
	for _, resource := range resources {
		if resource.Health != nil && !resource.unseenChild() {
			worst = max(worst, slices.Index(order, resource.Health.Status))
		}
	}
	return argoHealth{Status: order[worst]}
}
