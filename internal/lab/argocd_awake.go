package lab

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// argoHealthKey is the key of argocd-cm that gives Applications a health in the eyes of their parent.
const argoHealthKey = "resource.customizations.health.argoproj.io_Application"

// argoController is the workload that a dormant stand-in plays, as the chart calls it.
const argoController = "argocd-application-controller"

// argoSettings is how often the controller's own configuration is read. The real one watches it.
const argoSettings = 500 * time.Millisecond

// awake reports whether there is somebody to act: a dormant stand-in is what the controller's Pod would be, so it
// does nothing while none is ready. What it remembered is gone with that Pod.
func (a *ArgoCD) awake(ctx context.Context) bool {
	if a.dormant && !a.controllerReady(ctx) {
		clear(a.refreshed)
		clear(a.finished)
		clear(a.generated)
		a.mu.Lock()
		clear(a.charts)
		a.mu.Unlock()
		return false
	}
	if now := a.now(); now.Sub(a.configured) >= argoSettings {
		a.configured = now
		a.appsCount = a.healthOfApps || a.configuredHealth(ctx)
	}
	return true
}

func (a *ArgoCD) controllerReady(ctx context.Context) bool {
	for _, kind := range []string{"statefulsets", "deployments"} {
		resource := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: kind}
		live, err := a.apply.client.Resource(resource).Namespace(ArgoNamespace).Get(ctx, argoController, metav1.GetOptions{})
		if err != nil || live.GetDeletionTimestamp() != nil {
			continue
		}
		if ready, _, _ := unstructured.NestedInt64(live.Object, "status", "readyReplicas"); ready > 0 {
			return true
		}
	}
	return false
}

// configuredHealth reports whether argocd-cm says how to tell an Application's health. (The script itself is taken
// to be the one of Argo CD's documentation.) Source: docs/operator-manual/health.md.
func (a *ArgoCD) configuredHealth(ctx context.Context) bool {
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	settings, err := a.apply.client.Resource(resource).Namespace(ArgoNamespace).Get(ctx, "argocd-cm", metav1.GetOptions{})
	if err != nil {
		return false
	}
	script, _, _ := unstructured.NestedString(settings.Object, "data", argoHealthKey)
	return script != ""
}

// ChartHealth decides what becomes of an Application whose source is a chart, from now on: its health and
// message. An empty health lets it become Healthy by itself again.
func (a *ArgoCD) ChartHealth(name, health, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if health == "" {
		delete(a.ordered, name)
		return
	}
	a.ordered[name] = argoHealth{Status: health, Message: message}
}

// chartHealth is the health of a chart's Application that the stand-in first saw at a time.
func (a *ArgoCD) chartHealth(name string, uid types.UID) argoHealth {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ordered, found := a.ordered[name]; found {
		return ordered
	}
	first, seen := a.charts[uid]
	if !seen {
		first = a.now()
		a.charts[uid] = first
	}
	if a.now().Sub(first) < a.chartDelay {
		return argoHealth{Status: healthProgressing}
	}
	return argoHealth{Status: healthHealthy}
}

// refreshChart plays an Application whose source is a chart: nothing of it is rendered or applied. It is Synced at
// once, and Healthy after a while.
func (a *ArgoCD) refreshChart(ctx context.Context, app *argoApplication) error {
	source, name := app.Spec.from(), app.Metadata.Name
	health := a.chartHealth(name, app.Metadata.UID)
	return a.update(ctx, name, func(app *argoApplication) bool {
		if last := app.Status.OperationState; last == nil || !last.completed() || last.revision() != source.TargetRevision {
			now := a.timestamp()
			app.Status.OperationState = &argoOperationState{
				Phase: argoPhaseSucceeded, Message: "successfully synced (all tasks run)", StartedAt: now, FinishedAt: &now,
				Operation:  argoOperation{Sync: &argoSync{Revision: source.TargetRevision}, InitiatedBy: argoInitiator{Automated: true}},
				SyncResult: &argoSyncResult{Revision: source.TargetRevision, Source: source},
			}
		}
		app.Operation = nil
		app.Status.Sync = argoSyncStatus{
			Status: argoSynced, Revision: source.TargetRevision, ComparedTo: argoComparedTo{Source: source, Destination: app.Spec.Destination},
		}
		app.Status.Health, app.Status.SourceType = health, "Helm"
		if _, asked := app.Metadata.Annotations[argoRefreshAnnotation]; asked || app.Status.ReconciledAt == nil {
			now := a.timestamp()
			app.Status.ReconciledAt = &now
			delete(app.Metadata.Annotations, argoRefreshAnnotation)
		}
		return true
	})
}
