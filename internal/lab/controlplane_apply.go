package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/drctl/drctl/internal/lab/crds"
)

// fieldManager owns what the lab applies.
const fieldManager = "drctl-lab"

// Applier writes objects of any kind to the lab's API server, strictly: a field that the server does
// not know is an error.
type Applier struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// Applier gives an Applier with AdminUser's rights.
func (k *Kubernetes) Applier() (*Applier, error) {
	client, err := dynamic.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: dynamic client: %w", err)
	}
	discover, err := discovery.NewDiscoveryClientForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: discovery client: %w", err)
	}
	return &Applier{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discover))}, nil
}

// Apply applies the objects server-side, several at a time and in no order; what one needs (its
// namespace, its definition) must have been applied before. Definitions are ready for use afterwards.
func (a *Applier) Apply(parent context.Context, objects ...*unstructured.Unstructured) error {
	group, ctx := errgroup.WithContext(parent)
	group.SetLimit(8)
	var definitions []*unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == crdKind {
			definitions = append(definitions, object)
		}
		group.Go(func() error { return a.apply(ctx, object) })
	}
	if err := group.Wait(); err != nil || len(definitions) == 0 {
		return err
	}
	return a.waitServed(parent, definitions)
}

const crdKind = "CustomResourceDefinition"

func (a *Applier) apply(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := a.resource(object.GroupVersionKind(), object.GetNamespace())
	if err != nil {
		return fmt.Errorf("lab: apply %s: %w", describe(object), err)
	}
	body, err := object.MarshalJSON()
	if err != nil {
		return fmt.Errorf("lab: encode %s: %w", describe(object), err)
	}
	if object.GetKind() == crdKind {
		// Applying the largest definitions takes the server three times as long as creating them.
		_, err := resource.Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict})
		if err == nil || !apierrors.IsAlreadyExists(err) {
			return wrap(err, "create "+describe(object))
		}
	}
	force := true
	options := metav1.PatchOptions{FieldManager: fieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict}
	_, err = resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, options)
	return wrap(err, "apply "+describe(object))
}

// Merge merges fields into one part of an object: "metadata", "spec", or "status", which is written
// through the status subresource.
func (a *Applier) Merge(ctx context.Context, object *unstructured.Unstructured, part string, fields map[string]any) error {
	action := "merge " + part + " of " + describe(object)
	resource, err := a.resource(object.GroupVersionKind(), object.GetNamespace())
	if err != nil {
		return wrap(err, action)
	}
	body, err := json.Marshal(map[string]any{part: fields})
	if err != nil {
		return wrap(err, action)
	}
	var subresources []string
	if part == "status" {
		subresources = []string{part}
	}
	options := metav1.PatchOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict}
	_, err = resource.Patch(ctx, object.GetName(), types.MergePatchType, body, options, subresources...)
	return wrap(err, action)
}

// Get reads the object of the same kind, namespace and name as it stands on the server.
func (a *Applier) Get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := a.resource(object.GroupVersionKind(), object.GetNamespace())
	if err != nil {
		return nil, fmt.Errorf("lab: get %s: %w", describe(object), err)
	}
	return resource.Get(ctx, object.GetName(), metav1.GetOptions{})
}

func (a *Applier) resource(kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return a.client.Resource(mapping.Resource).Namespace(namespace), nil
	}
	return a.client.Resource(mapping.Resource), nil
}

// waitServed waits until discovery lists what the definitions define. (Asking for the definitions
// themselves would fetch megabytes each time.)
func (a *Applier) waitServed(ctx context.Context, definitions []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		a.mapper.Reset()
		missing := slices.IndexFunc(definitions, func(definition *unstructured.Unstructured) bool { return !a.serves(definition) })
		if missing < 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: %s is not served: %w", describe(definitions[missing]), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (a *Applier) serves(definition *unstructured.Unstructured) bool {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	_, err := a.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind})
	return err == nil
}

// wrap says what was done when it failed; no error stays none.
func wrap(err error, action string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("lab: %s: %w", action, err)
}

func describe(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// ApplyCRDs applies the definitions of VolSync (with the Kopia block), Argo CD, the barman-cloud plugin
// and CSI snapshots. Those of CloudNativePG come with Stack.CNPG.
func (k *Kubernetes) ApplyCRDs(ctx context.Context) error {
	modules, err := fetchModules(ctx)
	if err != nil {
		return err
	}
	definitions, err := modules.All()
	if err != nil {
		return err
	}
	applier, err := k.Applier()
	if err != nil {
		return err
	}
	return applier.Apply(ctx, definitions...)
}

func fetchModules(ctx context.Context) (crds.Modules, error) {
	root, err := ModuleRoot()
	if err != nil {
		return crds.Modules{}, err
	}
	return crds.Fetch(ctx, filepath.Join(root, "internal", "lab", "parts", "manifests"))
}
