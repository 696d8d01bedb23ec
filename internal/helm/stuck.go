package helm

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// observeTimeout bounds how long the StatefulSet controller may take to see a change.
const observeTimeout = 15 * time.Second

// replaceStuck deletes Pods of StatefulSets that are not ready and of a former revision. The controller waits for such a Pod to
// become ready before it replaces it, so a broken one stays broken whatever is deployed afterwards.
// Source: kubernetes.io/docs/concepts/workloads/controllers/statefulset, "Forced rollback".
func (c *Client) replaceStuck(ctx context.Context, objects []*unstructured.Unstructured, namespace string) error {
	for _, object := range objects {
		if object.GetKind() != "StatefulSet" {
			continue
		}
		in := namespace
		if own := object.GetNamespace(); own != "" {
			in = own
		}
		set, err := c.observed(ctx, in, object.GetName())
		if err != nil || set == nil {
			return err
		}
		pods, err := c.pods(ctx, in)
		if err != nil {
			return err
		}
		for i := range pods {
			if !stuck(&pods[i], set) {
				continue
			}
			uid := pods[i].UID
			err := c.typed.CoreV1().Pods(in).Delete(ctx, pods[i].Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return explain(ctx, fmt.Sprintf("delete Pod %s/%s, which is broken and of a former revision", in, pods[i].Name), err)
			}
		}
	}
	return nil
}

// observed is the StatefulSet once its controller has seen what it is to be; as it is when that takes too long, which Readiness
// will tell. Nil when it is not there.
func (c *Client) observed(ctx context.Context, namespace, name string) (*appsv1.StatefulSet, error) {
	what := fmt.Sprintf("read StatefulSet %s/%s", namespace, name)
	deadline := time.Now().Add(observeTimeout)
	for {
		set, err := c.typed.AppsV1().StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, explain(ctx, what, err)
		}
		if set.Status.ObservedGeneration >= set.Generation || time.Now().After(deadline) {
			return set, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(establishPause):
		}
	}
}

func stuck(pod *corev1.Pod, set *appsv1.StatefulSet) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.UID == set.UID && pod.DeletionTimestamp == nil && !podReady(pod) &&
		set.Status.ObservedGeneration >= set.Generation && pod.Labels[revisionHashLabel] != set.Status.UpdateRevision
}
