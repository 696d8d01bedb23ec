package lab

import (
	"context"
	"errors"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// The marks of an Application's objects, by the platform's tracking method "annotation+label".
const (
	argoTrackingAnnotation = "argocd.argoproj.io/tracking-id"
	argoTrackingLabel      = "app.kubernetes.io/instance"
)

// syncTo takes a sync as far as it goes without waiting: resolve the revision, build, dry-run everything once,
// then apply the objects of the next wave. What is still Running afterwards is to be called again.
// Source: controller/sync.go, SyncAppState; gitops-engine pkg/sync/sync_context.go, Sync.
func (a *ArgoCD) syncTo(ctx context.Context, app *argoApplication, state *argoOperationState) {
	request := state.Operation.Sync
	if request == nil {
		state.Phase, state.Message = argoPhaseError, "Invalid operation request: no operation specified"
		return
	}
	if state.SyncResult == nil {
		state.SyncResult = &argoSyncResult{Revision: request.Revision, Source: app.Spec.from()}
		if request.Source != nil {
			state.SyncResult.Source = *request.Source
		}
	}
	targets, revision, err := a.targets(ctx, app, state.SyncResult.Source, state.SyncResult.Revision)
	if err != nil {
		state.Phase, state.Message = argoPhaseError, err.Error()
		return
	}
	state.SyncResult.Revision = revision
	tasks := tasksOf(targets, request, state.SyncResult.Resources)
	if len(state.SyncResult.Resources) == 0 && !a.begin(ctx, app, tasks, state) {
		state.SyncResult.Resources = resultsOf(tasks)
		return
	}
	a.step(ctx, tasks, state)
	state.SyncResult.Resources = resultsOf(tasks)
	if state.Phase != argoPhaseSucceeded {
		return
	}
	a.sweepHooks(ctx, tasks)
	if request.Prune {
		if err := a.prune(ctx, app, targets, state.SyncResult); err != nil {
			state.Phase, state.Message = argoPhaseFailed, "one or more objects failed to apply, reason: "+err.Error()
		}
	}
}

func (s *argoSync) includes(target *unstructured.Unstructured) bool {
	kind := target.GroupVersionKind()
	return len(s.Resources) == 0 || slices.Contains(s.Resources, argoSyncResource{Group: kind.Group, Kind: kind.Kind, Name: target.GetName()})
}

// begin dry-runs everything; false when the sync ends with that. What lives in a namespace of the same sync is
// left out, as it may not be there yet, and so is a kind whose definition is part of it.
func (a *ArgoCD) begin(ctx context.Context, app *argoApplication, tasks []*argoTask, state *argoOperationState) bool {
	if app.Spec.option("CreateNamespace=true") && app.Spec.Destination.Namespace != "" {
		if _, err := a.applyOne(ctx, reference("v1", "Namespace", "", app.Spec.Destination.Namespace), false); err != nil {
			state.Phase, state.Message = argoPhaseFailed, "one or more objects failed to apply, reason: "+err.Error()
			return false
		}
	}
	invalid := false
	for _, task := range tasks {
		if message := a.unknown(task.object); message != "" && !task.skipsDryRun(app) && !defines(tasks, task.object) {
			task.end(argoSyncFailed, argoPhaseFailed, message)
			invalid = true
		}
	}
	if invalid {
		state.Phase, state.Message = argoPhaseFailed, "one or more synchronization tasks are not valid"
		return false
	}
	if !a.applyAll(ctx, tasks, true) {
		state.Phase, state.Message = argoPhaseFailed, "one or more objects failed to apply, reason: "+failuresOf(tasks)
		return false
	}
	if state.Operation.Sync.DryRun {
		state.Phase, state.Message = argoPhaseSucceeded, "successfully dry-run"
		return false
	}
	for _, task := range tasks {
		task.result = nil
	}
	return true
}

// defines reports whether one of the objects is the definition of this one's kind.
func defines(tasks []*argoTask, object *unstructured.Unstructured) bool {
	kind := object.GroupVersionKind()
	return slices.ContainsFunc(tasks, func(t *argoTask) bool {
		group, _, _ := unstructured.NestedString(t.object.Object, "spec", "group")
		name, _, _ := unstructured.NestedString(t.object.Object, "spec", "names", "kind")
		return t.object.GetKind() == crdKind && group == kind.Group && name == kind.Kind
	})
}

// step applies the next wave once all of the former one is healthy. The objects of the last wave are not waited
// for: a sync without waves and hooks is over when everything is applied.
func (a *ArgoCD) step(ctx context.Context, tasks []*argoTask, state *argoOperationState) {
	a.judgeRunning(ctx, tasks)
	steps := inSteps(tasks)
	if running := chosen(tasks, func(t *argoTask) bool { return t.running() && (steps || t.hook) }); len(running) > 0 {
		state.Phase, state.Message = argoPhaseRunning, waitingFor(running)
		return
	}
	if slices.ContainsFunc(tasks, (*argoTask).failed) {
		state.Phase, state.Message = argoPhaseFailed, withReason("one or more synchronization tasks completed unsuccessfully", tasks)
		return
	}
	pending := chosen(tasks, (*argoTask).pending)
	if len(pending) == 0 {
		state.Phase, state.Message = argoPhaseSucceeded, "successfully synced (no more tasks)"
		return
	}
	wave := chosen(pending, func(t *argoTask) bool { return t.sameStep(pending[0]) })
	left := chosen(pending, func(t *argoTask) bool { return t.hook || !t.sameStep(pending[0]) })
	switch {
	case !a.applyAll(ctx, wave, false):
		state.Phase, state.Message = argoPhaseFailed, withReason("one or more objects failed to apply", tasks)
	case len(left) > 0:
		state.Phase, state.Message = argoPhaseRunning, waitingFor(left)
	default:
		state.Phase, state.Message = argoPhaseSucceeded, "successfully synced (all tasks run)"
	}
}

func withReason(message string, tasks []*argoTask) string {
	if reason := failuresOf(tasks); reason != "" {
		return message + ", reason: " + reason
	}
	return message
}

// applyAll applies the objects in order, all of them whatever fails, and reports whether nothing did.
func (a *ArgoCD) applyAll(ctx context.Context, tasks []*argoTask, dryRun bool) bool {
	own, good := map[string]bool{}, true
	for _, task := range tasks {
		target := task.object
		if dryRun && (a.unknown(target) != "" || own[target.GetNamespace()] && !a.exists(ctx, reference("v1", "Namespace", "", target.GetNamespace()))) {
			continue
		}
		if target.GetKind() == "Namespace" {
			own[target.GetName()] = true
		}
		if err := a.applyTask(ctx, task, dryRun); err != nil {
			task.end(argoSyncFailed, argoPhaseFailed, err.Error())
			good = false
			continue
		}
		task.end(argoSynced, argoPhaseRunning, "serverside-applied")
	}
	return good
}

// applyTask applies one object; a hook that an earlier sync left is removed first.
func (a *ArgoCD) applyTask(ctx context.Context, task *argoTask, dryRun bool) error {
	if task.hook && !dryRun {
		if err := a.removeHook(ctx, task.object); err != nil {
			return err
		}
	}
	if message := a.unknown(task.object); message != "" {
		return errors.New(message)
	}
	_, err := a.applyOne(ctx, task.object, dryRun)
	return err
}

func resultFor(object *unstructured.Unstructured, status, message string) argoResourceResult {
	kind := object.GroupVersionKind()
	return argoResourceResult{
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		Status: status, Message: message, SyncPhase: "Sync",
	}
}

// applyOne applies one object as Argo CD does: server-side, forced, strictly. What is absent is created.
func (a *ArgoCD) applyOne(ctx context.Context, target *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	resource, err := a.apply.resource(target.GroupVersionKind(), target.GetNamespace())
	if err != nil {
		return nil, err
	}
	body, err := target.MarshalJSON()
	if err != nil {
		return nil, err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: ArgoManager, Force: &force, FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return resource.Patch(ctx, target.GetName(), types.ApplyPatchType, body, options)
}

func (a *ArgoCD) exists(ctx context.Context, object *unstructured.Unstructured) bool {
	_, err := a.apply.Get(ctx, object)
	return err == nil
}
