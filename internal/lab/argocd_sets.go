package lab

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// argoSet is the part of an ApplicationSet that is played.
type argoSet struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		GoTemplate        bool            `json:"goTemplate"`
		GoTemplateOptions []string        `json:"goTemplateOptions"`
		Generators        []argoSetSource `json:"generators"`
		Template          map[string]any  `json:"template"`
	} `json:"spec"`
}

type argoSetSource struct {
	Git *struct {
		Revision    string `json:"revision"`
		Directories []struct {
			Path    string `json:"path"`
			Exclude bool   `json:"exclude"`
		} `json:"directories"`
	} `json:"git"`
}

func (a *ArgoCD) setClient() dynamic.ResourceInterface {
	resource := schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}
	return a.apply.client.Resource(resource).Namespace(ArgoNamespace)
}

// generate plays the ApplicationSet controller: each set makes its Applications, owns them, and deletes those
// that it does not name any more. A set is looked at again when its spec changed, and after the interval.
// Source: argo-cd applicationset/controllers/applicationset_controller.go.
func (a *ArgoCD) generate(ctx context.Context) {
	if a.now().Sub(a.setsListed) < argoSettings {
		return
	}
	a.setsListed = a.now()
	sets, err := a.setClient().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return // its definition may not be there; an API server that is gone is asked again
	}
	for i := range sets.Items {
		live := &sets.Items[i]
		key := fmt.Sprintf("%s %d", live.GetUID(), live.GetGeneration())
		if live.GetDeletionTimestamp() != nil || a.now().Sub(a.generated[key]) < a.interval {
			continue
		}
		a.generated[key] = a.now()
		if err := a.generateOne(ctx, live); err != nil && ctx.Err() == nil {
			a.note(ArgoEvent{Application: live.GetName(), Kind: ArgoFailedRound, Message: err.Error()})
		}
	}
}

func (a *ArgoCD) generateOne(ctx context.Context, live *unstructured.Unstructured) error {
	applications, err := a.applicationsOf(ctx, live)
	if err != nil {
		return a.judgeSet(ctx, live, err)
	}
	names := map[string]bool{}
	for _, app := range applications {
		if names[app.GetName()] {
			return a.judgeSet(ctx, live, fmt.Errorf("ApplicationSet %s contains applications with duplicate name: %s", live.GetName(), app.GetName()))
		}
		names[app.GetName()] = true
	}
	for _, app := range applications {
		if err := a.createOrUpdate(ctx, app); err != nil {
			return a.judgeSet(ctx, live, err)
		}
	}
	return a.judgeSet(ctx, live, a.deleteOthers(ctx, live, names))
}

// applicationsOf renders the set's Applications.
func (a *ArgoCD) applicationsOf(ctx context.Context, live *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	set := &argoSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, set); err != nil {
		return nil, fmt.Errorf("lab: read ApplicationSet %s: %w", live.GetName(), err)
	}
	if !set.Spec.GoTemplate {
		return nil, fmt.Errorf("lab: ApplicationSet %s: only sets with goTemplate are played", live.GetName())
	}
	var applications []*unstructured.Unstructured
	for _, generator := range set.Spec.Generators {
		if generator.Git == nil || len(generator.Git.Directories) == 0 {
			return nil, fmt.Errorf("lab: ApplicationSet %s: only the Git generator's directories are played", live.GetName())
		}
		directories, err := a.directories(ctx, generator)
		if err != nil {
			return nil, err
		}
		for _, directory := range directories {
			app, err := set.application(directory)
			if err != nil {
				return nil, err
			}
			yes := true
			app.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: "argoproj.io/v1alpha1", Kind: "ApplicationSet", Name: live.GetName(), UID: live.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes,
			}})
			applications = append(applications, app)
		}
	}
	return applications, nil
}

// directories are the folders of the tree that the generator chooses, sorted.
// Source: applicationset/generators/git.go, filterApps.
func (a *ArgoCD) directories(ctx context.Context, generator argoSetSource) ([]string, error) {
	hash, err := a.resolve(ctx, generator.Git.Revision)
	if err != nil {
		return nil, err
	}
	all, known := a.folders[hash]
	if !known {
		listed, err := git(ctx, a.remote.Dir, "ls-tree", "-r", "-d", "--name-only", hash)
		if err != nil {
			return nil, err
		}
		all = strings.Fields(listed)
		a.folders[hash] = all
	}
	var some []string
	for _, directory := range all {
		included, excluded := false, false
		for _, wanted := range generator.Git.Directories {
			matches, err := path.Match(wanted.Path, directory)
			if err != nil {
				return nil, fmt.Errorf("lab: directories %q: %w", wanted.Path, err)
			}
			included, excluded = included || matches && !wanted.Exclude, excluded || matches && wanted.Exclude
		}
		if included && !excluded {
			some = append(some, directory)
		}
	}
	slices.Sort(some)
	return some, nil
}

// createOrUpdate makes the Application, or gives it the set's spec, labels and annotations. What the
// controller of Applications wrote stays.
func (a *ArgoCD) createOrUpdate(ctx context.Context, app *unstructured.Unstructured) error {
	live, err := a.client().Get(ctx, app.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = a.client().Create(ctx, app, metav1.CreateOptions{FieldManager: "argocd-applicationset-controller"})
		return wrap(err, "create Application "+app.GetName())
	}
	if err != nil {
		return wrap(err, "get Application "+app.GetName())
	}
	changed := live.DeepCopy()
	changed.Object["spec"] = app.Object["spec"]
	changed.SetLabels(app.GetLabels())
	changed.SetOwnerReferences(app.GetOwnerReferences())
	annotations := app.GetAnnotations()
	if value, asked := live.GetAnnotations()[argoRefreshAnnotation]; asked {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[argoRefreshAnnotation] = value
	}
	changed.SetAnnotations(annotations)
	if reflect.DeepEqual(changed.Object, live.Object) {
		return nil
	}
	_, err = a.client().Update(ctx, changed, metav1.UpdateOptions{FieldManager: "argocd-applicationset-controller"})
	if apierrors.IsConflict(err) {
		return nil // the next look updates what is there then
	}
	return wrap(err, "update Application "+app.GetName())
}

// deleteOthers deletes the set's Applications of other names.
func (a *ArgoCD) deleteOthers(ctx context.Context, set *unstructured.Unstructured, names map[string]bool) error {
	listed, err := a.client().List(ctx, metav1.ListOptions{})
	if err != nil {
		return wrap(err, "list Applications")
	}
	for i := range listed.Items {
		app := &listed.Items[i]
		owner := metav1.GetControllerOf(app)
		if owner == nil || owner.UID != set.GetUID() || names[app.GetName()] {
			continue
		}
		if err := a.client().Delete(ctx, app.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return wrap(err, "delete Application "+app.GetName())
		}
	}
	return nil
}
