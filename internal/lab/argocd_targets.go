package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// argoDiscovery is how long a kind stays unknown before the API server is asked for it again.
const argoDiscovery = 500 * time.Millisecond

// targets are the objects that Git wants at a revision, namespaces first, with the Application's marks.
// An empty revision is the source's own.
func (a *ArgoCD) targets(ctx context.Context, app *argoApplication, source argoSource, revision string) ([]*unstructured.Unstructured, string, error) {
	if revision == "" {
		revision = source.TargetRevision
	}
	hash, err := a.resolve(ctx, revision)
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
		a.mark(app, target)
		if target.GetKind() == "Namespace" {
			namespaces = append(namespaces, target)
		} else {
			others = append(others, target)
		}
	}
	return append(namespaces, others...), hash, nil
}

// resolve gives the commit of a branch, tag or hash; a branch's head is looked up once a round.
func (a *ArgoCD) resolve(ctx context.Context, revision string) (string, error) {
	if hash, known := a.heads[revision]; known {
		return hash, nil
	}
	if regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(revision) {
		return revision, nil
	}
	hash, err := a.remote.resolve(ctx, revision)
	if err == nil {
		a.heads[revision] = hash
	}
	return hash, err
}

// mark gives an object its namespace, and the marks that say whose it is. Of a kind that the API server does
// not know it is not known either whether it has a namespace: it is taken to have one.
func (a *ArgoCD) mark(app *argoApplication, target *unstructured.Unstructured) {
	mapping, err := a.mapping(target.GroupVersionKind())
	if (err != nil || mapping.Scope.Name() == meta.RESTScopeNameNamespace) && target.GetNamespace() == "" {
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
}

// mapping is how the API server serves a kind. What it did not know a while ago is asked for again:
// definitions come and go while an Argo CD runs, which watches them.
// Source: gitops-engine pkg/cache/cluster.go, startMissingWatches.
func (a *ArgoCD) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapping, err := a.apply.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if !meta.IsNoMatchError(err) || a.now().Sub(a.discovered) < argoDiscovery {
		return mapping, err
	}
	a.discovered = a.now()
	a.apply.mapper.Reset()
	return a.apply.mapper.RESTMapping(kind.GroupKind(), kind.Version)
}

// unknown is what Argo CD says of an object whose kind the API server does not serve; empty when it does.
// Source: gitops-engine pkg/utils/kube/kube.go, ServerResourceForGroupVersionKind.
func (a *ArgoCD) unknown(object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	if _, err := a.mapping(kind); !meta.IsNoMatchError(err) {
		return ""
	}
	return fmt.Sprintf("The Kubernetes API could not find %s/%s for requested resource %s/%s. Make sure the %q CRD is installed on the destination cluster.",
		kind.Group, kind.Kind, object.GetNamespace(), object.GetName(), kind.Kind)
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
