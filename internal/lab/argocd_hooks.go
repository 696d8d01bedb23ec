package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// argoHookRemoval bounds how long the hook of an earlier sync may take to go.
const argoHookRemoval = 20 * time.Second

// judgeRunning brings what was applied up to date: an object is done when it is healthy, or has no health, and
// fails when it is degraded. Source: gitops-engine pkg/sync/sync_context.go, Sync and getOperationPhase.
func (a *ArgoCD) judgeRunning(ctx context.Context, tasks []*argoTask) {
	for _, task := range chosen(tasks, (*argoTask).running) {
		live, err := a.apply.Get(ctx, task.object)
		if err != nil {
			continue // a running task may have no live object for a moment
		}
		health := a.healthOf(live)
		switch {
		case health == nil:
			task.result.HookPhase = argoPhaseSucceeded
		case health.Status == healthHealthy:
			task.result.HookPhase = argoPhaseSucceeded
			task.tell(health)
		case health.Status == healthDegraded:
			task.result.HookPhase = argoPhaseFailed
			task.tell(health)
		case health.Status == healthUnknown && task.hook:
			task.result.HookPhase = argoPhaseError
			task.tell(health)
		}
	}
}

// tell keeps the words of the object's health.
func (t *argoTask) tell(health *argoHealth) {
	if health.Message != "" {
		t.result.Message = health.Message
	}
}

// removeHook removes what an earlier sync left of a hook, unless its policies are others than
// BeforeHookCreation, which holds where none is given. Source: docs/user-guide/sync-waves.md.
func (a *ArgoCD) removeHook(ctx context.Context, hook *unstructured.Unstructured) error {
	policies := commaSeparated(hook, argoHookDeleteAnnotation)
	if len(policies) > 0 && !slices.Contains(policies, "BeforeHookCreation") {
		return nil
	}
	if err := a.deleteHook(ctx, hook); err != nil {
		return err
	}
	for deadline := a.now().Add(argoHookRemoval); a.exists(ctx, hook); {
		if a.now().After(deadline) {
			return fmt.Errorf("hook %s of an earlier sync does not go", describe(hook))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(argoTick):
		}
	}
	return nil
}

// sweepHooks removes the hooks of a sync that succeeded and that say so.
func (a *ArgoCD) sweepHooks(ctx context.Context, tasks []*argoTask) {
	for _, task := range tasks {
		if !task.hook || !slices.Contains(commaSeparated(task.object, argoHookDeleteAnnotation), "HookSucceeded") {
			continue
		}
		if err := a.deleteHook(ctx, task.object); err != nil {
			task.result.Message = fmt.Sprintf("failed to delete resource: %v", err)
		}
	}
}

func (a *ArgoCD) deleteHook(ctx context.Context, hook *unstructured.Unstructured) error {
	resource, err := a.apply.resource(hook.GroupVersionKind(), hook.GetNamespace())
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	policy := metav1.DeletePropagationBackground
	err = resource.Delete(ctx, hook.GetName(), metav1.DeleteOptions{PropagationPolicy: &policy})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
