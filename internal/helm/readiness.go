package helm

import (
	"context"
	"errors"
	"fmt"

	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// Readiness is how far the objects of the newest revision are that have something to become: definitions first, then what runs
// Pods, Pods, and claims, in the chart's order. What only has to be there is not among them; nor are Services, of which one
// of type LoadBalancer waits for a network that Argo CD itself may have to bring. It costs a request for each of them, and two
// for each namespace that Pods run in.
func (c *Client) Readiness(ctx context.Context, namespace, name string) ([]recovery.ObjectState, error) {
	_, newest, err := c.newest(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	if newest == nil {
		return nil, &recovery.Problem{
			What: fmt.Sprintf("look how far release %s/%s is", namespace, name), Why: "there is no such release", Next: "install it: drctl bootstrap", Err: recovery.ErrNotFound,
		}
	}
	objects, err := withReadiness(newest)
	if err != nil {
		return nil, err
	}
	view := &view{client: c, pods: map[string][]corev1.Pod{}, sets: map[string][]appsv1.ReplicaSet{}}
	states := make([]recovery.ObjectState, 0, len(objects))
	for _, object := range objects {
		if object.GetKind() != definitionKind && object.GetNamespace() == "" {
			object.SetNamespace(namespace)
		}
		state, err := view.state(ctx, object)
		if apierrors.IsNotFound(err) {
			state, err = recovery.ObjectState{Why: "it is not there: somebody deleted it", Hopeless: true}, nil
		}
		var problem *recovery.Problem
		if err != nil && !errors.As(err, &problem) {
			err = explain(ctx, "look how far "+describe(object)+" is", err)
		}
		if err != nil {
			return nil, err
		}
		state.Object = describe(object)
		states = append(states, state)
	}
	return states, nil
}

// withReadiness are the objects of a revision that have something to become. Of definitions, only what they are called is read.
func withReadiness(revision *releasev1.Release) ([]*unstructured.Unstructured, error) {
	var found, others []*unstructured.Unstructured
	manifests := []string{revision.Manifest}
	if revision.Chart != nil {
		for _, file := range revision.Chart.CRDObjects() {
			manifests = append([]string{string(file.File.Data)}, manifests...)
		}
	}
	for _, manifest := range manifests {
		objects, err := parseHeads(manifest)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			switch object.GetKind() {
			case definitionKind:
				found = append(found, object)
			case "Deployment", "StatefulSet", "DaemonSet", "Job", "Pod", "PersistentVolumeClaim":
				others = append(others, object)
			}
		}
	}
	return append(found, others...), nil
}

// view is the cluster for one call: the Pods of a namespace are read once.
type view struct {
	client *Client
	pods   map[string][]corev1.Pod
	sets   map[string][]appsv1.ReplicaSet
}

func (v *view) state(ctx context.Context, object *unstructured.Unstructured) (recovery.ObjectState, error) {
	namespace, name, api := object.GetNamespace(), object.GetName(), v.client.typed
	switch object.GetKind() {
	case definitionKind:
		live, err := v.client.dynamic.Resource(definitionsResource()).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return recovery.ObjectState{}, err
		}
		established, why := establishment(live)
		return recovery.ObjectState{Ready: established, Why: why}, nil
	case "Deployment":
		live, err := api.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return recovery.ObjectState{}, err
		}
		return v.deployment(ctx, live)
	case "StatefulSet":
		live, err := api.AppsV1().StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return recovery.ObjectState{}, err
		}
		return v.statefulSet(ctx, live)
	case "DaemonSet":
		live, err := api.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return recovery.ObjectState{}, err
		}
		return v.daemonSet(ctx, live)
	case "Job":
		live, err := api.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return recovery.ObjectState{}, err
		}
		return v.job(ctx, live)
	case "Pod":
		live, err := api.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return recovery.ObjectState{}, err
		}
		trouble := podTrouble(live)
		return recovery.ObjectState{Ready: podReady(live) || live.Status.Phase == corev1.PodSucceeded, Why: trouble.String(), Hopeless: trouble.hopeless}, nil
	}
	live, err := api.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return recovery.ObjectState{}, err
	}
	return claim(live), nil
}

// deployment counts as kubectl rollout status does. Source: kubectl pkg/polymorphichelpers/rollout_status.go.
func (v *view) deployment(ctx context.Context, live *appsv1.Deployment) (recovery.ObjectState, error) {
	wanted, status := replicas(live.Spec.Replicas), live.Status
	if status.ObservedGeneration >= live.Generation && status.UpdatedReplicas >= wanted && status.Replicas <= status.UpdatedReplicas && status.AvailableReplicas >= status.UpdatedReplicas {
		return recovery.ObjectState{Ready: true}, nil
	}
	hash, err := v.newestHash(ctx, live)
	if err != nil {
		return recovery.ObjectState{}, err
	}
	ready, trouble, err := v.worst(ctx, live.Namespace, func(pod *corev1.Pod) bool {
		return hash != "" && pod.Labels[deploymentHashLabel] == hash && selects(live.Spec.Selector, pod)
	})
	if err != nil {
		return recovery.ObjectState{}, err
	}
	for _, condition := range live.Status.Conditions {
		switch {
		case condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue:
			trouble = trouble.or(podProblem{why: "its Pods can't be made: " + condition.Message})
		case condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ProgressDeadlineExceeded" && status.ObservedGeneration >= live.Generation:
			trouble = trouble.or(podProblem{why: "it makes no progress: " + condition.Message})
			trouble.hopeless = true
		}
	}
	return counted(ready, wanted, trouble), nil
}

func (v *view) statefulSet(ctx context.Context, live *appsv1.StatefulSet) (recovery.ObjectState, error) {
	wanted, status := replicas(live.Spec.Replicas), live.Status
	seen := status.ObservedGeneration >= live.Generation
	onDelete := live.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
	if seen && status.ReadyReplicas >= wanted && (onDelete || status.UpdatedReplicas >= wanted && status.CurrentRevision == status.UpdateRevision) {
		return recovery.ObjectState{Ready: true}, nil
	}
	ready, trouble, err := v.worst(ctx, live.Namespace, func(pod *corev1.Pod) bool {
		return pod.Labels[revisionHashLabel] == status.UpdateRevision && selects(live.Spec.Selector, pod)
	})
	if err != nil {
		return recovery.ObjectState{}, err
	}
	return counted(ready, wanted, trouble), nil
}

func (v *view) daemonSet(ctx context.Context, live *appsv1.DaemonSet) (recovery.ObjectState, error) {
	status := live.Status
	if status.ObservedGeneration >= live.Generation && status.UpdatedNumberScheduled >= status.DesiredNumberScheduled && status.NumberAvailable >= status.DesiredNumberScheduled {
		return recovery.ObjectState{Ready: true}, nil
	}
	ready, trouble, err := v.worst(ctx, live.Namespace, func(pod *corev1.Pod) bool { return selects(live.Spec.Selector, pod) })
	if err != nil {
		return recovery.ObjectState{}, err
	}
	return counted(ready, status.DesiredNumberScheduled, trouble), nil
}

func (v *view) job(ctx context.Context, live *batchv1.Job) (recovery.ObjectState, error) {
	for _, condition := range live.Status.Conditions {
		switch {
		case condition.Status != corev1.ConditionTrue:
		case condition.Type == batchv1.JobComplete:
			return recovery.ObjectState{Ready: true}, nil
		case condition.Type == batchv1.JobFailed:
			return recovery.ObjectState{Why: "it failed: " + condition.Message, Hopeless: true}, nil
		}
	}
	_, trouble, err := v.worst(ctx, live.Namespace, func(pod *corev1.Pod) bool { return selects(live.Spec.Selector, pod) })
	if err != nil {
		return recovery.ObjectState{}, err
	}
	return counted(live.Status.Succeeded, replicas(live.Spec.Completions), trouble), nil
}

// claim: one whose class waits for the first consumer is the Pods' affair.
func claim(live *corev1.PersistentVolumeClaim) recovery.ObjectState {
	switch live.Status.Phase {
	case corev1.ClaimBound:
		return recovery.ObjectState{Ready: true}
	case corev1.ClaimLost:
		return recovery.ObjectState{Why: "its volume " + live.Spec.VolumeName + " is gone", Hopeless: true}
	}
	return recovery.ObjectState{Why: "it is not bound to a volume"}
}

// replicas is one where nothing is said.
func replicas(wanted *int32) int32 {
	if wanted == nil {
		return 1
	}
	return *wanted
}

// counted is "1 of 2 Pods ready; Pod argocd-server-x: ImagePullBackOff: …".
func counted(ready, wanted int32, trouble podProblem) recovery.ObjectState {
	why := fmt.Sprintf("%d of %d Pods ready", ready, wanted)
	if trouble.why != "" {
		why += "; " + trouble.String()
	}
	return recovery.ObjectState{Why: why, Hopeless: trouble.hopeless}
}
