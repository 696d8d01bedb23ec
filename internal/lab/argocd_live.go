package lab

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

func (a *ArgoCD) client() dynamic.ResourceInterface {
	resource := schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	return a.apply.client.Resource(resource).Namespace(ArgoNamespace)
}

func (a *ArgoCD) applications(ctx context.Context) ([]*argoApplication, error) {
	listed, err := a.client().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("lab: list Applications: %w", err)
	}
	var apps []*argoApplication
	for i := range listed.Items {
		app, err := decodeApplication(&listed.Items[i])
		if err != nil {
			return nil, err
		}
		apps = append(apps, app)
	}
	return apps, nil
}

func (a *ArgoCD) get(ctx context.Context, name string) (*argoApplication, error) {
	live, err := a.client().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("lab: get Application %s: %w", name, err)
	}
	return decodeApplication(live)
}

func decodeApplication(live *unstructured.Unstructured) (*argoApplication, error) {
	app := &argoApplication{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, app); err != nil {
		return nil, fmt.Errorf("lab: read Application %s: %w", live.GetName(), err)
	}
	return app, nil
}

// update changes operation, status and annotations of an Application as it stands on the server, again
// after each conflict: a client may ask for a sync or a termination at any time. change answers false to
// leave all as it is.
func (a *ArgoCD) update(ctx context.Context, name string, change func(*argoApplication) bool) error {
	for {
		live, err := a.client().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("lab: get Application %s: %w", name, err)
		}
		app, err := decodeApplication(live)
		if err != nil || !change(app) {
			return err
		}
		changed, err := encodeApplication(live, app)
		if err != nil {
			return err
		}
		if reflect.DeepEqual(changed.Object, live.Object) {
			return nil
		}
		_, err = a.client().Update(ctx, changed, metav1.UpdateOptions{FieldManager: "argocd-application-controller"})
		if err == nil || !apierrors.IsConflict(err) {
			return wrap(err, "update Application "+name)
		}
	}
}

func encodeApplication(live *unstructured.Unstructured, app *argoApplication) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(app)
	if err != nil {
		return nil, fmt.Errorf("lab: write Application %s: %w", live.GetName(), err)
	}
	changed := live.DeepCopy()
	changed.SetAnnotations(app.Metadata.Annotations)
	changed.Object["status"] = content["status"]
	delete(changed.Object, "operation")
	if operation, exists := content["operation"]; exists {
		changed.Object["operation"] = operation
	}
	return changed, nil
}

// Track makes an Application that follows the branch GitBranch below path, as the platform's
// ApplicationSets make theirs: automated, with prune, self-heal, server-side apply and the options'
// retries. It names the remote by repoURL; empty means the remote's own URL.
func (a *ArgoCD) Track(ctx context.Context, name, path, repoURL string) error {
	if repoURL == "" {
		repoURL = a.remote.URL
	}
	app := reference("argoproj.io/v1alpha1", "Application", ArgoNamespace, name)
	app.Object["spec"] = map[string]any{
		"project":     "default",
		"source":      map[string]any{"repoURL": repoURL, "targetRevision": GitBranch, "path": path},
		"destination": map[string]any{"server": "https://kubernetes.default.svc"},
		"syncPolicy": map[string]any{
			"automated":   map[string]any{"prune": true, "selfHeal": true},
			"syncOptions": []any{"ServerSideApply=true"},
			"retry": map[string]any{
				"limit": a.retry.Limit,
				"backoff": map[string]any{
					"duration": a.retry.Backoff.String(), "factor": a.retry.Factor, "maxDuration": a.retry.MaxBackoff.String(),
				},
			},
		},
	}
	return a.apply.Apply(ctx, app)
}

// ArgoState is what an Application's status says.
type ArgoState struct {
	// Sync is Synced, OutOfSync or Unknown, at Revision.
	Sync, Revision string
	// Health is Healthy, Progressing, Degraded, Suspended, Missing or Unknown.
	Health string
	// Phase, Message and Retries are those of the operation under way, or of the last one; OperationRevision is
	// the commit that it syncs.
	Phase, Message, OperationRevision string
	Retries                           int64
	// Condition is the message of the SyncError condition: why nothing is tried any more.
	Condition string
}

// String is one line for a failed test.
func (s ArgoState) String() string {
	return fmt.Sprintf("%s at %.7s, %s; operation %s at %.7s after %s retries: %s %s",
		s.Sync, s.Revision, s.Health, s.Phase, s.OperationRevision, strconv.FormatInt(s.Retries, 10), s.Message, s.Condition)
}

// State reads an Application's status.
func (a *ArgoCD) State(ctx context.Context, name string) (ArgoState, error) {
	app, err := a.get(ctx, name)
	if err != nil {
		return ArgoState{}, err
	}
	state := ArgoState{Sync: app.Status.Sync.Status, Revision: app.Status.Sync.Revision, Health: app.Status.Health.Status}
	if operation := app.Status.OperationState; operation != nil {
		state.Phase, state.Message, state.Retries = operation.Phase, operation.Message, operation.RetryCount
		if operation.SyncResult != nil {
			state.OperationRevision = operation.SyncResult.Revision
		}
	}
	for _, condition := range app.Status.Conditions {
		state.Condition = condition.Message
	}
	return state, nil
}

// WaitFor waits until an Application's status is as wanted, and says what it was when it never is.
func (a *ArgoCD) WaitFor(ctx context.Context, name string, wanted func(ArgoState) bool) (ArgoState, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		state, err := a.State(ctx, name)
		if err == nil && wanted(state) {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return state, fmt.Errorf("lab: Application %s is %s: %w", name, state, ctx.Err())
		case <-time.After(argoTick / 2):
		}
	}
}
