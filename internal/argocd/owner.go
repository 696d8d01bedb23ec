package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	trackingAnnotation = "argocd.argoproj.io/tracking-id"
	instanceLabel      = "app.kubernetes.io/instance"
	// inClusterServer and inClusterName are how an Application says that it deploys to the cluster that
	// it lives in itself. Source: argo-cd pkg/apis/application/v1alpha1/application_defaults.go.
	inClusterServer = "https://kubernetes.default.svc"
	inClusterName   = "in-cluster"
)

// Object names what an Application may own. Annotations and Labels are those of the live object, or of
// the last one that was seen; they may be missing.
type Object struct {
	Group, Kind, Namespace, Name string
	Annotations, Labels          map[string]string
}

func (o Object) String() string { return fmt.Sprintf("%s %s/%s", o.Kind, o.Namespace, o.Name) }

// Owning finds the Application that the object belongs to: the one in its tracking annotation, else the
// one in this cluster that lists it among its resources. An annotation that names another object was
// copied along and counts for nothing, as for Argo CD itself. The label alone decides only between
// several, since Helm's charts set it too.
//
// nil without an error: Argo CD is not here, or has nothing to do with the object. When that can't be
// told, because Applications could not be read or the annotation names one that is not in this cluster,
// it is an error.
// Source: argo-cd util/argo/resource_tracking.go.
func Owning(ctx context.Context, api API, object Object) (*Application, error) {
	items, gaps, err := api.List(ctx, applicationsResource(), "")
	if err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return nil, err
	}
	var apps []*Application
	for i := range items {
		app, err := decode(&items[i])
		if err != nil {
			gaps.Add("read an Application", err)
			continue
		}
		apps = append(apps, app)
	}
	candidates, tracked := tracking(apps, object)
	if tracked == "" {
		candidates = listing(apps, object)
	}
	if len(candidates) > 1 {
		candidates = narrow(candidates, object)
	}
	switch {
	case len(candidates) == 1:
		return candidates[0], nil
	case len(candidates) > 1:
		return nil, several(object, candidates)
	case len(gaps) > 0:
		return nil, &recovery.Problem{
			What: fmt.Sprintf("find the Argo CD Application of %s", object), Why: "some Applications could not be read: " + gaps[0].Error(),
			Next: "have yourself allowed to list applications.argoproj.io in all namespaces", Err: gaps[0],
		}
	case tracked != "":
		return nil, &recovery.Problem{
			What: fmt.Sprintf("find the Argo CD Application of %s", object),
			Why:  fmt.Sprintf("its annotation names Application %s, which is not in this cluster: another cluster's Argo CD may own it", tracked),
			Next: "hold that Argo CD back yourself, or remove the annotation " + trackingAnnotation + " if it is a leftover",
			Err:  recovery.ErrNotFound,
		}
	}
	return nil, nil
}

// tracking are the Applications that the object's tracking annotation may mean, and the name in it. An
// Application outside of Argo CD's own namespace is called NAMESPACE_NAME there.
func tracking(apps []*Application, object Object) (candidates []*Application, name string) {
	name, ok := trackedBy(object)
	if !ok {
		return nil, ""
	}
	for _, app := range apps {
		if app.Name == name || app.Namespace+"_"+app.Name == name {
			candidates = append(candidates, app)
		}
	}
	return candidates, name
}

// trackedBy reads APPLICATION:GROUP/KIND:NAMESPACE/NAME, if it is about this very object.
func trackedBy(object Object) (name string, ok bool) {
	name, identity, ok := strings.Cut(object.Annotations[trackingAnnotation], ":")
	if !ok || name == "" || identity != fmt.Sprintf("%s/%s:%s/%s", object.Group, object.Kind, object.Namespace, object.Name) {
		return "", false
	}
	return name, true
}

// listing are the Applications of this cluster among whose resources the object is. One that is missing
// from the cluster is still listed, as long as it is in Git.
func listing(apps []*Application, object Object) []*Application {
	var found []*Application
	for _, app := range apps {
		if app.here() && app.lists(object) {
			found = append(found, app)
		}
	}
	return found
}

func (a *Application) here() bool {
	to := a.state.Spec.Destination
	return to.Server == inClusterServer || to.Name == inClusterName
}

func (a *Application) lists(object Object) bool {
	return slices.ContainsFunc(a.state.Status.Resources, func(r resource) bool {
		return r.Group == object.Group && r.Kind == object.Kind && r.Name == object.Name && r.Namespace == object.Namespace
	})
}

// narrow prefers, among several, those that list the object, and those that its label names.
func narrow(candidates []*Application, object Object) []*Application {
	for _, fits := range []func(app *Application) bool{
		func(app *Application) bool { return app.lists(object) },
		func(app *Application) bool { return app.Name == object.Labels[instanceLabel] },
	} {
		var better []*Application
		for _, app := range candidates {
			if fits(app) {
				better = append(better, app)
			}
		}
		if len(better) > 0 {
			candidates = better
		}
	}
	return candidates
}

func several(object Object, candidates []*Application) error {
	names := make([]string, 0, len(candidates))
	for _, app := range candidates {
		names = append(names, app.Namespace+"/"+app.Name)
	}
	return &recovery.Problem{
		What: fmt.Sprintf("find the Argo CD Application of %s", object),
		Why:  "several claim it: " + strings.Join(names, ", "),
		Next: "take it out of all but one of them",
		Err:  recovery.ErrUnsupported,
	}
}
