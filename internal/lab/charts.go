package lab

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartloader "helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// argoChartFiles is the lab's chart of Argo CD, without its Chart.yaml and its definitions.
//
//go:embed all:charts
var argoChartFiles embed.FS

// The versions of the lab's chart of Argo CD. Any other one can be made too, and is like the first two.
const (
	// ArgoChartFirst and ArgoChartNext become ready; an upgrade between them makes one ConfigMap and removes another.
	ArgoChartFirst = "9.1.0"
	ArgoChartNext  = "9.2.0"
	// ArgoChartBroken has an image that cannot be pulled: its server, repo-server and controller never become ready.
	ArgoChartBroken = "9.3.0"
	// ArgoChartBrokenHook has a Job before installation and upgrade that fails.
	ArgoChartBrokenHook = "9.4.0"
)

// ArgoChartName is the chart's name, and that of its folder.
const ArgoChartName = "argo-cd"

// ArgoChart writes a chart like Argo CD's into a folder of its own below dir, and gives the folder: two Deployments, a
// StatefulSet, Services, ConfigMaps, Secrets, RBAC, a Job as hook, and Argo CD's real definitions. That of ApplicationSets, which is
// larger than the 262,144 bytes that a client-side apply can remember, is in templates/ with that of AppProjects, switched by
// crds.install, as the real chart has them all; that of Applications is in crds/.
func ArgoChart(ctx context.Context, dir, version string) (string, error) {
	folder := filepath.Join(dir, ArgoChartName+"-"+version, ArgoChartName)
	root, err := fs.Sub(argoChartFiles, "charts/"+ArgoChartName)
	if err != nil {
		return "", fmt.Errorf("lab: chart %s: %w", version, err)
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", fmt.Errorf("lab: chart %s: %w", version, err)
	}
	if err := os.CopyFS(folder, root); err != nil {
		return "", fmt.Errorf("lab: chart %s: %w", version, err)
	}
	metadata, err := yaml.Marshal(&chart.Metadata{
		APIVersion: chart.APIVersionV2, Name: ArgoChartName, Type: "application", Version: version, KubeVersion: ">=1.25.0-0",
		AppVersion: "v3." + strings.TrimPrefix(version, "9."), Description: "A chart like Argo CD's, of the lab",
	})
	if err != nil {
		return "", fmt.Errorf("lab: chart %s: %w", version, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "Chart.yaml"), metadata, 0o644); err != nil {
		return "", fmt.Errorf("lab: chart %s: %w", version, err)
	}
	return folder, argoDefinitions(ctx, folder)
}

// argoDefinitions adds Argo CD's definitions from its own module.
func argoDefinitions(ctx context.Context, folder string) error {
	modules, err := fetchModules(ctx)
	if err != nil {
		return err
	}
	all, err := modules.All()
	if err != nil {
		return err
	}
	places := map[string]string{
		"applications.argoproj.io":    "crds/applications.yaml",
		"appprojects.argoproj.io":     "definitions/appprojects.yaml",
		"applicationsets.argoproj.io": "definitions/applicationsets.yaml",
	}
	for _, definition := range all {
		place, ours := places[definition.GetName()]
		if !ours {
			continue
		}
		content, err := definitionFile(definition)
		if err != nil {
			return fmt.Errorf("lab: definition %s: %w", definition.GetName(), err)
		}
		target := filepath.Join(folder, filepath.FromSlash(place))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("lab: definition %s: %w", definition.GetName(), err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return fmt.Errorf("lab: definition %s: %w", definition.GetName(), err)
		}
		delete(places, definition.GetName())
	}
	if len(places) > 0 {
		return fmt.Errorf("lab: the module of Argo CD has no definition of %v", places)
	}
	return nil
}

// definitionFile is a definition as YAML whose spec is on one line: its indentation alone would be a megabyte, in each release's
// record.
func definitionFile(definition *unstructured.Unstructured) ([]byte, error) {
	spec, err := json.Marshal(definition.Object["spec"])
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\nspec: %s\n", definition.GetAPIVersion(), definition.GetKind(), definition.GetName(), spec), nil
}

// PackChart packs a chart's folder into dir as helm package does, and gives the .tgz file.
func PackChart(folder, dir string) (string, error) {
	loaded, err := chartloader.LoadDir(folder)
	if err != nil {
		return "", fmt.Errorf("lab: chart %s: %w", folder, err)
	}
	path, err := chartutil.Save(loaded, dir)
	if err != nil {
		return "", fmt.Errorf("lab: pack chart %s: %w", folder, err)
	}
	return path, nil
}
