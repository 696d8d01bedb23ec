package gitops

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// reference is one place that names a Secret.
type reference struct {
	namespace, name string
	// keys are those that it names; none when it takes the whole Secret.
	keys     []string
	user     string
	optional bool
}

// Secrets are those that the objects that Argo CD brings refer to, and that neither it nor anything in the cluster
// makes, as far as the tree tells: somebody has to bring them. Where a chart that is not rendered goes into the same
// namespace and may make one, and the tree has no template of it, that is a gap and no need.
func (p *Platform) Secrets(ctx context.Context) ([]recovery.SecretNeed, recovery.Gaps, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, nil, err
	}
	var gaps recovery.Gaps
	references := []reference{}
	for _, e := range p.used(known) {
		found, err := referencesOf(&e.object)
		gaps.Add("", err)
		references = append(references, found...)
	}
	makers := makersOf(known.synced)
	needs := []recovery.SecretNeed{}
	for _, need := range grouped(references) {
		if makers.make(need.Namespace, need.Name) {
			continue
		}
		need.Template = p.template(need.Namespace, need.Name, known.synced)
		if who := whoElse(known.unseen, need.Namespace); who != "" && need.Template == "" {
			gaps.Add("", &recovery.Problem{
				What: fmt.Sprintf("find out who makes Secret %s/%s", need.Namespace, need.Name),
				Why:  fmt.Sprintf("%s uses it; %s goes into the same namespace and may make it, which the tree alone does not tell", need.UsedBy[0], who),
				Next: "if nothing makes it, bring it yourself", Err: recovery.ErrUnsupported,
			})
			continue
		}
		needs = append(needs, need)
	}
	return needs, gaps, nil
}

// used are the objects that count as deployed: those that Argo CD brings, and all of the tree when that is not known to
// the last. Better one question too many than a Secret that nobody asked for.
func (p *Platform) used(known *model) []entry {
	all := slices.Clone(known.synced)
	if known.rootErr == nil && len(known.gaps) == 0 {
		return all
	}
	return append(all, p.besides(known)...)
}

// besides are the objects of the tree that stand in no file of which Argo CD brings something.
func (p *Platform) besides(known *model) []entry {
	files := map[string]bool{}
	for i := range known.synced {
		files[known.synced[i].file] = true
	}
	return slices.DeleteFunc(slices.Clone(p.tree.entries), func(e entry) bool { return files[e.file] })
}

// title names an object for people: "Deployment immich/server", "ClusterPolicy volsync-nfs-inject".
func title(object *unstructured.Unstructured) string {
	if isClusterWide(object) {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// isClusterWide guesses for kinds that are not Kubernetes' own, which say it by their names.
func isClusterWide(object *unstructured.Unstructured) bool {
	kind := object.GetKind()
	return isClusterScoped(object.GroupVersionKind()) || strings.HasSuffix(kind, "Class") ||
		strings.HasPrefix(kind, "Cluster") && kind != "Cluster" || object.GroupVersionKind().Group == "policies.kyverno.io" && !strings.HasPrefix(kind, "Namespaced")
}

// grouped joins the references to one Secret, by namespace and name.
func grouped(references []reference) []recovery.SecretNeed {
	byName := map[string]*recovery.SecretNeed{}
	for _, r := range references {
		key := r.namespace + "/" + r.name
		need := byName[key]
		if need == nil {
			need = &recovery.SecretNeed{Namespace: r.namespace, Name: r.name, Keys: []string{}, UsedBy: []string{}, Optional: true}
			byName[key] = need
		}
		need.Keys = append(need.Keys, r.keys...)
		need.UsedBy = append(need.UsedBy, r.user)
		need.Optional = need.Optional && r.optional
	}
	needs := make([]recovery.SecretNeed, 0, len(byName))
	for _, key := range slices.Sorted(maps.Keys(byName)) {
		need := byName[key]
		slices.Sort(need.Keys)
		slices.Sort(need.UsedBy)
		need.Keys, need.UsedBy = slices.Compact(need.Keys), slices.Compact(need.UsedBy)
		needs = append(needs, *need)
	}
	return needs
}

// whoElse brings something into the namespace that can't be seen, empty for nobody.
func whoElse(unseen []unseen, namespace string) string {
	for _, u := range unseen {
		if u.namespace == namespace {
			return u.who
		}
	}
	return ""
}

// template is the file that holds the Secret to be filled in: one that no Application syncs.
func (p *Platform) template(namespace, name string, synced []entry) string {
	for i := range p.tree.entries {
		e := &p.tree.entries[i]
		isSynced := slices.ContainsFunc(synced, func(other entry) bool { return other.file == e.file })
		if !isSynced && e.object.GetKind() == "Secret" && e.object.GetName() == name && (e.object.GetNamespace() == namespace || e.implied) {
			return e.file
		}
	}
	// Beside a kustomization stand files that it does not name.
	for _, manifest := range p.tree.manifests {
		content, err := os.ReadFile(manifest)
		if err != nil || !bytes.Contains(content, []byte("kind: Secret")) || !bytes.Contains(content, []byte(name)) {
			continue
		}
		file := relative(p.tree.root, manifest)
		if slices.ContainsFunc(synced, func(other entry) bool { return other.file == file }) {
			continue
		}
		objects, err := readManifests(p.tree.root, manifest)
		holds := func(object unstructured.Unstructured) bool {
			return object.GetKind() == "Secret" && object.GetName() == name && (object.GetNamespace() == namespace || object.GetNamespace() == "")
		}
		if err == nil && slices.ContainsFunc(objects, holds) {
			return file
		}
	}
	return ""
}

// StorageClasses are those that claims, databases and templates name, sorted; "" among them when one leaves it to the
// cluster's default.
func (p *Platform) StorageClasses(ctx context.Context) ([]string, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, e := range p.used(known) {
		classesOf(&e.object, found)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// classesOf adds the classes that an object names.
func classesOf(object *unstructured.Unstructured, found map[string]bool) {
	volume, isVolume := object.Object["spec"].(map[string]any)
	switch {
	case object.GetKind() == "PersistentVolume", object.GetKind() == "StorageClass", object.GetKind() == "CustomResourceDefinition":
		return
	case object.GetKind() == "PersistentVolumeClaim" && isVolume:
		// A claim that names its volume is bound to that, whatever class there is.
		if text, _ := volume["volumeName"].(string); text == "" || volume["storageClassName"] != nil {
			addClass(volume, "storageClassName", found)
		}
		return
	case isKind(object, "postgresql.cnpg.io", "Cluster"):
		for _, field := range []string{"storage", "walStorage"} {
			if storage, _ := volume[field].(map[string]any); storage != nil {
				if template, _ := storage["pvcTemplate"].(map[string]any); template["storageClassName"] == nil {
					addClass(storage, "storageClass", found)
				}
			}
		}
	}
	visitMaps(object.Object, func(node map[string]any) {
		if text, isText := node["storageClassName"].(string); isText && text != "" && !strings.Contains(text, "{{") {
			found[text] = true
		}
		// What is a claim's specification without a class leaves it to the default.
		if _, claims := node["accessModes"]; claims && node["resources"] != nil && node["storageClassName"] == nil {
			found[""] = true
		}
	})
}

// addClass adds what a field names, and the default when it is absent. An empty text asks for no class at all.
func addClass(node map[string]any, field string, found map[string]bool) {
	switch text, isText := node[field].(string); {
	case node[field] == nil:
		found[""] = true
	case isText && text != "" && !strings.Contains(text, "{{"):
		found[text] = true
	}
}

// visitMaps calls visit for every map of a value, the outer ones first.
func visitMaps(value any, visit func(node map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for _, key := range slices.Sorted(maps.Keys(value)) {
			visitMaps(value[key], visit)
		}
	case []any:
		for _, item := range value {
			visitMaps(item, visit)
		}
	}
}

func isKind(object *unstructured.Unstructured, group, kind string) bool {
	return object.GetKind() == kind && object.GroupVersionKind().Group == group
}
