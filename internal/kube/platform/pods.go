package platform

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/drctl/drctl/internal/recovery"
)

// imageReasons are why a container waits whose image can't be had. Source: Kubernetes pkg/kubelet/images/types.go.
func imageReasons() []string {
	return []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
}

// crashReasons are why a container waits that could not be started, or ended. Source: Kubernetes
// pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/container/sync_result.go.
func crashReasons() []string {
	return []string{"CrashLoopBackOff", "RunContainerError", "CreateContainerError", "StartError", "PostStartHookError", "PreStartHookError", "PreCreateHookError"}
}

// pod finds what holds a Pod back. One that has ended, or is on its way out, is held back by nothing; why a Job's
// Pod failed, the Job tells.
func (s *situation) pod(pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded {
		return
	}
	object := "Pod " + pod.Namespace + "/" + pod.Name
	if pod.Status.Phase == corev1.PodFailed {
		// What a controller made, it makes anew.
		if len(pod.OwnerReferences) == 0 {
			s.add(recovery.TroubleCrash, object, said(pod.Status.Reason, "the Pod has failed: "+ended(pod)), "")
		}
		return
	}
	if condition := podCondition(pod, corev1.PodScheduled); condition != nil && condition.Status == corev1.ConditionFalse {
		s.add(recovery.TroubleUnscheduled, object, said(condition.Reason, condition.Message), "")
		return
	}
	before := len(s.found)
	events := s.of("Pod", pod.Namespace, pod.Name, string(pod.UID))
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		s.container(object, &status, events)
	}
	if len(s.found) == before && waitsForVolumes(pod) {
		s.volumes(object, events)
	}
	if len(s.found) == before {
		s.notReady(object, pod, events)
	}
}

// container finds why one container does not run.
func (s *situation) container(object string, status *corev1.ContainerStatus, events []corev1.Event) {
	if ended := status.State.Terminated; ended != nil && ended.ExitCode != 0 {
		s.add(recovery.TroubleCrash, object, "container "+status.Name+" "+endedWith(ended), "")
		return
	}
	waiting := status.State.Waiting
	if waiting == nil {
		return
	}
	text := "container " + status.Name + ": " + said(waiting.Reason, waiting.Message)
	switch {
	case slices.Contains(imageReasons(), waiting.Reason):
		// The back-off says no more than that it waits; the event of the last attempt says why.
		if last := pullFailure(events, status.Image); last != "" && waiting.Reason == "ImagePullBackOff" {
			text = "container " + status.Name + ": " + said(waiting.Reason, last)
		}
		s.add(recovery.TroubleImage, object, text, status.Image)
	case waiting.Reason == "CreateContainerConfigError":
		kind, missing := missingReference(waiting.Message)
		s.add(kind, object, text, missing)
	case slices.Contains(crashReasons(), waiting.Reason):
		if last := status.LastTerminationState.Terminated; last != nil {
			text += "; it " + endedWith(last)
		}
		s.add(recovery.TroubleCrash, object, text, "")
	}
}

// endedWith leaves the container's own words out: they may be its log, and hold anything.
func endedWith(state *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("ended with exit code %d", state.ExitCode)
	if state.Reason != "" {
		text += " (" + state.Reason + ")"
	}
	return text
}

// ended names the first container that did not end well.
func ended(pod *corev1.Pod) string {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if state := status.State.Terminated; state != nil && state.ExitCode != 0 {
			return "container " + status.Name + " " + endedWith(state)
		}
	}
	return pod.Status.Message
}

// pullFailure is why the image could not be pulled the last time. Source: Kubernetes pkg/kubelet/images/image_manager.go.
func pullFailure(events []corev1.Event, image string) string {
	for _, event := range events {
		if event.Reason == "Failed" && strings.HasPrefix(event.Message, "Failed to pull image") && strings.Contains(event.Message, image) {
			return event.Message
		}
	}
	return ""
}

// missingReference tells what a container's configuration or a volume refers to and is not there. Sources: Kubernetes
// pkg/kubelet/kubelet_pods.go makeEnvironmentVariables, pkg/volume/secret/secret.go, pkg/volume/configmap/configmap.go.
func missingReference(message string) (kind recovery.TroubleKind, name string) {
	for _, form := range []struct {
		kind    recovery.TroubleKind
		pattern string
	}{
		{recovery.TroubleSecret, `(?i)secrets? "([^"]+)" not found`},
		{recovery.TroubleSecret, `couldn't find key \S+ in Secret (?:[^/\s]+/)?(\S+)`},
		{recovery.TroubleSecret, `references non-existent secret key: ()`},
		{recovery.TroubleConfigMap, `(?i)configmaps? "([^"]+)" not found`},
		{recovery.TroubleConfigMap, `couldn't find key \S+ in ConfigMap (?:[^/\s]+/)?(\S+)`},
		{recovery.TroubleConfigMap, `references non-existent config key: ()`},
	} {
		if match := regexp.MustCompile(form.pattern).FindStringSubmatch(message); match != nil {
			return form.kind, match[1]
		}
	}
	return recovery.TroubleNotReady, ""
}

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// waitsForVolumes: the kubelet has it, and has started none of its containers.
func waitsForVolumes(pod *corev1.Pod) bool {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.State.Running != nil || status.State.Terminated != nil || status.RestartCount > 0 {
			return false
		}
	}
	return pod.Spec.NodeName != "" && pod.Status.Phase == corev1.PodPending
}

// volumes looks for a volume that could not be attached or mounted: only events tell.
func (s *situation) volumes(object string, events []corev1.Event) {
	failure := newest(events, "FailedMount", "FailedAttachVolume", "FailedMapVolume")
	if failure == nil {
		return
	}
	kind, missing := missingReference(failure.Message)
	if kind == recovery.TroubleNotReady {
		kind = recovery.TroubleVolume
	}
	s.add(kind, object, said(failure.Reason, failure.Message), missing)
}

// notReady: it has been without becoming ready for a while.
func (s *situation) notReady(object string, pod *corev1.Pod, events []corev1.Event) {
	ready := podCondition(pod, corev1.PodReady)
	if ready == nil || ready.Status == corev1.ConditionTrue || s.now.Sub(ready.LastTransitionTime.Time) < patience || s.now.Sub(pod.CreationTimestamp.Time) < patience {
		return
	}
	text := said(ready.Reason, ready.Message)
	if warning := newestWarning(events); warning != nil {
		text += "; " + said(warning.Reason, warning.Message)
	}
	s.add(recovery.TroubleNotReady, object, text, "")
}
