package helm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	releasev1util "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

const (
	definitionKind = "CustomResourceDefinition"
	secretKind     = "Secret"
	// ownerLabel and the annotations mark an object as a release's. Source: helm pkg/action/validate.go.
	ownerLabel          = "app.kubernetes.io/managed-by"
	ownerName           = "meta.helm.sh/release-name"
	ownerNamespace      = "meta.helm.sh/release-namespace"
	resourcePolicy      = "helm.sh/resource-policy"
	deploymentHashLabel = "pod-template-hash"
	revisionHashLabel   = "controller-revision-hash"
)

// documents are the documents of a manifest, in its order.
func documents(manifest string) []string {
	split := releasev1util.SplitManifests(manifest)
	keys := make([]string, 0, len(split))
	for key := range split {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		switch {
		case len(a) != len(b):
			// The keys are numbered: the shorter is the smaller.
			return len(a) - len(b)
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	texts := make([]string, 0, len(keys))
	for _, key := range keys {
		texts = append(texts, split[key])
	}
	return texts
}

// parse reads the objects of a manifest; lists are taken apart. An error does not quote the manifest: there are Secrets in it.
func parse(manifest string) ([]*unstructured.Unstructured, error) {
	return parseDocuments(documents(manifest))
}

// parseHeads is parse, but reads of definitions only what comes before their spec, where that has their name: they make up
// nine tenths of Argo CD's chart, and reading them takes a second.
func parseHeads(manifest string) ([]*unstructured.Unstructured, error) {
	all := documents(manifest)
	for i, document := range all {
		if !definitionLine.MatchString(document) {
			continue
		}
		spec := strings.Index(document, "\nspec:")
		if metadata := strings.Index("\n"+document, "\nmetadata:"); spec > 0 && metadata >= 0 && metadata < spec {
			all[i] = document[:spec+1]
		}
	}
	return parseDocuments(all)
}

// definitionLine is how templates, and whatever writes YAML, begin a definition.
var definitionLine = regexp.MustCompile(`(?m)^kind: *"?CustomResourceDefinition"? *$`)

func parseDocuments(documents []string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for i, document := range documents {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, fmt.Errorf("read document %d of the rendered chart: it is no YAML", i+1)
		}
		if len(object.Object) == 0 {
			continue
		}
		if !object.IsList() {
			objects = append(objects, object)
			continue
		}
		err := object.EachListItem(func(item runtime.Object) error {
			if each, ok := item.(*unstructured.Unstructured); ok {
				objects = append(objects, each)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read document %d of the rendered chart: it is a list without objects", i+1)
		}
	}
	return objects, nil
}

// place finds the object's resource, and gives it the release's namespace where it needs one and names none.
func (c *Client) place(object *unstructured.Unstructured, namespace string) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	resource := c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		object.SetNamespace("")
		return resource, nil
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(namespace)
	}
	return resource.Namespace(object.GetNamespace()), nil
}

// describe is "Deployment argocd/argocd-server".
func describe(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// own marks the object as Helm does before it applies it.
func own(object *unstructured.Unstructured, target Target) {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[ownerLabel] = "Helm"
	annotations[ownerName], annotations[ownerNamespace] = target.Name, target.Namespace
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
}
