package gitops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

const argoGroup = "argoproj.io"

// rootManifest is the Application that somebody applies by hand, and that makes all others.
type rootManifest struct {
	object unstructured.Unstructured
	file   string
	spec   applicationSpec
}

// Root is the root Application's manifest, as JSON, and its file relative to the tree: a root.yaml below a folder
// named argocd, else the only Application whose folder holds further Applications or ApplicationSets.
// recovery.ErrNotFound when the tree has none; recovery.ErrDamaged, with their files, when it has several.
func (p *Platform) Root(ctx context.Context) (manifest []byte, file string, err error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, "", err
	}
	if known.rootErr != nil {
		return nil, "", known.rootErr
	}
	manifest, err = known.root.object.MarshalJSON()
	if err != nil {
		return nil, "", fmt.Errorf("encode the root Application of %s: %w", known.root.file, err)
	}
	return bytes.TrimSpace(manifest), known.root.file, nil
}

// findRoot looks at every file of the tree: the root stands in none that a kustomization names.
func (r *reader) findRoot() (*rootManifest, error) {
	var all, leading []*rootManifest
	for _, manifest := range r.tree.manifests {
		all = append(all, r.applicationsIn(manifest)...)
	}
	for _, candidate := range all {
		if isNamedRoot(candidate.file) {
			leading = append(leading, candidate)
		}
	}
	if len(leading) == 0 {
		leading = r.outermost(slices.DeleteFunc(all, func(candidate *rootManifest) bool { return !r.leads(candidate) }))
	}
	switch len(leading) {
	case 1:
		return leading[0], nil
	case 0:
		return nil, &recovery.Problem{
			What: "find the root Application in " + r.tree.root, Why: "there is no root.yaml below a folder named argocd, and no Application whose folder holds others",
			Next: "give --gitops the folder of the platform's checkout", Err: recovery.ErrNotFound,
		}
	}
	var files []string
	for _, candidate := range leading {
		files = append(files, candidate.object.GetName()+" in "+candidate.file)
	}
	return nil, &recovery.Problem{
		What: "find the root Application in " + r.tree.root, Why: "several may be it: " + strings.Join(files, ", "),
		Next: "call one of them root.yaml, below a folder named argocd", Err: recovery.ErrDamaged,
	}
}

func isNamedRoot(file string) bool {
	base := path.Base(file)
	return (base == "root.yaml" || base == "root.yml") && slices.Contains(strings.Split(path.Dir(file), "/"), "argocd")
}

// applicationsIn are the Applications of one file. One that does not parse has been told of when the tree was opened.
func (r *reader) applicationsIn(manifest string) []*rootManifest {
	content, err := os.ReadFile(manifest)
	if err != nil || !bytes.Contains(content, []byte("Application")) || !bytes.Contains(content, []byte(argoGroup)) {
		return nil
	}
	objects, err := readManifests(r.tree.root, manifest)
	if err != nil && len(objects) == 0 {
		return nil
	}
	var found []*rootManifest
	for _, object := range objects {
		spec, err := applicationOf(&object)
		if isArgo(&object, "Application") && err == nil {
			found = append(found, &rootManifest{object: object, file: relative(r.tree.root, manifest), spec: spec})
		}
	}
	return found
}

func isArgo(object *unstructured.Unstructured, kind string) bool {
	return object.GetKind() == kind && object.GroupVersionKind().Group == argoGroup
}

// leads: its folder holds Applications or ApplicationSets besides itself.
func (r *reader) leads(candidate *rootManifest) bool {
	return slices.ContainsFunc(candidate.spec.all(), func(source applicationSource) bool {
		contents, err := r.contents(&source, "")
		return err == nil && slices.ContainsFunc(contents.entries, func(e entry) bool {
			itself := e.object.GetName() == candidate.object.GetName() && e.object.GetKind() == "Application"
			return !itself && (isArgo(&e.object, "Application") || isArgo(&e.object, "ApplicationSet"))
		})
	})
}

// outermost drops those that another one makes.
func (r *reader) outermost(candidates []*rootManifest) []*rootManifest {
	made := map[string]bool{}
	for _, candidate := range candidates {
		for _, source := range candidate.spec.all() {
			contents, err := r.contents(&source, "")
			if err != nil {
				continue
			}
			for _, e := range contents.entries {
				if isArgo(&e.object, "Application") && e.object.GetName() != candidate.object.GetName() {
					made[e.object.GetName()] = true
				}
			}
		}
	}
	return slices.DeleteFunc(candidates, func(candidate *rootManifest) bool { return made[candidate.object.GetName()] })
}

// contents is what the folder of a source brings, and who else brings something that can't be seen.
type contents struct {
	entries []entry
	// unseen are by namespace ("" for one that is not known) who brings what can't be seen: "chart longhorn".
	unseen []unseen
	gaps   recovery.Gaps
}

type unseen struct{ namespace, who string }

// contents builds the folder of a source as Argo CD does: a kustomization, a Helm chart, which is not rendered, or the
// YAML files in it. Objects without a namespace go to the given one. recovery.ErrNotFound when the folder is not there.
// Source: argo-cd util/argo/path, reposerver/repository/repository.go GetAppSourceType, findManifests.
func (r *reader) contents(source *applicationSource, namespace string) (contents, error) {
	folder, err := r.folder(source.Path)
	if err != nil {
		return contents{}, err
	}
	var found contents
	if k := r.loader.load(folder); k != nil && !k.component {
		found.entries, found.gaps = r.loader.build(k)
		found.unseen = r.unseenOf(k, namespace)
	} else if _, err := os.Stat(filepath.Join(folder, "Chart.yaml")); err == nil {
		found.unseen = []unseen{{namespace, "chart " + relative(r.tree.root, folder)}}
	} else {
		found.entries, found.gaps = r.plainFiles(folder, source)
	}
	found.entries = slices.Clone(found.entries)
	for i := range found.entries {
		if found.entries[i].implied && namespace != "" {
			found.entries[i].object = *found.entries[i].object.DeepCopy()
			found.entries[i].object.SetNamespace(namespace)
		}
	}
	return found, nil
}

// folder is the absolute path of a source's path.
func (r *reader) folder(relativePath string) (string, error) {
	folder := filepath.Join(r.tree.root, filepath.FromSlash(path.Clean("/"+relativePath)))
	info, err := os.Stat(folder)
	if err == nil && info.IsDir() {
		return folder, nil
	}
	return "", &recovery.Problem{
		What: "look into folder " + relativePath, Why: "the tree has no such folder",
		Next: "correct the path, or give --gitops the checkout that has it", Err: errors.Join(recovery.ErrNotFound, err),
	}
}

// unseenOf names what a build leaves out: charts, and what stands elsewhere.
func (r *reader) unseenOf(k *kustomization, namespace string) []unseen {
	reached := map[string]bool{}
	r.loader.reach(k, reached)
	var found []unseen
	for folder := range reached {
		part := r.loader.load(folder)
		if part == nil {
			continue
		}
		for _, chart := range part.helm {
			found = append(found, unseen{firstOf(chart.Namespace, part.namespace, k.namespace, namespace), "chart " + chart.Name})
		}
		for _, remote := range part.remote {
			found = append(found, unseen{firstOf(k.namespace, part.namespace, namespace), remote})
		}
		if part.unreadable != nil {
			found = append(found, unseen{firstOf(k.namespace, namespace), "the kustomization " + relative(r.tree.root, folder)})
		}
	}
	slices.SortFunc(found, func(x, y unseen) int { return strings.Compare(x.who, y.who) })
	return found
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
