package gitops

import (
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/drctl/drctl/internal/recovery"
)

// originAnnotation is where kustomize says which file an object came from.
const originAnnotation = "config.kubernetes.io/origin"

// localFiles is the disk, with kustomization files in their reduced form.
type localFiles struct {
	filesys.FileSystem
	loader *loader
}

// ReadFile reads a file from disk, or a kustomization as reduced.
func (f localFiles) ReadFile(path string) ([]byte, error) {
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)) && f.Exists(path) {
		if k := f.loader.load(filepath.Dir(path)); k != nil && k.unreadable == nil {
			return k.content, nil
		}
	}
	return f.FileSystem.ReadFile(path)
}

// build gives the objects of one kustomization. When kustomize can't build it, its files are read as
// they stand, and that is a gap.
func (l *loader) build(root *kustomization) ([]entry, recovery.Gaps) {
	if root.unreadable != nil {
		return l.readAsTheyStand(root, root.unreadable)
	}
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone
	files := localFiles{FileSystem: filesys.MakeFsOnDisk(), loader: l}
	built, err := krusty.MakeKustomizer(options).Run(files, root.folder)
	if err != nil {
		return l.readAsTheyStand(root, &recovery.Problem{
			What: "build the kustomization " + relative(l.root, root.folder), Why: safeReason(err),
			Next: "see `kubectl kustomize` for the whole error; its files were read as they stand", Err: recovery.ErrDamaged,
		})
	}
	entries := make([]entry, 0, built.Size())
	for _, res := range built.Resources() {
		if made, ok := l.entryOf(root, res); ok {
			entries = append(entries, made)
		}
	}
	return entries, nil
}

// entryOf turns kustomize's object into ours.
func (l *loader) entryOf(root *kustomization, res *resource.Resource) (entry, bool) {
	encoded, err := res.MarshalJSON()
	var content map[string]any
	if err != nil || utiljson.Unmarshal(encoded, &content) != nil {
		return entry{}, false
	}
	object := unstructured.Unstructured{Object: content}
	file, plainName := konfig.DefaultKustomizationFileName(), ""
	if origin, err := res.GetOrigin(); err == nil && origin != nil {
		if origin.Path != "" {
			file = origin.Path
		} else if origin.ConfiguredIn != "" {
			file = origin.ConfiguredIn
			plainName = withoutHash(object.GetName())
		}
	}
	annotations := object.GetAnnotations()
	delete(annotations, originAnnotation)
	object.SetAnnotations(annotations)
	return newEntry(object, relative(l.root, filepath.Join(root.folder, filepath.FromSlash(file))), "", plainName), true
}

// withoutHash takes the suffix of ten characters off a generated name; empty when it has none.
func withoutHash(name string) string {
	const hashLength = 10
	cut := strings.LastIndex(name, "-")
	if cut <= 0 || len(name)-cut-1 != hashLength {
		return ""
	}
	return name[:cut]
}

// readAsTheyStand reads the files of a kustomization that can't be built.
func (l *loader) readAsTheyStand(root *kustomization, why *recovery.Problem) ([]entry, recovery.Gaps) {
	gaps := recovery.Gaps{why}
	var entries []entry
	for _, file := range l.files(root, map[string]bool{}) {
		objects, err := readManifests(l.root, file)
		gaps.Add("", err)
		entries = append(entries, entriesOf(objects, relative(l.root, file), root.namespace)...)
	}
	return entries, gaps
}

// files gives the resource files of a kustomization and of those below it; components are left out. One
// that can't be parsed counts with all YAML files of its folder.
func (l *loader) files(k *kustomization, seen map[string]bool) []string {
	if k == nil || seen[k.folder] || k.component {
		return nil
	}
	seen[k.folder] = true
	resources := k.resources
	if k.unreadable != nil {
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			matches, _ := filepath.Glob(filepath.Join(k.folder, pattern)) // the pattern is well-formed
			resources = append(resources, matches...)
		}
	}
	var found []string
	for _, path := range resources {
		switch {
		case slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)):
		case isYAML(path):
			found = append(found, path)
		default:
			found = append(found, l.files(l.load(path), seen)...)
		}
	}
	return found
}

// safeReason is the part of kustomize's error that quotes no content, since the content may be a secret.
func safeReason(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	for _, phrase := range []string{
		"unknown field", "cannot unmarshal", "cycle detected", "may not add resource with an already registered id",
		"no matches for Id", "no resource matches", "multiple kustomization files", "apiVersion for", "kind should be",
	} {
		if at := strings.Index(first, phrase); at >= 0 {
			return "kustomize says: " + first[at:min(len(first), at+300)]
		}
	}
	return "kustomize can't build it"
}
