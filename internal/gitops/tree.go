// Package gitops finds Kubernetes objects by kind in a GitOps tree on disk: kustomizations are built in
// process, everything else is read as it stands. It serves in place of a cluster that is gone, so it
// needs no network and no other program, and never writes to the tree.
//
// It must not import other packages of drctl than recovery.
package gitops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"sort"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/drctl/drctl/internal/recovery"
)

// entry is one object of the tree.
type entry struct {
	object unstructured.Unstructured
	// plainName is the name without the hash that a generator appends; empty where there is none.
	plainName string
	// file is where it stands, relative to the tree. implied: it names no namespace, and the one that it has was
	// chosen for it.
	file    string
	implied bool
}

// Tree holds the objects of a GitOps tree as they were when it was opened.
type Tree struct {
	entries []entry
	// sealed are files encrypted as a whole by SOPS, whose objects have no readable name.
	sealed []string
	charts []string
	// root is absolute; manifests are the YAML files that were found, and kustomizations the folders, absolute.
	root           string
	manifests      []string
	kustomizations []string
}

// Open reads a tree. What can't be read while the rest can is a gap: a file that does not parse (with its
// line), a kustomization that does not build, a remote resource (nothing is fetched). Only a dir that
// is none, or a cancellation, is an error.
func Open(ctx context.Context, dir string) (*Tree, recovery.Gaps, error) {
	root, err := rootOf(dir)
	if err != nil {
		return nil, nil, err
	}
	found, err := scan(ctx, root)
	if err != nil {
		return nil, nil, fmt.Errorf("read the GitOps tree %s: %w", dir, err)
	}
	loader := newLoader(root)
	plan := planBuilds(loader, found)
	tree := &Tree{
		charts: append(found.charts, plan.charts...), sealed: found.sealed,
		root: root, manifests: found.manifests, kustomizations: found.kustomizations,
	}
	sort.Strings(tree.charts)
	gaps := append(found.gaps, plan.gaps...)
	for _, build := range plan.roots {
		if err := ctx.Err(); err != nil {
			return nil, nil, fmt.Errorf("build the kustomizations of %s: %w", dir, err)
		}
		entries, more := loader.build(build)
		tree.entries = append(tree.entries, entries...)
		gaps = append(gaps, more...)
	}
	for _, file := range plan.rawFiles {
		objects, err := readManifests(root, file)
		gaps.Add("", err)
		tree.entries = append(tree.entries, entriesOf(objects, relative(root, file), "")...)
	}
	return tree, gaps, nil
}

// rootOf is the absolute path of a tree, free of symbolic links.
func rootOf(dir string) (string, error) {
	problem := &recovery.Problem{What: "open the GitOps tree " + dir, Next: "give --gitops the folder of a checkout"}
	absolute, err := filepath.Abs(dir)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		problem.Err = errors.Join(recovery.ErrNotFound, err)
		problem.Why = "there is no such folder"
		return "", problem
	}
	info, err := os.Stat(absolute)
	if err != nil || !info.IsDir() {
		problem.Err = errors.Join(recovery.ErrNotFound, err)
		problem.Why = "it is no folder"
		return "", problem
	}
	return absolute, nil
}

// Charts are the folders whose objects come from Helm charts, relative to the tree: charts are not
// rendered, so what they would create is not in the tree.
func (t *Tree) Charts() []string { return t.charts }

// List gives every object of a kind in a namespace, or in all of them for "". The version is not
// compared: a tree has no server that converts. Each object carries recovery.DirectoryAnnotation. Where
// two differ under one name, the first is returned and a gap names both folders.
func (t *Tree) List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("list %s in the GitOps tree: %w", gvr.GroupResource(), err)
	}
	items := []unstructured.Unstructured{}
	var gaps recovery.Gaps
	first := map[string]*unstructured.Unstructured{}
	for i := range t.entries {
		object := &t.entries[i].object
		plural, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		if plural.GroupResource() != gvr.GroupResource() || (namespace != "" && object.GetNamespace() != namespace) {
			continue
		}
		name := object.GetNamespace() + "/" + object.GetName()
		if other := first[name]; other != nil {
			gaps.Add("", twice(other, object))
			continue
		}
		first[name] = object
		items = append(items, *object.DeepCopy())
	}
	return items, gaps, nil
}

// twice is the problem of two objects under one name, nil when they are equal.
func twice(first, second *unstructured.Unstructured) error {
	a, b := first.DeepCopy(), second.DeepCopy()
	from, alsoIn := directoryOf(a), directoryOf(b)
	unstructured.RemoveNestedField(a.Object, "metadata", "annotations", recovery.DirectoryAnnotation)
	unstructured.RemoveNestedField(b.Object, "metadata", "annotations", recovery.DirectoryAnnotation)
	if reflect.DeepEqual(a.Object, b.Object) {
		return nil
	}
	return &recovery.Problem{
		What: fmt.Sprintf("read %s %s/%s", first.GetKind(), first.GetNamespace(), first.GetName()),
		Why:  fmt.Sprintf("it stands in %s and, different, in %s; the first was taken", from, alsoIn),
		Next: "give --gitops the folder of the one that is meant",
		Err:  recovery.ErrDamaged,
	}
}

func directoryOf(object *unstructured.Unstructured) string {
	return object.GetAnnotations()[recovery.DirectoryAnnotation]
}

// entriesOf completes the objects of one file.
func entriesOf(objects []unstructured.Unstructured, file, namespace string) []entry {
	entries := make([]entry, 0, len(objects))
	for _, object := range objects {
		entries = append(entries, newEntry(object, file, namespace, ""))
	}
	return entries
}

// newEntry completes an object with its folder and, where it has none, with a namespace: the given one,
// else "default". The file is relative to the tree.
func newEntry(object unstructured.Unstructured, file, namespace, plainName string) entry {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[recovery.DirectoryAnnotation] = path.Dir(file)
	object.SetAnnotations(annotations)
	made := entry{plainName: plainName, file: file}
	if object.GetNamespace() == "" && !isClusterScoped(object.GroupVersionKind()) {
		made.implied = namespace == ""
		if made.implied {
			namespace = "default"
		}
		object.SetNamespace(namespace)
	}
	made.object = object
	return made
}

// isClusterScoped knows Kubernetes' own kinds; another one counts as namespaced.
func isClusterScoped(gvk schema.GroupVersionKind) bool {
	return resid.NewGvk(gvk.Group, gvk.Version, gvk.Kind).IsClusterScoped()
}

// relative is a path below the root with slashes; "." for the root itself.
func relative(root, path string) string {
	short, err := filepath.Rel(root, path)
	if err != nil {
		return filepath.ToSlash(path)
	}
	return filepath.ToSlash(short)
}
