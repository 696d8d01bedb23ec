package argocd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// waveAnnotation orders the objects of a sync. Source: gitops-engine pkg/sync/common/types.go.
const waveAnnotation = "argocd.argoproj.io/sync-wave"

func applicationSetsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}
}

// Managed are the Applications of all namespaces, by wave and name; none when Argo CD's definitions are not
// there. It asks once for Applications and, where one is made by an ApplicationSet, once for those. Part of an
// answer is none here: an Application that nobody sees would pass for one that is well.
//
// An Application of a set has the set's wave: the root's sync orders the sets, and nothing orders what one of
// them makes.
func Managed(ctx context.Context, api API) ([]recovery.ManagedApplication, error) {
	items, err := listWhole(ctx, api, applicationsResource())
	if err != nil || len(items) == 0 {
		return nil, err
	}
	found := make([]recovery.ManagedApplication, 0, len(items))
	ofSets := false
	for i := range items {
		app, err := managedOf(&items[i])
		if err != nil {
			return nil, err
		}
		ofSets = ofSets || app.Set != ""
		found = append(found, app)
	}
	if ofSets {
		sets, err := listWhole(ctx, api, applicationSetsResource())
		if err != nil {
			return nil, err
		}
		inherit(found, sets)
	}
	slices.SortFunc(found, func(x, y recovery.ManagedApplication) int {
		return cmp.Or(cmp.Compare(x.Wave, y.Wave), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Namespace, y.Namespace))
	})
	return found, nil
}

// listWhole lists a kind in all namespaces; a kind that is not there has no objects.
func listWhole(ctx context.Context, api API, gvr schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	items, gaps, err := api.List(ctx, gvr, "")
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case len(gaps) > 0:
		return nil, &recovery.Problem{
			What: fmt.Sprintf("list %s in all namespaces", gvr.GroupResource()), Why: "a part could not be read: " + gaps[0].Error(),
			Next: "have yourself allowed to list them in all namespaces", Err: gaps[0],
		}
	}
	return items, nil
}

// inherit gives the Applications of sets the wave of their set, and its maker: a set's Applications carry no mark of
// their own. One whose set is gone keeps what it has.
func inherit(apps []recovery.ManagedApplication, sets []unstructured.Unstructured) {
	byName := map[string]*unstructured.Unstructured{}
	for i := range sets {
		byName[sets[i].GetNamespace()+"/"+sets[i].GetName()] = &sets[i]
	}
	for i := range apps {
		if set := byName[apps[i].Namespace+"/"+apps[i].Set]; set != nil && apps[i].Set != "" {
			apps[i].Wave, apps[i].Parent = waveOf(set.GetAnnotations()), makerOf(set)
		}
	}
}

// makerOf is the Application whose tracking mark the object carries, empty for none.
func makerOf(object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	name, _ := trackedBy(Object{
		Group: kind.Group, Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName(), Annotations: object.GetAnnotations(),
	})
	return name
}

// waveOf is the sync wave; what is no number counts as none, as for Argo CD.
// Source: gitops-engine pkg/sync/syncwaves/waves.go.
func waveOf(annotations map[string]string) int {
	wave, err := strconv.Atoi(annotations[waveAnnotation])
	if err != nil {
		return 0
	}
	return wave
}

// details is what else is read of an Application here. Argo CD 3 writes no health of single objects into the
// status unless controller.resource.health.persist is set: then only what failed to sync is known by name.
// Source: argo-cd pkg/apis/application/v1alpha1/types.go.
type details struct {
	Spec struct {
		Destination struct {
			Namespace string `json:"namespace"`
		} `json:"destination"`
	} `json:"spec"`
	Status struct {
		Health struct {
			Message string `json:"message"`
		} `json:"health"`
		Sync struct {
			Revisions []string `json:"revisions"`
		} `json:"sync"`
		Resources []struct {
			resource
			Hook   bool `json:"hook"`
			Health *struct {
				Status  string `json:"status"`
				Message string `json:"message"`
			} `json:"health"`
		} `json:"resources"`
		OperationState *struct {
			SyncResult *struct {
				Resources []resourceResult `json:"resources"`
			} `json:"syncResult"`
		} `json:"operationState"`
	} `json:"status"`
}

// resourceResult is what a sync did to one object. Status is Synced, SyncFailed, Pruned or PruneSkipped; HookPhase
// is how far it is, of hooks and of what a wave waits for.
type resourceResult struct {
	resource
	Status    string `json:"status"`
	Message   string `json:"message"`
	HookPhase string `json:"hookPhase"`
	HookType  string `json:"hookType"`
}

func (r *resourceResult) failed() bool {
	return r.Status == "SyncFailed" || r.HookPhase == phaseFailed || r.HookPhase == phaseError
}

func managedOf(object *unstructured.Unstructured) (recovery.ManagedApplication, error) {
	app, err := decode(object)
	if err != nil {
		return recovery.ManagedApplication{}, err
	}
	var more details
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &more); err != nil {
		return recovery.ManagedApplication{}, &recovery.Problem{
			What: fmt.Sprintf("read Application %s/%s", app.Namespace, app.Name), Why: err.Error(),
			Next: "look at it: kubectl -n " + app.Namespace + " get applications.argoproj.io " + app.Name + " -o yaml",
			Err:  errors.Join(recovery.ErrDamaged, err),
		}
	}
	managed := recovery.ManagedApplication{
		Namespace: app.Namespace, Name: app.Name, Wave: waveOf(object.GetAnnotations()),
		RepoURL: app.RepoURL, Path: app.Path, Revision: app.TargetRevision, SyncRevision: app.SyncRevision,
		Sync: app.SyncStatus, Health: app.Health, GaveUp: GaveUp(app),
		Failed: more.failed(), Namespaces: more.namespaces(), Parent: makerOf(object), CreatedAt: app.state.Metadata.CreationTimestamp.UTC(),
	}
	if managed.SyncRevision == "" && len(more.Status.Sync.Revisions) > 0 {
		managed.SyncRevision = more.Status.Sync.Revisions[0]
	}
	for _, owner := range app.state.Metadata.OwnerReferences {
		if owner.Kind == "ApplicationSet" {
			managed.Set = owner.Name
		}
	}
	if app.Operation != nil {
		managed.Operation = app.Operation.Phase
	}
	if !managed.AtRest() {
		managed.Message = message(app, more.Status.Health.Message)
	}
	return managed, nil
}

// message is what Argo CD says of an Application that is not at rest: of its sync first, then its complaints,
// then its health.
func message(app *Application, health string) string {
	if operation := app.Operation; operation != nil && operation.Phase != phaseSucceeded && operation.Message != "" {
		return oneLine(operation.Message)
	}
	complaints := slices.DeleteFunc(slices.Clone(app.Conditions), func(condition string) bool {
		kind, _, _ := strings.Cut(condition, ":")
		return strings.HasSuffix(kind, "Warning")
	})
	if len(complaints) > 0 {
		return oneLine(strings.Join(complaints, "; "))
	}
	return oneLine(health)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// failed are the objects that the last sync failed on, then those that are not healthy, the worst first. One that
// is missing is none of them: before its wave everything is.
func (d *details) failed() []recovery.ManagedObject {
	failed := []recovery.ManagedObject{}
	seen := map[resource]bool{}
	if state := d.Status.OperationState; state != nil && state.SyncResult != nil {
		for _, result := range state.SyncResult.Resources {
			if result.failed() && !seen[result.resource] {
				seen[result.resource] = true
				failed = append(failed, managedObject(result.resource, result.HookType != "", result.Message))
			}
		}
	}
	for _, health := range []string{"Degraded", "Progressing", "Suspended"} {
		for _, item := range d.Status.Resources {
			if item.Health == nil || item.Health.Status != health || seen[item.resource] {
				continue
			}
			seen[item.resource] = true
			failed = append(failed, managedObject(item.resource, item.Hook, strings.TrimSuffix(health+": "+item.Health.Message, ": ")))
		}
	}
	return failed
}

func managedObject(of resource, hook bool, text string) recovery.ManagedObject {
	return recovery.ManagedObject{Kind: of.Kind, Namespace: of.Namespace, Name: of.Name, Hook: hook, Message: oneLine(text)}
}

// namespaces are those of the Application's objects, and the one that it deploys to.
func (d *details) namespaces() []string {
	found := []string{}
	add := func(namespace string) {
		if namespace != "" && !slices.Contains(found, namespace) {
			found = append(found, namespace)
		}
	}
	add(d.Spec.Destination.Namespace)
	for _, item := range d.Status.Resources {
		add(item.Namespace)
	}
	if state := d.Status.OperationState; state != nil && state.SyncResult != nil {
		for _, result := range state.SyncResult.Resources {
			add(result.Namespace)
		}
	}
	slices.Sort(found)
	return found
}
