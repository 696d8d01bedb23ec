package platform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	argoGroup = "argoproj.io"
	// argoNamespace is where an object of the manifest goes that names no namespace.
	argoNamespace = "argocd"
	// refreshAnnotation asks Argo CD for a comparison at once; it removes it. Source: argo-cd common/common.go.
	refreshAnnotation = "argocd.argoproj.io/refresh"
)

// argoResource is the kind of an object that a root manifest may hold.
func argoResource(object *unstructured.Unstructured) (gvr, error) {
	kind := object.GroupVersionKind()
	resource, known := map[string]string{"Application": "applications", "AppProject": "appprojects", "ApplicationSet": "applicationsets"}[object.GetKind()]
	if kind.Group != argoGroup || !known {
		return gvr{}, &recovery.Problem{
			What: fmt.Sprintf("read %s %s of the root manifest", object.GetKind(), object.GetName()), Why: "it is no object of Argo CD",
			Next: "move it to a folder that an Application syncs", Err: recovery.ErrUnsupported,
		}
	}
	return gvr{Group: argoGroup, Version: kind.Version, Resource: resource}, nil
}

// ApplyRoot applies the objects of the root Application's manifest server-side, in their order; what the manifest
// says wins over other field managers. An Application of that name that follows another repository or folder, or is
// being deleted, is recovery.ErrConflict: it is looked at before anything is written.
func (a *API) ApplyRoot(ctx context.Context, manifest []byte) error {
	objects, err := objectsOf(manifest)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := a.mayApply(ctx, object); err != nil {
			return err
		}
	}
	for _, object := range objects {
		resource, err := argoResource(object)
		if err != nil {
			return err
		}
		if _, err := a.client.Apply(ctx, resource, object, kube.WriteOptions{Force: true}); err != nil {
			return err
		}
	}
	return nil
}

func (a *API) mayApply(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := argoResource(object)
	if err != nil {
		return err
	}
	live, err := a.client.Get(ctx, resource, object.GetNamespace(), object.GetName())
	if err != nil {
		return absent(err)
	}
	what := fmt.Sprintf("apply %s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
	if live.GetDeletionTimestamp() != nil {
		return &recovery.Problem{
			What: what, Why: "the live one is being deleted, with what it made",
			Next: "wait until it is gone, then run the command again", Err: recovery.ErrConflict,
		}
	}
	present, wanted := follows(live), follows(object)
	if object.GetKind() == "Application" && !slices.Equal(present, wanted) {
		return &recovery.Problem{
			What: what, Why: fmt.Sprintf("the cluster has one that follows %s, and the tree's follows %s", strings.Join(present, " and "), strings.Join(wanted, " and ")),
			Next: "check --context and --gitops; if the tree is right, delete the live Application without what it made: kubectl -n " + object.GetNamespace() +
				" delete applications.argoproj.io " + object.GetName() + " --cascade=orphan", Err: recovery.ErrConflict,
		}
	}
	return nil
}

// follows says what an Application follows, as REPOSITORY:FOLDER of each source. Revisions may differ: a branch is
// no other platform.
func follows(application *unstructured.Unstructured) []string {
	sources, _, _ := unstructured.NestedSlice(application.Object, "spec", "sources")
	if len(sources) == 0 {
		source, _, _ := unstructured.NestedMap(application.Object, "spec", "source")
		sources = []any{source}
	}
	found := make([]string, 0, len(sources))
	for _, item := range sources {
		source, _ := item.(map[string]any)
		repository, _ := source["repoURL"].(string)
		folder, _ := source["path"].(string)
		found = append(found, strings.TrimSuffix(strings.TrimSuffix(repository, "/"), ".git")+":"+strings.Trim(strings.TrimPrefix(folder, "./"), "/"))
	}
	return found
}

// RootApplied reports whether the live objects have everything that the manifest says.
func (a *API) RootApplied(ctx context.Context, manifest []byte) (bool, error) {
	objects, err := objectsOf(manifest)
	if err != nil {
		return false, err
	}
	for _, object := range objects {
		resource, err := argoResource(object)
		if err != nil {
			return false, err
		}
		live, err := a.client.Get(ctx, resource, object.GetNamespace(), object.GetName())
		if err != nil {
			return false, absent(err)
		}
		if live.GetDeletionTimestamp() != nil || !within(live.Object, object.Object) {
			return false, nil
		}
	}
	return true, nil
}

// within reports whether live has all of wanted: maps may have more keys, lists may not have more items, but that
// of finalizers, which others add to. What is null in the manifest is absent from the live object.
func within(live, wanted any) bool {
	switch wanted := wanted.(type) {
	case map[string]any:
		present, isMap := live.(map[string]any)
		for key, value := range wanted {
			if value == nil && present[key] == nil {
				continue
			}
			if key == "finalizers" && includes(present[key], value) {
				continue
			}
			if !isMap || !within(present[key], value) {
				return false
			}
		}
		return isMap || len(wanted) == 0
	case []any:
		present, _ := live.([]any)
		if len(present) != len(wanted) {
			return false
		}
		for i := range wanted {
			if !within(present[i], wanted[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(live, wanted)
	}
}

func includes(live, wanted any) bool {
	present, _ := live.([]any)
	all, isList := wanted.([]any)
	for _, item := range all {
		if !slices.Contains(present, item) {
			return false
		}
	}
	return isList
}

// Refresh asks Argo CD to look at the Application again at once.
func (a *API) Refresh(ctx context.Context, namespace, name string) error {
	resource := gvr{Group: argoGroup, Version: "v1alpha1", Resource: "applications"}
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:"normal"}}}`, refreshAnnotation)
	_, err := a.client.PatchMerge(ctx, resource, namespace, name, []byte(body), kube.WriteOptions{})
	return err
}

// objectsOf reads the documents of a root manifest.
func objectsOf(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var content map[string]any
		encoded, parseErr := yaml.YAMLToJSON(document)
		if err != nil || parseErr != nil || utiljson.Unmarshal(encoded, &content) != nil {
			return nil, unreadable("it is not YAML of an object", errors.Join(recovery.ErrDamaged, err, parseErr))
		}
		if len(content) == 0 {
			continue
		}
		object := &unstructured.Unstructured{Object: content}
		if object.GetKind() == "" || object.GetName() == "" {
			return nil, unreadable("a document of it has no kind or no name", recovery.ErrDamaged)
		}
		if object.GetNamespace() == "" {
			object.SetNamespace(argoNamespace)
		}
		unstructured.RemoveNestedField(object.Object, "status")
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return nil, unreadable("there is no object in it", recovery.ErrDamaged)
	}
	return objects, nil
}

func unreadable(why string, kind error) error {
	return &recovery.Problem{What: "read the root Application's manifest", Why: why, Next: "correct the manifest", Err: kind}
}
