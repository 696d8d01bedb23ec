package gitops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// layer is a part of a chart's values: a file of the tree, or what stands inline.
type layer struct {
	// file is relative to the tree, empty for what stands inline.
	file   string
	inline map[string]any
	// below is the key of the dependency whose values they are; empty when the values are the chart's own.
	below string
	// optional: a file that is not there is none.
	optional bool
	// problem is why the layer can't be read from this tree.
	problem *recovery.Problem
}

// Values merges the values of a pin and more files on top, in Helm's order, as YAML. More files are taken relative to
// the working directory, or to the tree where they are not there. A file that is missing is a Problem.
func (p *Platform) Values(ctx context.Context, chart recovery.ChartPin, more []string) ([]byte, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, layer := range layersOf(known, &chart) {
		part, err := p.read(&layer)
		if err != nil {
			return nil, err
		}
		values = merged(values, part)
	}
	for _, name := range more {
		part, err := valuesOf(p.located(name))
		if err != nil {
			return nil, err
		}
		values = merged(values, part)
	}
	encoded, err := yaml.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode the values of chart %s: %w", chart.Name, err)
	}
	return encoded, nil
}

// layersOf are those of a pin as the tree has it now. One that the tree does not pin any more has what it says itself.
func layersOf(known *model, chart *recovery.ChartPin) []layer {
	for i := range known.pins {
		is := &known.pins[i].ChartPin
		if is.Name == chart.Name && is.Source == chart.Source && is.Release == chart.Release && is.Namespace == chart.Namespace {
			return known.pins[i].layers
		}
	}
	var layers []layer
	for _, file := range chart.ValuesFiles {
		layers = append(layers, layer{file: file})
	}
	if chart.ValuesInline != "" {
		layers = append(layers, textLayer(chart.Source, chart.ValuesInline))
	}
	return layers
}

// located is the path of a file that somebody names.
func (p *Platform) located(name string) string {
	inTree := filepath.Join(p.tree.root, filepath.FromSlash(name))
	if _, err := os.Stat(name); err == nil || filepath.IsAbs(name) {
		return name
	}
	if _, err := os.Stat(inTree); err == nil {
		return inTree
	}
	return name
}

func (p *Platform) read(l *layer) (map[string]any, error) {
	if l.problem != nil {
		return nil, l.problem
	}
	if l.file == "" {
		return l.inline, nil
	}
	values, err := valuesOf(filepath.Join(p.tree.root, filepath.FromSlash(l.file)))
	switch {
	case l.optional && errors.Is(err, recovery.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case l.below != "":
		return below(values, l.below), nil
	}
	return values, nil
}

// valuesOf reads a values file. Its error quotes none of them.
func valuesOf(file string) (map[string]any, error) {
	problem := &recovery.Problem{What: "read the values file " + file, Next: "correct its name, or bring it back"}
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		problem.Why, problem.Err = "it is not there", errors.Join(recovery.ErrNotFound, err)
		return nil, problem
	}
	if err != nil {
		problem.Why, problem.Err = "it can't be read", errors.Join(recovery.ErrDenied, err)
		return nil, problem
	}
	values, line, reason := decode(content)
	if reason != "" {
		problem.What, problem.Why = fmt.Sprintf("%s:%d", problem.What, max(line, 1)), reason
		problem.Next, problem.Err = "correct the YAML", recovery.ErrDamaged
		return nil, problem
	}
	return values, nil
}

// merged lays one map over another: maps are merged, everything else is replaced; null replaces, too, since it takes a
// chart's default away. Source: helm pkg/cli/values/options.go, internal/util MergeMaps.
func merged(under, over map[string]any) map[string]any {
	result := make(map[string]any, len(under)+len(over))
	for key, value := range under {
		result[key] = value
	}
	for key, value := range over {
		before, wasMap := result[key].(map[string]any)
		after, isMap := value.(map[string]any)
		if wasMap && isMap {
			value = merged(before, after)
		}
		result[key] = value
	}
	return result
}

// below are the values that a dependency sees: those below its name, and the global ones.
func below(values map[string]any, name string) map[string]any {
	own, _ := values[name].(map[string]any)
	global, isMap := values["global"].(map[string]any)
	if !isMap {
		return own
	}
	return merged(own, map[string]any{"global": global})
}

// normalizedMap brings a map to the types that JSON decodes to.
func normalizedMap(values map[string]any) map[string]any {
	encoded, err := yaml.Marshal(values)
	if err != nil {
		return values
	}
	decoded, _, reason := decode(encoded)
	if reason != "" {
		return values
	}
	return decoded
}

// textLayer are values as YAML in a manifest.
func textLayer(where, text string) layer {
	encoded, err := yaml.YAMLToJSON([]byte(text))
	var values map[string]any
	if err != nil || utiljson.Unmarshal(encoded, &values) != nil {
		return layer{problem: &recovery.Problem{
			What: "read the inline values in " + where, Why: "they are not YAML of an object", Next: "correct the manifest", Err: recovery.ErrDamaged,
		}}
	}
	return layer{inline: values}
}

// helmLayers are the values that a source of an Application gives, in Argo CD's order: files, then values or
// valuesObject, of which the latter wins, then parameters. Files are relative to the chart's folder, which for a chart
// from elsewhere is not here, or to the source that $NAME refers to.
// Source: argo-cd reposerver/repository/repository.go helmTemplate, getResolvedValueFiles.
func (r *reader) helmLayers(app *application, source *applicationSource, folder string) []layer {
	var layers []layer
	for _, name := range source.Helm.ValueFiles {
		file := r.valueFile(app, name, folder)
		file.optional = source.Helm.IgnoreMissingValueFiles
		layers = append(layers, file)
	}
	switch {
	case len(source.Helm.ValuesObject) > 0:
		layers = append(layers, layer{inline: source.Helm.ValuesObject})
	case source.Helm.Values != "":
		layers = append(layers, textLayer(app.file, source.Helm.Values))
	}
	parameters := map[string]any{}
	for _, parameter := range source.Helm.Parameters {
		parse := strvals.ParseInto
		if parameter.ForceString {
			parse = strvals.ParseIntoString
		}
		if err := parse(parameter.Name+"="+escaped(parameter.Value), parameters); err != nil {
			layers = append(layers, r.unreadable(app, "its parameter "+parameter.Name, "it can't be parsed"))
		}
	}
	if len(parameters) > 0 {
		layers = append(layers, layer{inline: parameters})
	}
	if len(source.Helm.FileParameters) > 0 {
		layers = append(layers, r.unreadable(app, "its fileParameters", "drctl does not read them"))
	}
	return layers
}

// escaped keeps commas from parting a value, unless it is a list. Source: argo-cd util/helm/cmd.go cleanSetParameters.
func escaped(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	return strings.ReplaceAll(value, ",", `\,`)
}

func (r *reader) unreadable(app *application, what, why string) layer {
	return layer{problem: &recovery.Problem{
		What: fmt.Sprintf("read the Helm values of Application %s (%s): %s", app.Name, app.file, what), Why: why,
		Next: "put the values into a file of the tree", Err: recovery.ErrUnsupported,
	}}
}

// valueFile finds a file of a source.
func (r *reader) valueFile(app *application, name, folder string) layer {
	reference, rest, _ := strings.Cut(name, "/")
	if ref, isReference := strings.CutPrefix(reference, "$"); isReference {
		sources := app.spec.all()
		i := slices.IndexFunc(sources, func(source applicationSource) bool { return source.Ref == ref })
		switch {
		case i < 0:
			return r.unreadable(app, name, "no source of it has ref "+ref)
		case !r.here(sources[i].RepoURL):
			return r.unreadable(app, name, "it stands in another repository, "+withoutUserInfo(sources[i].RepoURL))
		}
		return layer{file: path.Clean(rest)}
	}
	switch {
	case strings.Contains(name, "://"):
		return r.unreadable(app, name, "it is remote, and drctl fetches nothing")
	case folder == "":
		return r.unreadable(app, name, "it stands in the chart, which is not in the tree")
	case strings.HasPrefix(name, "/"):
		return layer{file: strings.TrimPrefix(path.Clean(name), "/")} // the repository's root
	}
	return layer{file: path.Join(folder, name)}
}
