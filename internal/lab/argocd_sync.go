package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// The marks of an Application's objects, by the platform's tracking method "annotation+label".
const (
	argoTrackingAnnotation = "argocd.argoproj.io/tracking-id"
	argoTrackingLabel      = "app.kubernetes.io/instance"
)

// syncTo is one attempt: resolve the revision, build, dry-run everything, then apply it.
// Source: controller/sync.go, SyncAppState; gitops-engine pkg/sync, Sync.
func (a *ArgoCD) syncTo(ctx context.Context, app *argoApplication, state *argoOperationState) {
	request := state.Operation.Sync
	if request == nil {
		state.Phase, state.Message = argoPhaseError, "Invalid operation request: no operation specified"
		return
	}
	if state.SyncResult == nil {
		state.SyncResult = &argoSyncResult{Revision: request.Revision, Source: app.Spec.Source}
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
	chosen := slices.DeleteFunc(slices.Clone(targets), func(target *unstructured.Unstructured) bool { return !request.includes(target) })
	if failed := a.applyAll(ctx, chosen, state.SyncResult, true); failed != nil || request.DryRun {
		state.Phase, state.Message = phaseOf(failed, "successfully dry-run")
		return
	}
	failed := a.applyAll(ctx, chosen, state.SyncResult, false)
	if failed == nil && request.Prune {
		failed = a.prune(ctx, app, targets, state.SyncResult)
	}
	state.Phase, state.Message = phaseOf(failed, "successfully synced (all tasks run)")
}

func phaseOf(failed error, success string) (phase, message string) {
	if failed != nil {
		return argoPhaseFailed, "one or more objects failed to apply, reason: " + failed.Error()
	}
	return argoPhaseSucceeded, success
}

func (s *argoSync) includes(target *unstructured.Unstructured) bool {
	kind := target.GroupVersionKind()
	return len(s.Resources) == 0 || slices.Contains(s.Resources, argoSyncResource{Group: kind.Group, Kind: kind.Kind, Name: target.GetName()})
}

// applyAll applies the objects in order, all of them whatever fails, and gives the first failure. In a
// dry run what lives in a namespace of the same list is left out: it may not be there yet.
func (a *ArgoCD) applyAll(ctx context.Context, targets []*unstructured.Unstructured, result *argoSyncResult, dryRun bool) error {
	own := map[string]bool{}
	var first error
	result.Resources = nil
	for _, target := range targets {
		if dryRun && own[target.GetNamespace()] && !a.exists(ctx, reference("v1", "Namespace", "", target.GetNamespace())) {
			continue
		}
		if target.GetKind() == "Namespace" {
			own[target.GetName()] = true
		}
		status, message := argoSynced, "serverside-applied"
		if _, err := a.applyOne(ctx, target, dryRun); err != nil {
			status, message = "SyncFailed", err.Error()
			if first == nil {
				first = err
			}
		}
		result.add(target, status, message)
	}
	return first
}

func (r *argoSyncResult) add(object *unstructured.Unstructured, status, message string) {
	kind := object.GroupVersionKind()
	r.Resources = append(r.Resources, argoResourceResult{
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		Status: status, Message: message, SyncPhase: "Sync",
	})
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

// prune deletes what carries the Application's mark and is no longer in Git, in the foreground.
func (a *ArgoCD) prune(ctx context.Context, app *argoApplication, targets []*unstructured.Unstructured, result *argoSyncResult) error {
	left, err := a.leftovers(ctx, app, targets)
	if err != nil {
		return err
	}
	policy := metav1.DeletePropagationForeground
	for _, object := range left {
		if object.GetDeletionTimestamp() != nil {
			continue
		}
		resource, err := a.apply.resource(object.GroupVersionKind(), object.GetNamespace())
		if err != nil {
			return err
		}
		if err := resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		result.add(object, "Pruned", "pruned")
	}
	return nil
}

// leftovers are the live objects that the last comparison knew, that carry the mark, and that are no
// target any more.
func (a *ArgoCD) leftovers(ctx context.Context, app *argoApplication, targets []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	wanted := map[string]bool{}
	for _, target := range targets {
		wanted[trackingID(app.Metadata.Name, target)] = true
	}
	var left []*unstructured.Unstructured
	for _, known := range app.Status.Resources {
		version := schemaVersion(known.Group, known.Version)
		live, err := a.apply.Get(ctx, reference(version, known.Kind, known.Namespace, known.Name))
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		id := trackingID(app.Metadata.Name, live)
		if !wanted[id] && live.GetAnnotations()[argoTrackingAnnotation] == id {
			left = append(left, live)
		}
	}
	return left, nil
}

func schemaVersion(group, version string) string { return strings.TrimPrefix(group+"/"+version, "/") }

// trackingID names an object for its Application. Source: util/argo/resource_tracking.go.
func trackingID(app string, object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	return fmt.Sprintf("%s:%s/%s:%s/%s", app, kind.Group, kind.Kind, object.GetNamespace(), object.GetName())
}

// targets are the objects that Git wants at a revision, namespaces first, with the Application's marks.
// An empty revision is the source's own.
func (a *ArgoCD) targets(ctx context.Context, app *argoApplication, source argoSource, revision string) ([]*unstructured.Unstructured, string, error) {
	if revision == "" {
		revision = source.TargetRevision
	}
	hash, err := a.remote.resolve(ctx, revision)
	if err != nil {
		return nil, "", err
	}
	built, err := a.build(ctx, hash, source.Path)
	if err != nil {
		return nil, "", err
	}
	var namespaces, others []*unstructured.Unstructured
	for _, object := range built {
		target := object.DeepCopy()
		if err := a.mark(app, target); err != nil {
			return nil, "", err
		}
		if target.GetKind() == "Namespace" {
			namespaces = append(namespaces, target)
		} else {
			others = append(others, target)
		}
	}
	return append(namespaces, others...), hash, nil
}

func (a *ArgoCD) mark(app *argoApplication, target *unstructured.Unstructured) error {
	kind := target.GroupVersionKind()
	mapping, err := a.apply.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("lab: kind of %s: %w", describe(target), err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace && target.GetNamespace() == "" {
		target.SetNamespace(app.Spec.Destination.Namespace)
	}
	annotations, labels := target.GetAnnotations(), target.GetLabels()
	if annotations == nil {
		annotations = map[string]string{}
	}
	if labels == nil {
		labels = map[string]string{}
	}
	annotations[argoTrackingAnnotation], labels[argoTrackingLabel] = trackingID(app.Metadata.Name, target), app.Metadata.Name
	target.SetAnnotations(annotations)
	target.SetLabels(labels)
	return nil
}

// build gives the manifests of a path at a commit, which never change.
func (a *ArgoCD) build(ctx context.Context, hash, path string) ([]*unstructured.Unstructured, error) {
	key := hash + ":" + path
	if built, known := a.built[key]; known {
		return built, nil
	}
	dir, err := os.MkdirTemp(a.dir, "build-")
	if err != nil {
		return nil, fmt.Errorf("lab: folder for a build: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := a.remote.checkout(ctx, hash, dir); err != nil {
		return nil, err
	}
	built, err := buildKustomization(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		return nil, fmt.Errorf("lab: manifests of %s at %.7s: %w", path, hash, err)
	}
	a.built[key] = built
	return built, nil
}
