package lab

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// refresh compares an Application with what is live, writes its status, and asks for an automated sync
// where one is due; begun tells of that. Source: controller/appcontroller.go, processAppRefreshQueueItem.
func (a *ArgoCD) refresh(ctx context.Context, app *argoApplication) (begun bool, err error) {
	name := app.Metadata.Name
	if app.Spec.from().Chart != "" {
		return false, a.refreshChart(ctx, app)
	}
	targets, revision, err := a.targets(ctx, app, app.Spec.from(), "")
	if err != nil {
		updateErr := a.update(ctx, name, func(app *argoApplication) bool {
			app.Status.Sync.Status, app.Status.Health.Status = argoUnknown, argoUnknown
			app.setCondition("ComparisonError", err.Error(), a)
			return true
		})
		return false, updateErr
	}
	resources, err := a.compare(ctx, app, targets)
	if err != nil {
		return false, err
	}
	status := argoSynced
	for _, resource := range resources {
		if resource.Status == argoOutOfSync {
			status = argoOutOfSync
		}
	}
	err = a.update(ctx, name, func(app *argoApplication) bool {
		before := app.Operation
		a.autoSync(app, status, revision, resources)
		begun = app.Operation != before
		app.Status.Sync = argoSyncStatus{
			Status: status, Revision: revision, ComparedTo: argoComparedTo{Source: app.Spec.from(), Destination: app.Spec.Destination},
		}
		app.Status.Health, app.Status.Resources, app.Status.SourceType = worstHealth(resources), resources, "Kustomize"
		if _, asked := app.Metadata.Annotations[argoRefreshAnnotation]; asked || app.Status.ReconciledAt == nil {
			now := a.timestamp()
			app.Status.ReconciledAt = &now
			delete(app.Metadata.Annotations, argoRefreshAnnotation)
		}
		return true
	})
	return begun && err == nil, err
}

// compare says of each object whether the live one is what applying it would make it. An object whose
// apply is refused differs, whatever the reason.
func (a *ArgoCD) compare(ctx context.Context, app *argoApplication, targets []*unstructured.Unstructured) ([]argoResource, error) {
	var resources []argoResource
	for _, target := range targets {
		resource, err := a.compareOne(ctx, target)
		if err != nil {
			return nil, fmt.Errorf("lab: compare %s: %w", describe(target), err)
		}
		if resource != nil {
			resources = append(resources, *resource)
		}
	}
	left, err := a.leftovers(ctx, app, targets)
	if err != nil {
		return nil, fmt.Errorf("lab: leftovers of Application %s: %w", app.Metadata.Name, err)
	}
	for _, object := range left {
		resource := resourceOf(object)
		resource.Status, resource.RequiresPruning, resource.Health = argoOutOfSync, true, a.healthOf(object)
		resources = append(resources, resource)
	}
	return resources, nil
}

// compareOne is nil for a hook that does not stand. A hook that stands is shown, and has no part in status and
// health. Source: controller/state.go, CompareAppState.
func (a *ArgoCD) compareOne(ctx context.Context, target *unstructured.Unstructured) (*argoResource, error) {
	resource := resourceOf(target)
	resource.SyncWave, resource.Hook = waveOf(target), len(hooksOf(target)) > 0
	if !resource.Hook && a.unknown(target) != "" {
		resource.Status, resource.Health = argoOutOfSync, &argoHealth{Status: healthMissing}
		return &resource, nil
	}
	live, err := a.apply.Get(ctx, target)
	switch {
	case resource.Hook && (apierrors.IsNotFound(err) || meta.IsNoMatchError(err)):
		return nil, nil
	case resource.Hook:
		return &resource, err
	case apierrors.IsNotFound(err):
		resource.Status, resource.Health = argoOutOfSync, &argoHealth{Status: healthMissing}
	case err != nil:
		return nil, err
	default:
		resource.Health, resource.Status = a.healthOf(live), argoSynced
		if !a.isSynced(ctx, target, live) {
			resource.Status = argoOutOfSync
		}
	}
	return &resource, nil
}

func resourceOf(object *unstructured.Unstructured) argoResource {
	kind := object.GroupVersionKind()
	return argoResource{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}

// sameState compares all but what the server writes by itself.
func sameState(live, applied *unstructured.Unstructured) bool {
	return reflect.DeepEqual(stateOf(live), stateOf(applied))
}

func stateOf(object *unstructured.Unstructured) map[string]any {
	state := object.DeepCopy().Object
	delete(state, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(state, "metadata", field)
	}
	return state
}

// autoSync asks for a sync of the revision, unless it is held back. Source: controller/
// appcontroller.go, autoSync.
func (a *ArgoCD) autoSync(app *argoApplication, status, revision string, resources []argoResource) {
	name := app.Metadata.Name
	if !app.Spec.automated() || app.Operation != nil || app.Metadata.DeletionTimestamp != nil || status != argoOutOfSync {
		app.setCondition("", "", a)
		return
	}
	policy, source := app.Spec.SyncPolicy, app.Spec.from()
	operation := &argoOperation{
		Sync:        &argoSync{Revision: revision, Prune: policy.Automated.Prune, SyncOptions: policy.SyncOptions, Source: &source},
		InitiatedBy: argoInitiator{Automated: true},
		Retry:       argoRetryStrategy{Limit: 5},
	}
	if policy.Retry != nil {
		operation.Retry = *policy.Retry
	}
	if attempted := app.attempted(revision); attempted != nil {
		last := fmt.Sprintf("[%s]", attempted.revision())
		if attempted.Phase != argoPhaseSucceeded {
			a.note(ArgoEvent{
				Application: name, Kind: ArgoGaveUp, Revision: revision,
				Message: fmt.Sprintf("Skipping auto-sync: failed previous sync attempt to %s and will not retry for [%s]", last, revision),
			})
			app.setCondition("SyncError", fmt.Sprintf("Failed last sync attempt to %s: %s", last, attempted.Message), a)
			return
		}
		if !policy.Automated.SelfHeal || a.now().Sub(a.finished[name]) < a.interval {
			return
		}
		operation.Sync.heal(attempted, resources)
	}
	app.setCondition("", "", a)
	app.Operation, app.Status.OperationState = operation, nil
}

// heal turns a sync into one of what differs alone.
func (s *argoSync) heal(attempted *argoOperationState, resources []argoResource) {
	if attempted.Operation.Sync != nil {
		s.SelfHealAttemptsCount = attempted.Operation.Sync.SelfHealAttemptsCount
	}
	s.SelfHealAttemptsCount++
	for _, resource := range resources {
		if resource.Status == argoOutOfSync {
			s.Resources = append(s.Resources, argoSyncResource{Group: resource.Group, Kind: resource.Kind, Name: resource.Name})
		}
	}
}

// attempted is the last operation when it was for this revision and source already; nil when a sync
// would be a new one. Source: alreadyAttemptedSync.
func (app *argoApplication) attempted(revision string) *argoOperationState {
	last := app.Status.OperationState
	switch {
	case last == nil:
		return nil
	case last.SyncResult == nil:
		if !last.completed() {
			return nil
		}
		return last
	case last.SyncResult.Revision != revision || last.SyncResult.Source != app.Spec.from():
		return nil
	}
	return last
}

// setCondition makes one condition the only one, or removes all.
func (app *argoApplication) setCondition(kind, message string, a *ArgoCD) {
	if kind == "" {
		app.Status.Conditions = nil
		return
	}
	if len(app.Status.Conditions) == 1 && app.Status.Conditions[0].Type == kind && app.Status.Conditions[0].Message == message {
		return
	}
	now := a.timestamp()
	app.Status.Conditions = []argoCondition{{Type: kind, Message: message, LastTransitionTime: &now}}
}
