package gitops

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// kustomization is one kustomization file, reduced to what can be built without network and programs.
type kustomization struct {
	// folder is absolute.
	folder string
	// content is the reduced file; nil when unreadable.
	content []byte
	// unreadable is set when the file can't be parsed.
	unreadable *recovery.Problem
	component  bool
	// namespace is what the file sets, empty when it sets none.
	namespace string
	// resources are the local files and folders of resources, bases and components, absolute.
	resources []string
	// inputs are the local files that it reads otherwise: patches, generator sources, configurations.
	inputs []string
	charts bool
	// helm are the charts that it inflates, and remote the resources that are elsewhere; both are left out of a build.
	helm   []types.HelmChart
	remote []string
	gaps   recovery.Gaps
}

// loader reads kustomization files, each once.
type loader struct {
	root string
	seen map[string]*kustomization
}

func newLoader(root string) *loader {
	return &loader{root: root, seen: map[string]*kustomization{}}
}

// load reads the kustomization of an absolute folder; nil when there is none.
func (l *loader) load(folder string) *kustomization {
	if known, ok := l.seen[folder]; ok {
		return known
	}
	var k *kustomization
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		path := filepath.Join(folder, name)
		content, err := os.ReadFile(path)
		if err == nil && k == nil {
			k = l.parse(folder, path, content)
		}
		if errors.Is(err, os.ErrPermission) {
			k = (&kustomization{folder: folder}).fail("read "+relative(l.root, path), "the file can't be read")
		}
	}
	l.seen[folder] = k
	return k
}

func (l *loader) parse(folder, path string, content []byte) *kustomization {
	k := &kustomization{folder: folder}
	if _, line, reason := decode(content); reason != "" {
		return k.fail(fmt.Sprintf("read %s:%d", relative(l.root, path), max(line, 1)), reason)
	}
	var spec types.Kustomization
	if err := spec.Unmarshal(content); err != nil {
		return k.fail("read "+relative(l.root, path), safeReason(err))
	}
	k.component = spec.Kind == types.ComponentKind
	k.namespace = spec.Namespace
	k.helm, _ = types.SplitHelmParameters(spec.HelmChartInflationGenerator)
	k.helm = append(k.helm, spec.HelmCharts...)
	k.charts = len(k.helm) > 0
	k.reduce(&spec, l.root)
	reduced, err := yaml.Marshal(spec)
	if err != nil {
		return k.fail("read "+relative(l.root, path), "it can't be reduced to its local parts")
	}
	k.content = reduced
	return k
}

func (k *kustomization) fail(what, why string) *kustomization {
	k.unreadable = &recovery.Problem{
		What: what, Why: why,
		Next: "correct the kustomization; the YAML files in its folder were read as they stand", Err: recovery.ErrDamaged,
	}
	return k
}

// reduce drops from a kustomization what would need network, Helm or another program, and what is not
// there; it moves deprecated fields to their successors, since kustomize prints warnings about them; and it
// asks for the origin of each object.
func (k *kustomization) reduce(spec *types.Kustomization, root string) {
	spec.FixKustomization()
	spec.HelmCharts, spec.HelmGlobals = nil, nil

	local := func(entries []string, into *[]string) []string {
		return slices.DeleteFunc(entries, func(entry string) bool { return !k.keep(root, entry, into) })
	}
	spec.Resources = local(spec.Resources, &k.resources)
	spec.Components = local(spec.Components, &k.resources)
	spec.Crds = local(spec.Crds, &k.inputs)
	spec.Configurations = local(spec.Configurations, &k.inputs)
	if path := spec.OpenAPI["path"]; path != "" && !k.keep(root, path, &k.inputs) {
		delete(spec.OpenAPI, "path")
	}
	for i := range spec.ConfigMapGenerator {
		k.reduceSources(&spec.ConfigMapGenerator[i].KvPairSources, root)
	}
	for i := range spec.SecretGenerator {
		k.reduceSources(&spec.SecretGenerator[i].KvPairSources, root)
	}
	k.reducePatches(spec, root)
	if len(spec.Generators) > 0 || len(spec.Transformers) > 0 {
		k.gap(root, "its generators and transformers may run programs or fetch URLs, so they were left out", recovery.ErrUnsupported)
	}
	k.inputs = append(k.inputs, k.paths(spec.Generators, spec.Transformers, spec.Validators)...)
	spec.Generators, spec.Transformers, spec.Validators = nil, nil, nil

	spec.Patches = append(spec.Patches, spec.PatchesJson6902...)
	spec.PatchesJson6902 = nil
	if len(spec.CommonLabels) > 0 {
		spec.Labels = append(spec.Labels, types.Label{Pairs: spec.CommonLabels, IncludeSelectors: true})
		spec.CommonLabels = nil
	}
	if !slices.Contains(spec.BuildMetadata, types.OriginAnnotations) {
		spec.BuildMetadata = append(spec.BuildMetadata, types.OriginAnnotations)
	}
}

// reduceSources reduces the files of a generator; an entry is PATH or KEY=PATH.
func (k *kustomization) reduceSources(sources *types.KvPairSources, root string) {
	remove := func(entry string) bool {
		if _, path, keyed := strings.Cut(entry, "="); keyed {
			entry = path
		}
		return !k.keep(root, entry, &k.inputs)
	}
	sources.FileSources = slices.DeleteFunc(sources.FileSources, remove)
	sources.EnvSources = slices.DeleteFunc(sources.EnvSources, remove)
}

// reducePatches turns patchesStrategicMerge into patches and reduces all that stand in files.
func (k *kustomization) reducePatches(spec *types.Kustomization, root string) {
	for _, entry := range spec.PatchesStrategicMerge {
		patch := types.Patch{Patch: string(entry)}
		if text := string(entry); !strings.ContainsAny(text, "\n{") {
			patch = types.Patch{Path: text}
		}
		spec.Patches = append(spec.Patches, patch)
	}
	spec.PatchesStrategicMerge = nil
	missing := func(patch types.Patch) bool { return patch.Path != "" && !k.keep(root, patch.Path, &k.inputs) }
	spec.Patches = slices.DeleteFunc(spec.Patches, missing)
	spec.PatchesJson6902 = slices.DeleteFunc(spec.PatchesJson6902, missing)
	spec.Replacements = slices.DeleteFunc(spec.Replacements, func(replacement types.ReplacementField) bool {
		return replacement.Path != "" && !k.keep(root, replacement.Path, &k.inputs)
	})
}

// keep reports whether an entry is local and there; if so it is recorded, else it is a gap. Kustomize
// fetches whatever it can't find, so nothing that is not there may reach it.
func (k *kustomization) keep(root, entry string, into *[]string) bool {
	if isRemote(entry) {
		k.remote = append(k.remote, withoutUserInfo(entry))
		k.gap(root, fmt.Sprintf("%s is remote, and drctl fetches nothing", withoutUserInfo(entry)), recovery.ErrUnsupported)
		return false
	}
	path, err := filepath.EvalSymlinks(filepath.Join(k.folder, entry))
	if err != nil {
		k.gap(root, fmt.Sprintf("%s is not there", entry), errors.Join(recovery.ErrNotFound, err))
		return false
	}
	*into = append(*into, path)
	return true
}

func (k *kustomization) gap(root, why string, err error) {
	k.gaps.Add("", &recovery.Problem{
		What: "build the kustomization " + relative(root, k.folder), Why: why,
		Next: "what it would bring is not known: give what you need by flag or environment", Err: err,
	})
}

// paths resolves entries that are files or folders; inline YAML is passed over.
func (k *kustomization) paths(lists ...[]string) []string {
	var found []string
	for _, entry := range slices.Concat(lists...) {
		if path, err := filepath.EvalSymlinks(filepath.Join(k.folder, entry)); err == nil {
			found = append(found, path)
		}
	}
	return found
}

// isRemote reports whether kustomize would clone or download an entry even if a file of that name
// existed. Source: kustomize api/internal/git/repospec.go.
func isRemote(entry string) bool {
	lower := strings.ToLower(entry)
	host, _, _ := strings.Cut(lower, "/")
	return strings.Contains(lower, "://") || strings.Contains(host, "@") || strings.HasPrefix(lower, "git::") ||
		host == "github.com" || strings.HasPrefix(lower, "github.com:") || strings.HasPrefix(lower, "gh:")
}

// withoutUserInfo takes a user and password out of a URL.
func withoutUserInfo(entry string) string {
	scheme, rest, isURL := strings.Cut(entry, "://")
	host, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(host, "@"); isURL && at >= 0 {
		return scheme + "://" + host[at+1:] + "/" + path
	}
	return entry
}

// isKustomizationFile tells kustomize's own files from objects such as Flux's Kustomization, which
// often stand in files of the same name.
func isKustomizationFile(path string) bool {
	content, err := os.ReadFile(path)
	if err != nil {
		return true // load will say why
	}
	decoded, _, reason := decode(content)
	apiVersion, _ := decoded["apiVersion"].(string)
	return reason != "" || apiVersion == "" || strings.HasPrefix(apiVersion, "kustomize.config.k8s.io/")
}
