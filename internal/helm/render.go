package helm

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	chartcommon "helm.sh/helm/v4/pkg/chart/common"
	chartvalues "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	releasev1util "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// rendering is what a chart comes to with its values, on this cluster.
type rendering struct {
	definitions []chart.CRD
	hooks       []*releasev1.Hook
	manifests   []releasev1util.Manifest
}

// Render is the manifest that Deploy would apply, with its hooks and definitions, without the values of Secrets.
func (c *Client) Render(ctx context.Context, target Target) (string, error) {
	session, newest, err := c.newest(ctx, target.Namespace, target.Name)
	if err != nil {
		return "", err
	}
	rendered, err := c.render(ctx, session, target, newest)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, definition := range rendered.definitions {
		fmt.Fprintf(&text, "---\n# Source: %s\n%s\n", definition.Filename, strings.TrimSpace(string(definition.File.Data)))
	}
	for _, hook := range rendered.hooks {
		if err := write(&text, hook.Path, hook.Manifest); err != nil {
			return "", err
		}
	}
	for _, manifest := range rendered.manifests {
		if err := write(&text, manifest.Name, manifest.Content); err != nil {
			return "", err
		}
	}
	return text.String(), nil
}

// render fills the chart's templates in. They may look objects up in the cluster.
func (c *Client) render(ctx context.Context, session *action.Configuration, target Target, newest *releasev1.Release) (*rendering, error) {
	what := fmt.Sprintf("render chart %s %s", target.Chart.Name, target.Chart.Version)
	loaded, given, err := c.chart(target)
	if err != nil {
		return nil, err
	}
	capabilities, err := c.capabilities(session)
	if err != nil {
		return nil, explain(ctx, what, err)
	}
	if wanted := loaded.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, capabilities.KubeVersion.String()) {
		return nil, &recovery.Problem{
			What: what, Why: fmt.Sprintf("it asks for Kubernetes %s, and this is %s", wanted, capabilities.KubeVersion.Version),
			Next: "take another version of the chart: --chart-version", Err: recovery.ErrUnsupported,
		}
	}
	revision := 1
	if newest != nil {
		revision = newest.Version + 1
	}
	values, err := valuesFor(loaded, given, capabilities, chartcommon.ReleaseOptions{
		Name: target.Name, Namespace: target.Namespace, Revision: revision, IsInstall: newest == nil, IsUpgrade: newest != nil,
	})
	if err != nil {
		return nil, invalidValues(what, err, given)
	}
	config, err := session.RESTClientGetter.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	files, err := engine.New(config).RenderWithContext(ctx, loaded, values)
	if err != nil {
		return nil, invalidValues(what, err, given)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	rendered := &rendering{definitions: loaded.CRDObjects()}
	if rendered.hooks, rendered.manifests, err = releasev1util.SortManifests(files, nil, releasev1util.InstallOrder); err != nil {
		return nil, invalidValues(what, err, given)
	}
	return rendered, nil
}

// valuesFor also switches the chart's dependencies on and off, which the values say, and holds them against its schema.
func valuesFor(loaded *chart.Chart, given map[string]any, capabilities *chartcommon.Capabilities, options chartcommon.ReleaseOptions) (chartcommon.Values, error) {
	if err := chartutil.ProcessDependencies(loaded, given); err != nil {
		return nil, err
	}
	return chartvalues.ToRenderValuesWithSchemaValidation(loaded, given, options, capabilities, false)
}

// invalidValues is a chart that does not come to anything with its values. Templates and schemas may quote what they were given,
// so the operator's values are taken out, and of Helm's error only the text stays.
func invalidValues(what string, err error, given map[string]any) error {
	return &recovery.Problem{
		What: what, Why: hide(err.Error(), given), Next: "correct the values file, or take another version of the chart", Err: recovery.ErrInvalid,
	}
}

// shortestHidden leaves words like "true" and "v1" in messages.
const shortestHidden = 6

// hide replaces every text of the values in a message.
func hide(message string, value any) string {
	switch value := value.(type) {
	case map[string]any:
		for _, each := range value {
			message = hide(message, each)
		}
	case []any:
		for _, each := range value {
			message = hide(message, each)
		}
	case string:
		if len(value) >= shortestHidden {
			message = strings.ReplaceAll(message, value, "(hidden)")
		}
	}
	return message
}

// write adds a document, with the values of a Secret taken out.
func write(text *strings.Builder, source, document string) error {
	objects, err := parse(document)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	for _, object := range objects {
		if object.GetKind() != secretKind || object.GroupVersionKind().Group != "" {
			continue
		}
		for _, field := range []string{"data", "stringData"} {
			entries, _ := object.Object[field].(map[string]any)
			for key := range entries {
				entries[key] = "(hidden)"
			}
		}
		hidden, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("%s: hide the values of %s: %w", source, describe(object), err)
		}
		document = string(hidden)
	}
	fmt.Fprintf(text, "---\n# Source: %s\n%s\n", source, strings.TrimSpace(document))
	return nil
}
