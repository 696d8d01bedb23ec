package edit

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/recovery"
)

// built is what a tree deploys.
type built struct {
	objects []unstructured.Unstructured
	// target is the index of the Cluster in objects.
	target int
	gaps   []string
	// broken are those of the gaps that may hide something that would change the target.
	broken []string
}

// buildTree builds a tree and finds the target in it.
func buildTree(ctx context.Context, root string, target Target) (*built, error) {
	tree, gaps, err := gitops.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	b := &built{objects: tree.All()}
	for _, gap := range gaps {
		b.gaps = append(b.gaps, gap.Error())
		if errors.Is(gap, recovery.ErrDamaged) {
			b.broken = append(b.broken, gap.Error())
		}
	}
	found := b.find(target, target.Namespace)
	if len(found) == 0 {
		found = b.find(target, "default") // what names no namespace gets that of its Argo CD Application
	}
	what := "find " + target.String() + " in the GitOps tree " + root
	switch len(found) {
	case 0:
		return nil, &recovery.Problem{What: what, Why: "no kustomization or manifest there makes it", Next: "give --gitops the checkout that it is deployed from", Err: recovery.ErrNotFound}
	case 1:
		b.target = found[0]
		return b, nil
	}
	var folders []string
	for _, i := range found {
		folders = append(folders, b.objects[i].GetAnnotations()[recovery.DirectoryAnnotation])
	}
	return nil, &recovery.Problem{
		What: what, Why: "it comes out of " + strings.Join(folders, " and "), Next: "drctl can't tell which one is deployed: make the change by hand, or recover from the live object without --gitops", Err: recovery.ErrUnsupported,
	}
}

// find gives the indexes of the target in a namespace.
func (b *built) find(target Target, namespace string) []int {
	var found []int
	for i := range b.objects {
		object := &b.objects[i]
		if strings.HasPrefix(object.GetAPIVersion(), group) && object.GetKind() == target.Kind &&
			object.GetName() == target.Name && object.GetNamespace() == namespace {
			found = append(found, i)
		}
	}
	return found
}

// server is the one that the built Cluster writes to; empty when it has no backup.
func (b *built) server() string {
	name := ""
	visitServers(b.objects[b.target].Object, func(holder map[string]any, isWrite bool, fallback string) {
		if isWrite {
			name, _ = holder[serverName].(string)
			if name == "" {
				name = fallback
			}
		}
	})
	return name
}

// bootstrap is the first of the methods that are not initdb; empty without.
func (b *built) bootstrap() string {
	methods, _, _ := unstructured.NestedMap(b.objects[b.target].Object, "spec", "bootstrap")
	for _, method := range []string{"recovery", "pg_basebackup"} {
		if methods[method] != nil {
			return method
		}
	}
	return ""
}

// differs says what else than the servers differs from an earlier build; empty when nothing does.
func (b *built) differs(before *built, from, to string) string {
	if !reflect.DeepEqual(b.gaps, before.gaps) || len(b.objects) != len(before.objects) {
		return "the tree does not build as before"
	}
	for i := range b.objects {
		object, old := &b.objects[i], &before.objects[i]
		if i == b.target {
			object, old = withoutServers(object, from, to), withoutServers(old, from, to)
		}
		if !reflect.DeepEqual(object.Object, old.Object) {
			return fmt.Sprintf("%s %s/%s would change too", object.GetKind(), object.GetNamespace(), object.GetName())
		}
	}
	return ""
}

// withoutServers drops the names of the server that is written to and, where they are the old or the new
// one, of those that are read.
func withoutServers(object *unstructured.Unstructured, from, to string) *unstructured.Unstructured {
	reduced := object.DeepCopy()
	visitServers(reduced.Object, func(holder map[string]any, isWrite bool, fallback string) {
		name, _ := holder[serverName].(string)
		if name == "" {
			name = fallback
		}
		if isWrite || name == from || name == to {
			delete(holder, serverName)
		}
	})
	return reduced
}

// visitServers calls visit with each mapping of a Cluster that holds, or could hold, the name of a server.
func visitServers(cluster map[string]any, visit func(holder map[string]any, isWrite bool, fallback string)) {
	name, _, _ := unstructured.NestedString(cluster, "metadata", "name")
	spec, _ := cluster["spec"].(map[string]any)
	if store, ok := nested(spec, "backup", "barmanObjectStore"); ok {
		visit(store, true, name)
	}
	plugins, _ := spec["plugins"].([]any)
	for _, item := range plugins {
		entry, _ := item.(map[string]any)
		if parameters, ok := nested(entry, "parameters"); ok && entry["name"] == pluginName && entry["enabled"] != false {
			visit(parameters, true, name)
		}
	}
	externals, _ := spec["externalClusters"].([]any)
	for _, item := range externals {
		entry, _ := item.(map[string]any)
		external, _ := entry["name"].(string)
		if store, ok := nested(entry, "barmanObjectStore"); ok {
			visit(store, false, external)
		}
		if parameters, ok := nested(entry, "plugin", "parameters"); ok {
			visit(parameters, false, name)
		}
	}
}

// nested follows mappings.
func nested(node map[string]any, keys ...string) (map[string]any, bool) {
	for _, key := range keys {
		next, ok := node[key].(map[string]any)
		if !ok {
			return nil, false
		}
		node = next
	}
	return node, node != nil
}
