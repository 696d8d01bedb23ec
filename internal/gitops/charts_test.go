package gitops

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

func TestCharts(t *testing.T) {
	pins, gaps, err := installed(t).Charts(t.Context())
	require.NoError(t, err)
	require.Empty(t, gapTexts(gaps))
	require.Equal(t, []recovery.ChartPin{
		{
			Name: "cilium", Repository: "https://helm.cilium.io", Version: "1.18.2", Release: "cilium", Namespace: "kube-system", Source: "infrastructure/controllers/argocd/apps/cilium.yaml",
			ValuesFiles: []string{"infrastructure/networking/cilium/values.yaml"}, ValuesInline: "ipam:\n  pools:\n  - a\n  - b\nk8sServiceHost: 10.0.0.1\noperator:\n  replicas: 1\n",
		},
		{
			Name: "volsync", Repository: "oci://ghcr.io/charts", Release: "volsync", Namespace: "volsync-system", Source: "infrastructure/controllers/argocd/apps/storage.yaml",
			ValuesFiles: []string{}, ValuesInline: "manageCRDs: true\n",
		},
		{
			Name: "argo-cd", Repository: "https://argoproj.github.io/argo-helm", Version: "9.1.0", Release: "argocd", Namespace: "argocd", Source: "infrastructure/controllers/argocd/kustomization.yaml",
			ValuesFiles: []string{"infrastructure/controllers/argocd/values.yaml"}, ValuesInline: "server:\n  replicas: 2\n",
		},
		{
			Name: "kyverno", Repository: "https://kyverno.github.io/kyverno", Version: "3.6.1", Release: "kyverno", Namespace: "kyverno", Source: "infrastructure/controllers/kyverno/kustomization.yaml",
			ValuesFiles: []string{},
		},
	}, pins)
}

// values are those of a pin, decoded.
func values(t *testing.T, platform *Platform, name string, more ...string) map[string]any {
	t.Helper()
	pins, _, err := platform.Charts(t.Context())
	require.NoError(t, err)
	for _, pin := range pins {
		if pin.Name == name {
			encoded, err := platform.Values(t.Context(), pin, more)
			require.NoError(t, err)
			var decoded map[string]any
			require.NoError(t, yaml.Unmarshal(encoded, &decoded))
			return decoded
		}
	}
	require.Fail(t, "no such pin: "+name)
	return nil
}

func TestValues(t *testing.T) {
	platform := installed(t)
	require.Equal(t, map[string]any{
		"server": map[string]any{"replicas": 2.0, "extraArgs": []any{"--insecure"}}, "global": map[string]any{"domain": "argocd.example.invalid"},
	}, values(t, platform, "argo-cd"))
	require.Equal(t, map[string]any{
		"operator": map[string]any{"replicas": 1.0, "prometheus": map[string]any{"enabled": true}}, "gatewayAPI": map[string]any{"enabled": true},
		"k8sServiceHost": "10.0.0.1", "ipam": map[string]any{"pools": []any{"a", "b"}},
	}, values(t, platform, "cilium"))

	more := filepath.Join(t.TempDir(), "more.yaml")
	require.NoError(t, os.WriteFile(more, []byte("server: {replicas: 3, extraArgs: null}\n"), 0o600))
	merged := values(t, platform, "argo-cd", "infrastructure/networking/cilium/values.yaml", more)
	require.Equal(t, map[string]any{"replicas": 3.0, "extraArgs": nil}, merged["server"], "null takes a default away, so it stays")
	require.Contains(t, merged, "gatewayAPI")

	_, err := platform.Values(t.Context(), recovery.ChartPin{}, []string{"gone.yaml"})
	require.ErrorIs(t, err, recovery.ErrNotFound)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("password: canary-4711\n\tb: c\n"), 0o600))
	_, err = platform.Values(t.Context(), recovery.ChartPin{}, []string{bad})
	require.ErrorIs(t, err, recovery.ErrDamaged)
	require.NotContains(t, err.Error(), "canary-4711")
	encoded, err := platform.Values(t.Context(), recovery.ChartPin{Name: "no longer pinned", ValuesFiles: []string{"infrastructure/controllers/argocd/values.yaml"}, ValuesInline: "a: b"}, nil)
	require.NoError(t, err)
	require.Contains(t, string(encoded), "a: b\n")
	require.Contains(t, string(encoded), "--insecure")
}

// TestWrapperChart: a chart of the tree's own depends on another one, whose values stand below its name.
func TestWrapperChart(t *testing.T) {
	platform := platformOf(t, oneApp+`
-- apps/argo.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: argo}
spec: {source: {repoURL: r, path: charts/argo, helm: {releaseName: argocd, valueFiles: [values-prod.yaml, /shared.yaml, none.yaml], ignoreMissingValueFiles: true, valuesObject: {argo-cd: {a: inline}, other: 1}}}, destination: {namespace: argocd}}
-- charts/argo/Chart.yaml --
name: argo
version: 0.1.0
dependencies:
  - {name: argo-cd, version: 9.1.0, repository: "https://argoproj.github.io/argo-helm"}
  - {name: library, alias: lib, version: ^1.0.0, repository: "file://../library"}
-- charts/argo/values.yaml --
global: {domain: d}
argo-cd: {a: own, b: own, c: own}
lib: {x: z}
-- charts/argo/values-prod.yaml --
argo-cd: {b: prod}
-- shared.yaml --
argo-cd: {c: shared}
`)
	pins, gaps, err := platform.Charts(t.Context())
	require.NoError(t, err)
	require.Empty(t, gapTexts(gaps))
	require.Len(t, pins, 2)
	require.Equal(t, recovery.ChartPin{
		Name: "argo-cd", Repository: "https://argoproj.github.io/argo-helm", Version: "9.1.0", Release: "argocd", Namespace: "argocd", Source: "charts/argo/Chart.yaml",
		ValuesFiles: []string{"charts/argo/values.yaml", "charts/argo/values-prod.yaml", "shared.yaml", "charts/argo/none.yaml"}, ValuesInline: "a: inline\n",
	}, pins[0])
	require.Empty(t, pins[1].Repository+pins[1].Version)
	require.Equal(t, map[string]any{"a": "inline", "b": "prod", "c": "shared", "global": map[string]any{"domain": "d"}}, values(t, platform, "argo-cd"))
	require.Equal(t, map[string]any{"x": "z", "global": map[string]any{"domain": "d"}}, values(t, platform, "library"))
}

// TestKustomizeOrder: inline values are above the file unless valuesMerge says otherwise, and more files above both.
func TestKustomizeOrder(t *testing.T) {
	for _, test := range []struct {
		chart string
		want  map[string]any
	}{
		{"valuesFile: v.yaml, valuesInline: {a: inline}", map[string]any{"a": "inline", "b": "file"}},
		{"valuesFile: v.yaml, valuesInline: {a: inline, c: inline}, valuesMerge: merge", map[string]any{"a": "file", "b": "file", "c": "inline"}},
		{"valuesFile: v.yaml, valuesInline: {a: inline}, valuesMerge: replace", map[string]any{"a": "inline"}},
		{"valuesFile: v.yaml, valuesInline: {a: inline}, additionalValuesFiles: [w.yaml]", map[string]any{"a": "more", "b": "file"}},
	} {
		platform := platformOf(t, "-- app/kustomization.yaml --\nhelmCharts: [{name: x, repo: \"https://charts.example.invalid\", version: 1.0.0, "+test.chart+"}]\n-- app/v.yaml --\n{a: file, b: file}\n-- app/w.yaml --\na: more\n")
		require.Equal(t, test.want, values(t, platform, "x"), test.chart)
	}
}

// TestValuesThatAreElsewhere: the pin is known, and its values are a gap, and an error for who asks for them.
func TestValuesThatAreElsewhere(t *testing.T) {
	for helm, why := range map[string]string{
		`{valueFiles: [values-ha.yaml]}`:                        "it stands in the chart, which is not in the tree",
		`{valueFiles: ["https://example.invalid/values.yaml"]}`: "it is remote, and drctl fetches nothing",
		`{valueFiles: ["$none/values.yaml"]}`:                   "no source of it has ref none",
		`{values: "- a"}`:                                       "they are not YAML of an object",
		`{fileParameters: [{name: a, path: b}]}`:                "drctl does not read them",
		`{parameters: [{name: "a[x]", value: b}]}`:              "it can't be parsed",
		`{valueFiles: ["$other/values.yaml"]}`:                  "it stands in another repository",
	} {
		platform := platformOf(t, oneApp+"-- apps/chart.yaml --\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: c}\nspec: {sources: [{repoURL: \"https://charts.example.invalid\", chart: x, targetRevision: 1.0.0, helm: "+
			helm+"}, {repoURL: another, ref: other}]}\n")
		pins, gaps, err := platform.Charts(t.Context())
		require.NoError(t, err)
		require.Len(t, pins, 1)
		require.Len(t, gaps, 1, helm)
		require.Contains(t, gaps[0].Error(), why)
		_, err = platform.Values(t.Context(), pins[0], nil)
		require.ErrorContains(t, err, why)
	}
}

func TestExactVersion(t *testing.T) {
	for version, want := range map[string]string{
		"1.2.3": "1.2.3", "v1.2.3-rc.1+b": "1.2.3-rc.1+b", "1.2": "", "^1.2.3": "", "*": "", "": "", ">=1.0.0 <2.0.0": "", "1.2.x": "", "main": "",
	} {
		require.Equal(t, want, exactVersion(version), version)
	}
}
