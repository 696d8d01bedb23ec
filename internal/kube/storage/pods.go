package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// createdBy is on the Pods of VolSync's movers. Source: VolSync internal/controller/utils, SetOwnedByVolSync.
	createdBy, volsync = "app.kubernetes.io/created-by", "volsync"
	// oldJobLabel is what jobs before Kubernetes 1.27 had instead of batch.kubernetes.io/job-name.
	oldJobLabel = "job-name"
	jobLabel    = "batch.kubernetes.io/job-name"
	// nodeFresh is how long the state of a node is believed: it decides what a person is told, and no more.
	nodeFresh = 10 * time.Second
)

// Pods are those that mount the claim, in any phase: the server's present state.
func (a *API) Pods(ctx context.Context, namespace, claim string) ([]recovery.MountingPod, error) {
	items, err := a.client.ListWhere(ctx, pods(), namespace, "")
	if err != nil {
		return nil, err
	}
	objects := make([]*unstructured.Unstructured, 0, len(items))
	for i := range items {
		objects = append(objects, &items[i])
	}
	return a.mounting(ctx, objects, claim)
}

// LookPods is a look at them.
func (a *API) LookPods(ctx context.Context, namespace, claim string) ([]recovery.MountingPod, error) {
	objects, err := a.looks.List(ctx, pods(), namespace)
	if err != nil {
		return nil, err
	}
	return a.mounting(ctx, objects, claim)
}

func (a *API) mounting(ctx context.Context, objects []*unstructured.Unstructured, claim string) ([]recovery.MountingPod, error) {
	found := []recovery.MountingPod{}
	for _, object := range objects {
		if !mounts(object, claim) {
			continue
		}
		pod, err := podOf(object)
		if err != nil {
			return nil, err
		}
		if pod.Deleting && pod.Node != "" && !pod.Finished() {
			if pod.NodeLost, err = a.nodeLost(ctx, pod.Node); err != nil {
				return nil, err
			}
		}
		found = append(found, pod)
	}
	slices.SortFunc(found, func(x, y recovery.MountingPod) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	return found, nil
}

// mounts looks before anything is decoded: a namespace may have many Pods, and few mount the claim.
func mounts(pod *unstructured.Unstructured, claim string) bool {
	volumes, _, _ := unstructured.NestedFieldNoCopy(pod.Object, "spec", "volumes")
	list, _ := volumes.([]any)
	return slices.ContainsFunc(list, func(item any) bool {
		volume, _ := item.(map[string]any)
		name, _, _ := unstructured.NestedString(volume, "persistentVolumeClaim", "claimName")
		return name == claim
	})
}

func podOf(object *unstructured.Unstructured) (recovery.MountingPod, error) {
	var pod corev1.Pod
	if err := read(object, &pod); err != nil {
		return recovery.MountingPod{}, err
	}
	mounting := recovery.MountingPod{
		Name: pod.Name, UID: string(pod.UID), Phase: string(pod.Status.Phase), Deleting: pod.DeletionTimestamp != nil,
		Mover: pod.Labels[createdBy] == volsync, Job: pod.Labels[jobLabel], PlanID: pod.Annotations[recovery.PlanMark], Node: pod.Spec.NodeName,
	}
	if mounting.Job == "" {
		mounting.Job = pod.Labels[oldJobLabel]
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			mounting.Ready = condition.Status == corev1.ConditionTrue
		}
	}
	if owner := metav1.GetControllerOfNoCopy(&pod); owner != nil {
		version, err := schema.ParseGroupVersion(owner.APIVersion)
		if err != nil {
			return mounting, err
		}
		mounting.Controller = &recovery.Controller{
			Group: version.Group, Version: version.Version, Kind: owner.Kind, Name: owner.Name, UID: string(owner.UID),
		}
	}
	return mounting, nil
}

// nodeLost reports whether a node does not answer: its condition Ready is not true, or it is gone.
func (a *API) nodeLost(ctx context.Context, name string) (bool, error) {
	a.mu.Lock()
	seen, known := a.nodes[name]
	a.mu.Unlock()
	if known && time.Since(seen.at) < nodeFresh {
		return seen.lost, nil
	}
	lost := true
	object, err := a.client.Get(ctx, core("nodes"), "", name)
	if err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return false, err
	}
	if err == nil {
		var node corev1.Node
		if err := read(object, &node); err != nil {
			return false, err
		}
		lost = !slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
			return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[name] = nodeState{lost: lost, at: time.Now()}
	return lost, nil
}

// DeletePod deletes that Pod and no successor of its name; one that is gone, or replaced, is no error.
func (a *API) DeletePod(ctx context.Context, namespace string, pod recovery.MountingPod) error {
	err := a.client.Delete(ctx, pods(), namespace, pod.Name, kube.Preconditions{UID: pod.UID}, metav1.DeletePropagationBackground)
	if pod.UID == "" || !errors.Is(err, recovery.ErrConflict) {
		return absent(err)
	}
	// It is another Pod by now; or the server had another reason, and this one is still there.
	live, getErr := a.client.Get(ctx, pods(), namespace, pod.Name)
	switch {
	case errors.Is(getErr, recovery.ErrNotFound):
		return nil
	case getErr != nil:
		return getErr
	case string(live.GetUID()) != pod.UID:
		return nil
	}
	return err
}
