// Package argocd reads and steers the Argo CD Application that owns an object: which one it is, what it
// is doing, ending its operation, syncing a commit, and whether it arrived there. It speaks to
// Applications as objects of the Kubernetes API, as Argo CD's own server does; it needs no account of
// Argo CD.
//
// It must not import other packages of drctl than recovery. The requests go through whoever can read
// and patch objects.
package argocd

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// API reads and patches objects of a live cluster. A JSON patch whose test fails is
// recovery.ErrConflict, an object or kind that is not there recovery.ErrNotFound.
type API interface {
	Get(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error)
	List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error)
	PatchJSON(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error)
	PatchMerge(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error)
}

// Application is an Argo CD Application as far as a recovery needs it.
type Application struct {
	Namespace, Name, Project string
	// RepoURL, Path and TargetRevision are those of the first source. MultiSource is true when there
	// are several: then a revision alone does not say what is synced.
	RepoURL, Path, TargetRevision string
	MultiSource                   bool
	// AutoSync: Argo CD syncs a new commit by itself. SelfHeal: it also mends what changes in the
	// cluster.
	AutoSync, SelfHeal bool
	// SyncStatus is Synced, OutOfSync or Unknown, compared with SyncRevision, which is the commit that
	// Argo CD last found at TargetRevision.
	SyncStatus, SyncRevision string
	// Health is Healthy, Progressing, Degraded, Suspended, Missing or Unknown.
	Health string
	// Conditions are Argo CD's complaints, each as "Type: message".
	Conditions []string
	// Operation is the one in progress, else the last one; nil when there was none.
	Operation *Operation

	resourceVersion string
	state           manifest
}

// Operation is a sync, running or done.
type Operation struct {
	// Phase is Running, Terminating, Succeeded, Failed or Error; Requested when the controller has not
	// begun it yet.
	Phase string
	// Revision is the commit that it syncs. An operation keeps it over all of its retries. Empty when
	// it is not decided yet.
	Revision string
	Message  string
	// Retries is how often it was tried again.
	Retries int64
	// StartedAt and FinishedAt are zero when they are not known.
	StartedAt, FinishedAt time.Time
	// Running is true until it has ended for good; between two attempts, too.
	Running bool
	// Username is who began it, empty for Argo CD itself.
	Username string
}

// PhaseRequested is the phase of an operation that waits for the controller.
const PhaseRequested = "Requested"

// The phases that Argo CD writes. Source: argo-cd gitops-engine pkg/sync/common/types.go.
const (
	phaseRunning     = "Running"
	phaseTerminating = "Terminating"
	phaseSucceeded   = "Succeeded"
	phaseFailed      = "Failed"
	phaseError       = "Error"
)

func applicationsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
}

// manifest is the part of an Application that is read; Argo CD's own module is not needed for it.
// Source: argo-cd pkg/apis/application/v1alpha1/types.go.
type manifest struct {
	Metadata  metav1.ObjectMeta `json:"metadata"`
	Spec      specification     `json:"spec"`
	Operation *request          `json:"operation"`
	Status    status            `json:"status"`
}

type specification struct {
	Project     string   `json:"project"`
	Source      *source  `json:"source"`
	Sources     []source `json:"sources"`
	Destination struct {
		Server string `json:"server"`
		Name   string `json:"name"`
	} `json:"destination"`
	SyncPolicy struct {
		Automated *struct {
			Enabled  *bool `json:"enabled"`
			Prune    bool  `json:"prune"`
			SelfHeal bool  `json:"selfHeal"`
		} `json:"automated"`
		SyncOptions []string       `json:"syncOptions"`
		Retry       map[string]any `json:"retry"`
	} `json:"syncPolicy"`
}

type source struct {
	RepoURL        string `json:"repoURL"`
	Path           string `json:"path"`
	TargetRevision string `json:"targetRevision"`
}

// request is an operation as it is asked for.
type request struct {
	Sync *struct {
		Revision string `json:"revision"`
	} `json:"sync"`
	InitiatedBy struct {
		Username string `json:"username"`
	} `json:"initiatedBy"`
}

type status struct {
	Sync struct {
		Status   string `json:"status"`
		Revision string `json:"revision"`
	} `json:"sync"`
	Health struct {
		Status string `json:"status"`
	} `json:"health"`
	Resources []resource `json:"resources"`
	Condition []struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"conditions"`
	OperationState *operationState `json:"operationState"`
}

type resource struct {
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type operationState struct {
	Operation  request     `json:"operation"`
	Phase      string      `json:"phase"`
	Message    string      `json:"message"`
	RetryCount int64       `json:"retryCount"`
	StartedAt  metav1.Time `json:"startedAt"`
	FinishedAt metav1.Time `json:"finishedAt"`
	SyncResult *struct {
		Revision string `json:"revision"`
	} `json:"syncResult"`
}

// Read reads one Application as it stands.
func Read(ctx context.Context, api API, namespace, name string) (*Application, error) {
	object, err := api.Get(ctx, applicationsResource(), namespace, name)
	if err != nil {
		return nil, err
	}
	return decode(object)
}

func decode(object *unstructured.Unstructured) (*Application, error) {
	var m manifest
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &m); err != nil {
		return nil, &recovery.Problem{
			What: fmt.Sprintf("read Application %s/%s", object.GetNamespace(), object.GetName()),
			Why:  err.Error(),
			Next: "look at it: kubectl -n " + object.GetNamespace() + " get applications.argoproj.io " + object.GetName() + " -o yaml",
			Err:  errors.Join(recovery.ErrDamaged, err),
		}
	}
	app := &Application{
		Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, Project: m.Spec.Project,
		MultiSource: len(m.Spec.Sources) > 0,
		SyncStatus:  m.Status.Sync.Status, SyncRevision: m.Status.Sync.Revision, Health: m.Status.Health.Status,
		Operation: operationOf(&m), resourceVersion: m.Metadata.ResourceVersion, state: m,
	}
	if from := m.Spec.firstSource(); from != nil {
		app.RepoURL, app.Path, app.TargetRevision = from.RepoURL, from.Path, from.TargetRevision
	}
	if automated := m.Spec.SyncPolicy.Automated; automated != nil {
		app.AutoSync = automated.Enabled == nil || *automated.Enabled
		app.SelfHeal = app.AutoSync && automated.SelfHeal
	}
	for _, condition := range m.Status.Condition {
		app.Conditions = append(app.Conditions, condition.Type+": "+condition.Message)
	}
	return app, nil
}

// firstSource is spec.source, which Argo CD leaves out of account where there are sources.
func (s *specification) firstSource() *source {
	if len(s.Sources) > 0 {
		return &s.Sources[0]
	}
	return s.Source
}

// operationOf joins the operation that is asked for with the state of the last one: the controller
// takes a new request up after a moment, and keeps it until the operation has ended.
// Source: argo-cd controller/appcontroller.go processRequestedAppOperation, setOperationState.
func operationOf(m *manifest) *Operation {
	state := m.Status.OperationState
	if m.Operation != nil && (state == nil || completed(state.Phase)) {
		return &Operation{Phase: PhaseRequested, Revision: m.Operation.revision(), Running: true, Username: m.Operation.InitiatedBy.Username}
	}
	if state == nil {
		return nil
	}
	operation := &Operation{
		Phase: state.Phase, Revision: state.Operation.revision(), Message: state.Message, Retries: state.RetryCount,
		StartedAt: state.StartedAt.UTC(), FinishedAt: state.FinishedAt.UTC(),
		Running: !completed(state.Phase), Username: state.Operation.InitiatedBy.Username,
	}
	if state.SyncResult != nil && state.SyncResult.Revision != "" {
		operation.Revision = state.SyncResult.Revision
	}
	return operation
}

func (r *request) revision() string {
	if r.Sync == nil {
		return ""
	}
	return r.Sync.Revision
}

func completed(phase string) bool {
	return phase == phaseSucceeded || phase == phaseFailed || phase == phaseError
}
