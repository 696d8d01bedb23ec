package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podState is what the node has to say of a Pod.
type podState struct {
	phase              corev1.PodPhase
	initialized, ready bool
	ip                 string
	// began is when the main container was started, zero while it was not.
	began time.Time
	// waiting is the reason why it was not, message a person's version of it.
	waiting, message string
	restarts         int32
	// exit is how the main container ended for good, last how its run before this one did.
	exit, last *containerExit
}

// containerExit is how a container ended.
type containerExit struct {
	code         int32
	began, ended time.Time
}

// report writes the Pod's status. It tries again where the API server is away, and gives up, with
// errEnding, once the Pod's object is gone.
func (r *podRunner) report(ctx context.Context, state podState) error {
	if reflect.DeepEqual(r.state, state) {
		return nil
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": r.pod.UID},
		"status":   r.status(state),
	})
	if err != nil {
		return fmt.Errorf("lab: status of a Pod: %w", err)
	}
	for {
		_, err := r.node.client.CoreV1().Pods(r.pod.Namespace).Patch(ctx, r.pod.Name, types.StrategicMergePatchType, body,
			metav1.PatchOptions{FieldManager: "kubelet"}, "status")
		switch {
		case err == nil:
			r.state = state
			return nil
		case apierrors.IsNotFound(err), apierrors.IsConflict(err), ctx.Err() != nil:
			return errEnding
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			return fmt.Errorf("lab: status of a Pod: %w", err)
		}
		select {
		case <-r.vanished:
			return errEnding
		case <-ctx.Done():
			return errEnding
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (r *podRunner) status(state podState) corev1.PodStatus {
	status := corev1.PodStatus{
		Phase: state.phase, Message: state.message, HostIP: "127.0.0.1", PodIP: state.ip,
		HostIPs: []corev1.HostIP{{IP: "127.0.0.1"}},
		Conditions: []corev1.PodCondition{
			podCondition(corev1.PodInitialized, state.initialized, r.state.initialized),
			podCondition(corev1.PodReady, state.ready, r.state.ready),
			podCondition(corev1.ContainersReady, state.ready, r.state.ready),
		},
	}
	if state.ip != "" {
		status.PodIPs = []corev1.PodIP{{IP: state.ip}}
	}
	started := r.pod.CreationTimestamp
	status.StartTime = &started
	for i := range r.pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, r.firstStatus(&r.pod.Spec.InitContainers[i], state))
	}
	for i := range r.pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, r.mainStatus(&r.pod.Spec.Containers[i], state))
	}
	return status
}

// podCondition carries the time of its change only when it changed: the server keeps the old one otherwise.
func podCondition(kind corev1.PodConditionType, is, was bool) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse}
	if is {
		c.Status = corev1.ConditionTrue
	}
	if is != was {
		c.LastTransitionTime = metav1.Now()
	}
	return c
}

func (r *podRunner) firstStatus(spec *corev1.Container, state podState) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, ImageID: spec.Image}
	if !state.initialized {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
		return status
	}
	status.Ready, status.ContainerID = true, r.containerID(spec.Name, 0)
	status.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", ContainerID: status.ContainerID}
	return status
}

func (r *podRunner) mainStatus(spec *corev1.Container, state podState) corev1.ContainerStatus {
	running := state.exit == nil && !state.began.IsZero()
	status := corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image, ImageID: spec.Image, Ready: state.ready, RestartCount: state.restarts, Started: &running,
	}
	if state.last != nil {
		status.LastTerminationState.Terminated = state.last.terminated(r.containerID(spec.Name, state.restarts-1))
	}
	switch {
	case state.exit != nil:
		status.ContainerID = r.containerID(spec.Name, state.restarts)
		status.State.Terminated = state.exit.terminated(status.ContainerID)
	case running:
		status.ContainerID = r.containerID(spec.Name, state.restarts)
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(state.began)}
	default:
		reason := state.waiting
		if reason == "" {
			reason = "ContainerCreating"
		}
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: state.message}
	}
	return status
}

func (r *podRunner) containerID(name string, run int32) string {
	return fmt.Sprintf("lab://%s/%s/%d", r.pod.UID, name, run)
}

func (e *containerExit) terminated(id string) *corev1.ContainerStateTerminated {
	reason := "Completed"
	if e.code != 0 {
		reason = "Error"
	}
	return &corev1.ContainerStateTerminated{
		ExitCode: e.code, Reason: reason, ContainerID: id, StartedAt: metav1.NewTime(e.began), FinishedAt: metav1.NewTime(e.ended),
	}
}
