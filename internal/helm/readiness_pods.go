package helm

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// crashesExpected is how often a container may end before that says something: Argo CD's own wait for each other that way.
const crashesExpected = 5

// podProblem is what keeps a Pod from being ready.
type podProblem struct {
	// pod is its name, empty where it is not about one Pod.
	pod, why string
	// hopeless: it does not go away by waiting alone.
	hopeless bool
}

// String is "Pod argocd-server-x: ImagePullBackOff: Back-off pulling image …".
func (p podProblem) String() string {
	if p.pod == "" || p.why == "" {
		return p.why
	}
	return "Pod " + p.pod + ": " + p.why
}

// or takes the other one where there is nothing to say yet.
func (p podProblem) or(other podProblem) podProblem {
	if p.why == "" {
		return other
	}
	return p
}

// pods are all Pods of a namespace.
func (c *Client) pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	list, err := c.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, explain(ctx, "list the Pods of namespace "+namespace, err)
	}
	return list.Items, nil
}

// worst counts those of these Pods that are ready, and says what keeps one of the others from it: what waiting does not help is
// told before all else.
func (v *view) worst(ctx context.Context, namespace string, ours func(*corev1.Pod) bool) (int32, podProblem, error) {
	pods, known := v.pods[namespace]
	if !known {
		var err error
		if pods, err = v.client.pods(ctx, namespace); err != nil {
			return 0, podProblem{}, err
		}
		v.pods[namespace] = pods
	}
	var ready int32
	var worst podProblem
	for i := range pods {
		pod := &pods[i]
		switch {
		case pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || !ours(pod):
		case podReady(pod):
			ready++
		default:
			if trouble := podTrouble(pod); worst.why == "" || trouble.hopeless && !worst.hopeless {
				worst = trouble
			}
		}
	}
	if worst.why == "" || worst.hopeless {
		return ready, worst, nil
	}
	worst, err := v.mounting(ctx, namespace, worst)
	return ready, worst, err
}

// mounting looks for what the kubelet says in events alone: that a volume's Secret or ConfigMap is missing.
func (v *view) mounting(ctx context.Context, namespace string, trouble podProblem) (podProblem, error) {
	if trouble.pod == "" {
		return trouble, nil
	}
	list, err := v.client.typed.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.kind=Pod,involvedObject.name=" + trouble.pod})
	if err != nil {
		return trouble, explain(ctx, "list the events of namespace "+namespace, err)
	}
	for _, event := range list.Items {
		if event.Reason == "FailedMount" || event.Reason == "FailedAttachVolume" {
			trouble.why = event.Reason + ": " + event.Message
		}
	}
	return trouble, nil
}

// newestHash tells the Pods of the Deployment's newest template from those that it is about to remove; empty while it has
// none yet. Source: kubernetes pkg/controller/deployment/util, RevisionAnnotation.
func (v *view) newestHash(ctx context.Context, live *appsv1.Deployment) (string, error) {
	sets, known := v.sets[live.Namespace]
	if !known {
		list, err := v.client.typed.AppsV1().ReplicaSets(live.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", explain(ctx, "list the ReplicaSets of namespace "+live.Namespace, err)
		}
		sets = list.Items
		v.sets[live.Namespace] = sets
	}
	const revision = "deployment.kubernetes.io/revision"
	if live.Status.ObservedGeneration < live.Generation {
		return "", nil
	}
	for i := range sets {
		owner := metav1.GetControllerOf(&sets[i])
		if owner != nil && owner.UID == live.UID && sets[i].Annotations[revision] == live.Annotations[revision] {
			return sets[i].Labels[deploymentHashLabel], nil
		}
	}
	return "", nil
}

func selects(selector *metav1.LabelSelector, pod *corev1.Pod) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && !parsed.Empty() && parsed.Matches(labels.Set(pod.Labels))
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// podTrouble says why a Pod is not ready, in the kubelet's and the scheduler's words.
func podTrouble(pod *corev1.Pod) podProblem {
	if podReady(pod) || pod.Status.Phase == corev1.PodSucceeded {
		return podProblem{}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			// A node may still come, or become ready: that is no reason to give up.
			return podProblem{pod: pod.Name, why: condition.Reason + ": " + condition.Message}
		}
	}
	for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if trouble := containerTrouble(&container); trouble.why != "" {
			trouble.pod = pod.Name
			return trouble
		}
	}
	why := "it is " + string(pod.Status.Phase)
	if pod.Status.Phase == corev1.PodRunning {
		why = "it runs, and is not ready"
	}
	if pod.Status.Message != "" {
		why += ": " + pod.Status.Message
	}
	return podProblem{pod: pod.Name, why: why, hopeless: pod.Status.Phase == corev1.PodFailed}
}

// containerTrouble: an image that could not be pulled once is tried again, so only the back-off counts as hopeless.
// Source: kubernetes pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime/kuberuntime_container.go.
func containerTrouble(status *corev1.ContainerStatus) podProblem {
	if ended := status.State.Terminated; ended != nil && ended.ExitCode != 0 {
		return podProblem{why: fmt.Sprintf("container %s ended with %d: %s", status.Name, ended.ExitCode, ended.Reason)}
	}
	waiting := status.State.Waiting
	if waiting == nil {
		return podProblem{}
	}
	why := waiting.Reason
	if waiting.Message != "" {
		why += ": " + waiting.Message
	}
	switch waiting.Reason {
	case "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "RunContainerError":
		return podProblem{why: why, hopeless: true}
	case "ErrImagePull", "RegistryUnavailable":
		return podProblem{why: why}
	case "CrashLoopBackOff":
		if last := status.LastTerminationState.Terminated; last != nil {
			why += fmt.Sprintf("; container %s last ended with %d: %s", status.Name, last.ExitCode, last.Reason)
		}
		return podProblem{why: why, hopeless: status.RestartCount >= crashesExpected}
	}
	return podProblem{}
}
