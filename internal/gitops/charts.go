package gitops

import (
	"cmp"
	"context"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// pin is a chart with the layers of its values, the last one on top.
type pin struct {
	recovery.ChartPin
	layers []layer
}

// Charts are the Helm charts that the tree pins, of any name, by file: those that kustomizations inflate, that
// Applications name, and that a chart of the tree depends on.
func (p *Platform) Charts(ctx context.Context) ([]recovery.ChartPin, recovery.Gaps, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, nil, err
	}
	pins := make([]recovery.ChartPin, 0, len(known.pins))
	for i := range known.pins {
		found := known.pins[i].ChartPin
		found.ValuesFiles = slices.Clone(found.ValuesFiles)
		pins = append(pins, found)
	}
	return pins, slices.Clone(known.pinned), nil
}

// findPins collects them in the model.
func (r *reader) findPins() {
	for _, folder := range r.tree.kustomizations {
		if k := r.loader.load(folder); k != nil {
			for i := range k.helm {
				r.add(r.inflated(k, &k.helm[i]))
			}
		}
	}
	apps := r.allApplications()
	for i := range apps {
		for _, source := range apps[i].spec.all() {
			if isChart(&source) {
				r.add(r.named(&apps[i], &source))
			}
		}
	}
	for _, folder := range r.tree.charts {
		// What kustomize has fetched into its folder is not the tree's own.
		if !slices.Contains(strings.Split(folder, "/"), types.HelmDefaultHome) || strings.HasPrefix(folder, types.HelmDefaultHome+"/") {
			r.addDependencies(folder, apps)
		}
	}
	slices.SortStableFunc(r.model.pins, func(x, y pin) int {
		return cmp.Or(strings.Compare(x.Source, y.Source), strings.Compare(x.Name, y.Name), strings.Compare(x.Release, y.Release))
	})
}

// add completes a pin: what of its values stands in files and what inline.
func (r *reader) add(found pin) {
	found.Version = exactVersion(found.Version)
	found.ValuesFiles = []string{}
	inline := map[string]any{}
	for _, layer := range found.layers {
		switch {
		case layer.problem != nil:
			r.model.pinned.Add("", layer.problem)
		case layer.file != "":
			found.ValuesFiles = append(found.ValuesFiles, layer.file)
		default:
			inline = merged(inline, layer.inline)
		}
	}
	if encoded, err := yaml.Marshal(inline); err == nil && len(inline) > 0 {
		found.ValuesInline = string(encoded)
	}
	r.model.pins = append(r.model.pins, found)
}

// exactVersion is a version without a leading "v"; empty when it is a range, which the tree leaves open.
func exactVersion(version string) string {
	if regexp.MustCompile(`^v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`).MatchString(version) {
		return strings.TrimPrefix(version, "v")
	}
	return ""
}

// inflated is a chart of a kustomization.
// Source: kustomize api/internal/builtins/HelmChartInflationGenerator.go.
func (r *reader) inflated(k *kustomization, chart *types.HelmChart) pin {
	found := pin{ChartPin: recovery.ChartPin{
		Name: chart.Name, Repository: chart.Repo, Version: chart.Version, Release: chart.ReleaseName,
		Namespace: firstOf(chart.Namespace, k.namespace), Source: r.kustomizationFile(k.folder),
	}}
	file := func(name string) layer { return layer{file: relative(r.tree.root, filepath.Join(k.folder, name))} }
	inline := layer{inline: normalizedMap(chart.ValuesInline)}
	switch {
	case chart.ValuesFile == "" || chart.ValuesMerge == "replace":
		found.layers = append(found.layers, inline)
	case chart.ValuesMerge == "merge":
		found.layers = append(found.layers, inline, file(chart.ValuesFile))
	default:
		found.layers = append(found.layers, file(chart.ValuesFile), inline)
	}
	for _, name := range chart.AdditionalValuesFiles {
		found.layers = append(found.layers, file(name))
	}
	return found
}

func (r *reader) kustomizationFile(folder string) string {
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
			return relative(r.tree.root, filepath.Join(folder, name))
		}
	}
	return relative(r.tree.root, folder)
}

// allApplications are those that the root makes, then those that stand in the tree besides.
func (r *reader) allApplications() []application {
	all := slices.Clone(r.model.applications)
	if root := r.model.root; root != nil {
		all = append(all, application{PlannedApplication: recovery.PlannedApplication{Name: root.object.GetName()}, file: root.file, spec: root.spec})
	}
	for i := range r.tree.entries {
		e := &r.tree.entries[i]
		if !isArgo(&e.object, "Application") || slices.ContainsFunc(all, func(app application) bool { return app.Name == e.object.GetName() }) {
			continue
		}
		spec, err := applicationOf(&e.object)
		if err != nil {
			r.model.pinned.Add("read Application", err)
			continue
		}
		all = append(all, application{PlannedApplication: recovery.PlannedApplication{Name: e.object.GetName()}, file: e.file, spec: spec})
	}
	return all
}

// isChart: the source is a chart and no folder of a repository.
func isChart(source *applicationSource) bool {
	return source.Chart != "" || strings.HasPrefix(source.RepoURL, "oci://")
}

// named is a chart that an Application names. A registry's address has no scheme there.
// Source: argo-cd util/helm/client.go, docs/user-guide/helm.md.
func (r *reader) named(app *application, source *applicationSource) pin {
	name, repository := source.Chart, source.RepoURL
	if name == "" {
		name, repository = path.Base(repository), strings.TrimSuffix(repository, "/"+path.Base(repository))
	}
	if !strings.Contains(repository, "://") {
		repository = "oci://" + repository
	}
	return pin{
		ChartPin: recovery.ChartPin{
			Name: name, Repository: withoutUserInfo(repository), Version: source.TargetRevision, Release: firstOf(source.Helm.ReleaseName, app.Name),
			Namespace: firstOf(source.Helm.Namespace, app.spec.Destination.Namespace), Source: app.file,
		},
		layers: r.helmLayers(app, source, ""),
	}
}

// chartFile is the part of a Chart.yaml that is read.
type chartFile struct {
	Name         string `json:"name"`
	Dependencies []struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		Repository string `json:"repository"`
		Alias      string `json:"alias"`
	} `json:"dependencies"`
}

// addDependencies adds what a chart of the tree depends on. Its values stand in the chart's own, below the dependency's
// name; an Application that syncs the chart adds its.
func (r *reader) addDependencies(folder string, apps []application) {
	source := path.Join(folder, "Chart.yaml")
	content, err := os.ReadFile(filepath.Join(r.tree.root, filepath.FromSlash(source)))
	if err != nil {
		return // the folder has no chart of its own, but a kustomization with charts
	}
	var chart chartFile
	if err := yaml.Unmarshal(content, &chart); err != nil {
		r.model.pinned.Add("", &recovery.Problem{What: "read " + source, Why: "it is no Chart.yaml", Next: "correct it", Err: recovery.ErrDamaged})
		return
	}
	var own []layer
	if file := path.Join(folder, "values.yaml"); r.exists(file) {
		own = append(own, layer{file: file})
	}
	release, namespace := "", ""
	for i := range apps {
		for _, from := range apps[i].spec.all() {
			if !isChart(&from) && r.here(from.RepoURL) && path.Clean(from.Path) == folder {
				release, namespace = firstOf(from.Helm.ReleaseName, apps[i].Name), firstOf(from.Helm.Namespace, apps[i].spec.Destination.Namespace)
				own = append(own, r.helmLayers(&apps[i], &from, folder)...)
			}
		}
	}
	for _, dependency := range chart.Dependencies {
		repository := dependency.Repository
		if strings.HasPrefix(repository, "file://") || strings.HasPrefix(repository, "@") || strings.HasPrefix(repository, "alias:") {
			repository = ""
		}
		found := pin{ChartPin: recovery.ChartPin{
			Name: dependency.Name, Repository: withoutUserInfo(repository), Version: dependency.Version, Release: release, Namespace: namespace, Source: source,
		}}
		for _, layer := range own {
			layer.below = firstOf(dependency.Alias, dependency.Name)
			if layer.file == "" {
				layer.inline = below(layer.inline, layer.below)
			}
			found.layers = append(found.layers, layer)
		}
		r.add(found)
	}
}

func (r *reader) exists(file string) bool {
	info, err := os.Stat(filepath.Join(r.tree.root, filepath.FromSlash(file)))
	return err == nil && !info.IsDir()
}
