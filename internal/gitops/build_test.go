package gitops

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const pvcA = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}}\n"

func TestBrokenTrees(t *testing.T) {
	tests := map[string]struct {
		tree   string
		claims []string
		gaps   []string // what each gap contains
	}{
		"a file that does not parse, with its line": {
			"-- apps/pvc.yaml --\n" + pvcA + "---\n# two\napiVersion: v1\nkind: Secret\nstringData:\n  KEY: canary: secret\n",
			[]string{"default/a in apps"},
			[]string{"apps/pvc.yaml:7: it is not YAML"},
		},
		"a file that does not parse beside a kustomization that does not name it": {
			"-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\n" + pvcA + "-- b.yaml --\napiVersion: v1\nkind: {{ x\n",
			[]string{"default/a in ."}, nil,
		},
		"a file that does not parse within a kustomization": {
			"-- k/kustomization.yaml --\nnamespace: ns\nresources: [a.yaml, b.yaml]\n-- k/a.yaml --\n" + pvcA + "-- k/b.yaml --\napiVersion: v1\nkind: Secret\nx: canary: y\n",
			[]string{"ns/a in k"},
			[]string{"build the kustomization k: kustomize can't build it", "k/b.yaml:3"},
		},
		"a kustomization that does not parse": {
			"-- k/kustomization.yaml --\nresources: [a.yaml\n-- k/a.yaml --\n" + pvcA + "-- k/b.yml --\n" + strings.ReplaceAll(pvcA, "name: a", "name: b"),
			[]string{"default/a in k", "default/b in k"},
			[]string{"k/kustomization.yaml:1: it is not YAML"},
		},
		"an unknown field in a kustomization": {
			"-- k/kustomization.yaml --\nresourcez: [a.yaml]\n-- k/a.yaml --\n" + pvcA,
			[]string{"default/a in k"},
			[]string{`read k/kustomization.yaml: kustomize says: unknown field "resourcez"`},
		},
		"a base that does not parse": {
			"-- k/kustomization.yaml --\nnamespace: ns\nresources: [../base]\n-- base/kustomization.yaml --\n[}\n-- base/a.yaml --\n" + pvcA,
			[]string{"ns/a in base"},
			[]string{"read base/kustomization.yaml:1", "build the kustomization k"},
		},
		"a resource that is not there": {
			"-- k/kustomization.yaml --\nnamespace: ns\nresources: [a.yaml, gone.yaml]\npatches: [{path: gone-patch.yaml}]\n-- k/a.yaml --\n" + pvcA,
			[]string{"ns/a in k"},
			[]string{"gone.yaml is not there", "gone-patch.yaml is not there"},
		},
		"the same object twice": {
			"-- k/kustomization.yaml --\nresources: [a.yaml, b.yaml]\n-- k/a.yaml --\n" + pvcA + "-- k/b.yaml --\n" + strings.ReplaceAll(pvcA, "PersistentVolumeClaim", "ConfigMap") + "---\n" + pvcA,
			[]string{"default/a in k"},
			[]string{"already registered id"},
		},
		"kustomizations in a circle": {
			"-- x/kustomization.yaml --\nresources: [../y, a.yaml]\n-- x/a.yaml --\n" + pvcA + "-- y/kustomization.yaml --\nresources: [../x]\n",
			[]string{"default/a in x"},
			[]string{"cycle detected"},
		},
		"two kustomization files in one folder": {
			"-- k/kustomization.yaml --\nresources: [a.yaml]\n-- k/kustomization.yml --\nresources: [a.yaml]\n-- k/a.yaml --\n" + pvcA,
			[]string{"default/a in k"},
			[]string{"multiple kustomization files"},
		},
		"generators that run programs": {
			"-- k/kustomization.yaml --\nnamespace: ns\nresources: [a.yaml]\ngenerators: [ksops.yaml]\n-- k/a.yaml --\n" + pvcA + "-- k/ksops.yaml --\n{apiVersion: viaduct.ai/v1, kind: ksops, metadata: {name: x}, files: [s.yaml]}\n",
			[]string{"ns/a in k"},
			[]string{"generators and transformers may run programs"},
		},
		"Flux's Kustomization in a file of that name": {
			"-- k/kustomization.yaml --\n{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: x}}\n-- k/a.yaml --\n" + pvcA,
			[]string{"default/a in k"}, nil,
		},
		"a component on its own": {
			"-- k/kustomization.yaml --\n{apiVersion: kustomize.config.k8s.io/v1alpha1, kind: Component, resources: [a.yaml, 'https://example.org/x']}\n-- k/a.yaml --\n" + pvcA,
			[]string{}, nil,
		},
		"a label named twice": {
			"-- k/kustomization.yaml --\ncommonLabels: {app: x}\nlabels: [{pairs: {app: other}}]\nresources: [a.yaml]\n-- k/a.yaml --\n" + pvcA,
			[]string{"default/a in k"}, nil,
		},
		"an overlay of a base": {
			"-- app/base/kustomization.yaml --\nresources: [a.yaml]\n-- app/base/a.yaml --\n" + pvcA + "-- app/overlays/prod/kustomization.yaml --\nnamespace: prod\nbases: [../../base]\n",
			[]string{"prod/a in app/base"}, nil,
		},
		"a parent of all": {
			"-- kustomization.yaml --\nresources: [app]\n-- app/kustomization.yaml --\nnamespace: ns\nresources: [a.yaml]\n-- app/a.yaml --\n" + pvcA,
			[]string{"ns/a in app"}, nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tree, gaps := open(t, test.tree)
			require.Equal(t, test.claims, list(t, tree, claims(), ""))
			texts := gapTexts(gaps)
			require.Len(t, texts, len(test.gaps), "%q", texts)
			for i, want := range test.gaps {
				require.Contains(t, texts[i], want)
				require.NotEmpty(t, gaps[i].Next)
				require.NotContains(t, texts[i], "canary")
			}
		})
	}
}

func TestNothingIsFetched(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	// A git that notes that it was called.
	bin := t.TempDir()
	called := filepath.Join(bin, "called")
	require.NoError(t, os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\ntouch "+called+"\nexit 1\n"), 0o755))
	t.Setenv("PATH", bin)

	tree, gaps := open(t, strings.NewReplacer("URL", server.URL, "GIT", "github.com/org/repo//deploy?ref=v1").Replace(`
-- k/kustomization.yaml --
namespace: ns
resources: [a.yaml, URL/resource.yaml, "GIT", "git@example.org:org/repo.git", "ssh://user:canary@example.org/repo", gone-dir]
components: [URL/component]
patches: [{path: URL/patch.yaml}]
patchesStrategicMerge: [URL/smp.yaml]
patchesJson6902: [{path: URL/json.yaml, target: {kind: Secret}}]
replacements: [{path: URL/replacement.yaml}]
crds: [URL/crds.json]
configurations: [URL/configuration.yaml]
openapi: {path: URL/schema.json}
configMapGenerator: [{name: c, files: [URL/file, "key=URL/keyed"], envs: [URL/env], literals: ["url=URL/literal"]}]
secretGenerator: [{name: s, env: URL/env}]
transformers: [URL/transformer.yaml, "{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: URL/p}"]
helmCharts: [{name: x, repo: URL}]
-- k/a.yaml --
`+pvcA))

	require.Equal(t, []string{"ns/a in k"}, list(t, tree, claims(), ""), "the local part is built")
	require.Zero(t, requests.Load())
	require.NoFileExists(t, called)
	require.Len(t, gaps, 18, "%q", gapTexts(gaps))
	for _, text := range gapTexts(gaps) {
		require.Contains(t, text, "build the kustomization k: ")
		require.NotContains(t, text, "canary")
	}
	require.ErrorIs(t, gaps[0], recovery.ErrUnsupported)
}

func TestKustomizationsOutsideTheTree(t *testing.T) {
	dir := write(t, "-- tree/app/kustomization.yaml --\nresources: [../../shared]\n-- shared/kustomization.yaml --\nresources: [a.yaml, 'https://example.org/x']\n-- shared/a.yaml --\n"+pvcA)

	tree, gaps, err := Open(t.Context(), filepath.Join(dir, "tree"))

	require.NoError(t, err)
	require.Len(t, gaps, 1)
	require.Contains(t, gaps[0].Error(), "../shared: https://example.org/x is remote")
	require.Equal(t, []string{"default/a in ../shared"}, list(t, tree, claims(), ""))
}
