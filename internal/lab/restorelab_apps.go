package lab

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// RestoreApp is an application that mounts a claim. Its Pods are said to run, and do nothing.
type RestoreApp struct {
	// Kind is Deployment, StatefulSet, DaemonSet or CronJob (which begins a Job each minute).
	Kind            string
	Namespace, Name string
	// Claim is mounted at /data.
	Claim string
}

// Manifest is the application as a GitOps tree would have it.
func (a RestoreApp) Manifest() (*unstructured.Unstructured, error) {
	labels := map[string]any{"app": a.Name}
	pod := map[string]any{
		"containers": []any{map[string]any{
			"name": "app", "image": "none.invalid/app:1", "volumeMounts": []any{map[string]any{"name": "data", "mountPath": "/data"}},
		}},
		"volumes": []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": a.Claim}}},
	}
	template := map[string]any{"metadata": map[string]any{"labels": labels}, "spec": pod}
	spec := map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": template}
	group := "apps/v1"
	switch a.Kind {
	case "Deployment":
		spec["replicas"], spec["strategy"] = int64(1), map[string]any{"type": "Recreate"}
	case "StatefulSet":
		spec["replicas"], spec["serviceName"] = int64(1), a.Name
	case "DaemonSet":
	case "CronJob":
		group, pod["restartPolicy"] = "batch/v1", "Never"
		job := map[string]any{"spec": map[string]any{"template": template}}
		spec = map[string]any{"schedule": "* * * * *", "jobTemplate": job}
	default:
		return nil, fmt.Errorf("lab: an application of kind %q", a.Kind)
	}
	object := reference(group, a.Kind, a.Namespace, a.Name)
	object.Object["spec"] = spec
	return object, nil
}

// AddApp makes the application, and waits until a Pod of it is ready. (A CronJob has none until its minute.)
func (l *RestoreLab) AddApp(ctx context.Context, a RestoreApp) error {
	object, err := a.Manifest()
	if err != nil {
		return err
	}
	if err := l.applier.Apply(ctx, object); err != nil {
		return err
	}
	if a.Kind == "CronJob" {
		return nil
	}
	return l.WaitReady(ctx, a)
}

// WaitReady waits until a Pod of the application is ready, and is not about to go.
func (l *RestoreLab) WaitReady(ctx context.Context, a RestoreApp) error {
	return l.wait(ctx, a.Kind+" "+a.Namespace+"/"+a.Name, func() (bool, error) {
		pods, err := l.client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + a.Name})
		if err != nil {
			return false, err
		}
		for i := range pods.Items {
			if pods.Items[i].DeletionTimestamp == nil && podReady(&pods.Items[i]) {
				return true, nil
			}
		}
		return false, nil
	})
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
