package gitops

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

// setSpec is the part of an ApplicationSet that can be expanded without a cluster.
// Source: argo-cd pkg/apis/application/v1alpha1/applicationset_types.go.
type setSpec struct {
	GoTemplate        bool             `json:"goTemplate"`
	GoTemplateOptions []string         `json:"goTemplateOptions"`
	Generators        []map[string]any `json:"generators"`
	Template          map[string]any   `json:"template"`
	TemplatePatch     string           `json:"templatePatch"`
}

type gitGenerator struct {
	RepoURL     string `json:"repoURL"`
	Directories []struct {
		Path    string `json:"path"`
		Exclude bool   `json:"exclude"`
	} `json:"directories"`
	Files           []any             `json:"files"`
	PathParamPrefix string            `json:"pathParamPrefix"`
	Values          map[string]string `json:"values"`
	Template        map[string]any    `json:"template"`
}

type listGenerator struct {
	Elements     []map[string]any `json:"elements"`
	ElementsYAML string           `json:"elementsYaml"`
	Template     map[string]any   `json:"template"`
}

// expand gives the Applications that a set makes. What it can't expand is a gap: the rest is known all the same.
func (r *reader) expand(e *entry) ([]unstructured.Unstructured, recovery.Gaps) {
	set := &expansion{reader: r, name: e.object.GetName(), file: e.file}
	content, _ := e.object.Object["spec"].(map[string]any)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &set.spec); err != nil {
		set.gap("it can't be read: "+err.Error(), recovery.ErrDamaged)
		return nil, set.gaps
	}
	if set.spec.TemplatePatch != "" {
		set.gap("its templatePatch was not applied", recovery.ErrUnsupported)
	}
	for _, generator := range set.spec.Generators {
		if generator["selector"] != nil {
			set.gap("a generator of it selects its parameters, which was left out of account", recovery.ErrUnsupported)
		}
		for kind, content := range generator {
			if kind != "selector" {
				set.generate(kind, content)
			}
		}
	}
	for i := range set.made {
		if set.made[i].GetNamespace() == "" {
			set.made[i].SetNamespace(e.object.GetNamespace())
		}
	}
	return set.made, set.gaps
}

// expansion is one ApplicationSet as it is expanded.
type expansion struct {
	*reader
	name, file string
	spec       setSpec
	made       []unstructured.Unstructured
	gaps       recovery.Gaps
}

func (x *expansion) gap(why string, kind error) {
	x.gaps.Add("", &recovery.Problem{
		What: fmt.Sprintf("expand ApplicationSet %s in %s", x.name, x.file), Why: why,
		Next: "which Applications it makes is known once Argo CD runs: kubectl get applications.argoproj.io -A", Err: kind,
	})
}

// generate runs one generator.
func (x *expansion) generate(kind string, content any) {
	settings, _ := content.(map[string]any)
	switch kind {
	case "list":
		var list listGenerator
		if x.understands(settings, &list) && x.plain(list.Template, list.ElementsYAML != "", "elementsYaml") {
			for _, element := range list.Elements {
				x.make(x.parametersOf(element))
			}
		}
	case "git":
		var git gitGenerator
		if x.understands(settings, &git) && x.plain(git.Template, len(git.Files) > 0, "files") {
			x.directories(&git)
		}
	default:
		x.gap("its generator "+kind+" needs the cluster or a service", recovery.ErrUnsupported)
	}
}

func (x *expansion) understands(settings map[string]any, into any) bool {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(settings, into); err != nil {
		x.gap("a generator of it can't be read: "+err.Error(), recovery.ErrDamaged)
		return false
	}
	return true
}

// plain reports whether a generator has nothing that is not known here.
func (x *expansion) plain(template map[string]any, has bool, field string) bool {
	if has {
		x.gap("its generator has "+field+", which drctl does not expand", recovery.ErrUnsupported)
		return false
	}
	if spec, _ := template["spec"].(map[string]any); len(spec) > 0 {
		x.gap("a generator of it has a template of its own, which was left out of account", recovery.ErrUnsupported)
	}
	return true
}

// parametersOf are those of an element of a list. Without Go templates they are flat texts, and what stands below
// values is called values.NAME. Source: argo-cd applicationset/generators/list.go.
func (x *expansion) parametersOf(element map[string]any) map[string]any {
	if x.spec.GoTemplate {
		return element
	}
	flat := map[string]any{}
	for key, value := range element {
		nested, isMap := value.(map[string]any)
		if !isMap {
			flat[key] = fmt.Sprint(value)
		}
		for name, value := range nested {
			flat[key+"."+name] = fmt.Sprint(value)
		}
	}
	return flat
}

// directories makes one Application for each folder of the tree that is asked for. A pattern matches whole paths, and
// an excluded one wins. Source: argo-cd applicationset/generators/git.go filterApps, generateParamsFromApps.
func (x *expansion) directories(git *gitGenerator) {
	if !x.here(git.RepoURL) {
		x.gap("it looks into another repository, "+withoutUserInfo(git.RepoURL), recovery.ErrUnsupported)
		return
	}
	for _, folder := range x.folders() {
		included := false
		for _, directory := range git.Directories {
			matches, err := path.Match(strings.TrimSuffix(directory.Path, "/"), folder)
			if err != nil {
				x.gap("its path "+directory.Path+" is no pattern", recovery.ErrDamaged)
				return
			}
			if matches && directory.Exclude {
				included = false
				break
			}
			included = included || matches
		}
		if included {
			x.make(x.parametersOfFolder(folder, git))
		}
	}
}

// parametersOfFolder are those of a folder.
func (x *expansion) parametersOfFolder(folder string, git *gitGenerator) map[string]any {
	segments := strings.Split(folder, "/")
	base := path.Base(folder)
	parameters := map[string]any{}
	if x.spec.GoTemplate {
		parts := make([]any, 0, len(segments))
		for _, segment := range segments {
			parts = append(parts, segment)
		}
		about := map[string]any{"path": folder, "basename": base, "basenameNormalized": normalized(base), "segments": parts}
		parameters["path"] = about
		if git.PathParamPrefix != "" {
			parameters = map[string]any{git.PathParamPrefix: map[string]any{"path": about}}
		}
	} else {
		prefix := "path"
		if git.PathParamPrefix != "" {
			prefix = git.PathParamPrefix + ".path"
		}
		parameters[prefix], parameters[prefix+".basename"], parameters[prefix+".basenameNormalized"] = folder, base, normalized(base)
		for i, segment := range segments {
			parameters[fmt.Sprintf("%s[%d]", prefix, i)] = segment
		}
	}
	x.addValues(parameters, git.Values)
	return parameters
}

// addValues adds a generator's own values, which are templates of the other parameters.
func (x *expansion) addValues(parameters map[string]any, values map[string]string) {
	rendered := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text, err := x.render(values[name], parameters)
		if err != nil {
			x.gap("the template of its value "+name+" fails: "+err.Error(), recovery.ErrDamaged)
			continue
		}
		rendered[name] = text
	}
	switch {
	case len(rendered) == 0:
	case x.spec.GoTemplate:
		parameters["values"] = rendered
	default:
		for name, text := range rendered {
			parameters["values."+name] = text
		}
	}
}

// make renders the template with the parameters.
func (x *expansion) make(parameters map[string]any) {
	rendered, err := x.renderAll(x.spec.Template, parameters)
	if err != nil {
		x.gap("its template fails: "+err.Error(), recovery.ErrDamaged)
		return
	}
	content, _ := rendered.(map[string]any)
	object := unstructured.Unstructured{Object: content}
	if object.GetName() == "" {
		x.gap("its template gives an Application no name", recovery.ErrDamaged)
		return
	}
	object.SetAPIVersion(argoGroup + "/v1alpha1")
	object.SetKind("Application")
	x.made = append(x.made, object)
}
