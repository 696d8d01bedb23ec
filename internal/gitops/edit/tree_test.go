package edit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// tree puts the files of a txtar archive into a folder.
func tree(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(dir, file.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, file.Data, 0o644))
	}
	return dir
}

// changed gives "PATH:LINE: TEXT" of each line that an edit changes.
func changed(t *testing.T, edits []Edited) []string {
	t.Helper()
	lines := []string{}
	for _, edited := range edits {
		after := strings.Split(string(edited.After), "\n")
		for _, change := range edited.Changes {
			lines = append(lines, fmt.Sprintf("%s:%d: %s", edited.Path, change.Line, strings.TrimSpace(after[change.Line-1])))
		}
		require.NotEqual(t, string(edited.Before), string(edited.After))
	}
	return lines
}

const manifest = `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: immich-database, namespace: cloudnative-pg}
spec:
  bootstrap: {initdb: {database: immich}}
  # externalClusters:
  #   - name: immich-backup
  #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v1}
  backup:
    barmanObjectStore:
      destinationPath: s3://a/b
      serverName: immich-database-v1
`

func trees() map[string]struct {
	archive string
	want    []string
} {
	withDefault := strings.Replace(manifest, "      serverName: immich-database-v1\n", "", 1)
	return map[string]struct {
		archive string
		want    []string
	}{
		"a manifest alone": {"-- db/cluster.yaml --\n" + manifest, []string{
			"db/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			"db/cluster.yaml:12: serverName: immich-database-v2",
		}},
		"a kustomization": {"-- db/kustomization.yaml --\nresources: [cluster.yaml]\n-- db/cluster.yaml --\n" + manifest, []string{
			"db/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			"db/cluster.yaml:12: serverName: immich-database-v2",
		}},
		"a patch with the same server as the base": {`
-- base/kustomization.yaml --
resources: [cluster.yaml]
-- base/cluster.yaml --
` + manifest + `
-- prod/kustomization.yaml --
resources: [../base]
patches:
  - path: server.yaml
-- prod/server.yaml --
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: immich-database, namespace: cloudnative-pg}
spec: {backup: {barmanObjectStore: {serverName: immich-database-v1}}}
`, []string{
			"base/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			"prod/server.yaml:4: spec: {backup: {barmanObjectStore: {serverName: immich-database-v2}}}",
		}},
		"a patch with a target and a name of its own": {`
-- base/kustomization.yaml --
resources: [cluster.yaml]
-- base/cluster.yaml --
` + strings.Replace(manifest, "      serverName: immich-database-v1", "      serverName: changed-by-a-patch", 1) + `
-- prod/kustomization.yaml --
resources: [../base]
patches:
  - target: {kind: Cluster, name: immich-.*}
    path: ../server.yaml
  - target: {kind: Cluster, name: other}
    path: ../other.yaml
-- other.yaml --
- {op: add, path: /spec/backup/barmanObjectStore/serverName, value: immich-database-v1}
-- server.yaml --
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: whatever}
spec: {backup: {barmanObjectStore: {serverName: immich-database-v1}}}
`, []string{
			"base/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			"server.yaml:4: spec: {backup: {barmanObjectStore: {serverName: immich-database-v2}}}",
		}},
		"patches in the kustomization": {`
-- prod/kustomization.yaml --
resources: [cluster.yaml]
patches:
  - patch: |
      apiVersion: postgresql.cnpg.io/v1
      kind: Cluster
      metadata: {name: immich-database, namespace: cloudnative-pg}
      spec: {instances: 3}
  - target: {kind: Cluster}
    patch: |-

      - op: replace
        path: /spec/instances
        value: 2
      - op: replace
        path: /spec/backup/barmanObjectStore/serverName
        value: "immich-database-v1" # here
-- prod/cluster.yaml --
` + manifest, []string{
			"prod/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			`prod/kustomization.yaml:16: value: "immich-database-v2" # here`,
		}},
		"deprecated fields": {`
-- prod/kustomization.yaml --
resources: [cluster.yaml]
patchesJson6902:
- target: {group: postgresql.cnpg.io, version: v1, kind: Cluster, name: immich-database}
  path: server.yaml
patchesStrategicMerge:
- |-
  apiVersion: postgresql.cnpg.io/v1
  kind: Cluster
  metadata: {name: immich-database, namespace: cloudnative-pg}
  spec: {instances: 3}
-- prod/server.yaml --
- op: add
  path: /spec/backup
  value:
    barmanObjectStore:
      destinationPath: s3://a/b
      serverName: immich-database-v1
-- prod/cluster.yaml --
` + manifest, []string{
			"prod/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			"prod/server.yaml:6: serverName: immich-database-v2",
		}},
		"one of two overlays": {`
-- base/kustomization.yaml --
resources: [cluster.yaml]
-- base/cluster.yaml --
` + strings.Replace(withDefault, ", namespace: cloudnative-pg", "", 1) + `
-- prod/kustomization.yaml --
namespace: cloudnative-pg
resources: [../base]
patches: [{path: server.yaml}]
-- prod/server.yaml --
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: immich-database}
spec:
  backup:
    barmanObjectStore:
      serverName: immich-database-v1
-- staging/kustomization.yaml --
namespace: staging
resources: [../base]
`, []string{
			"base/cluster.yaml:8: #     barmanObjectStore: {destinationPath: s3://a/b, serverName: immich-database-v2}",
			"prod/server.yaml:7: serverName: immich-database-v2",
		}},
		"a component that adds the plugin": {`
-- base/kustomization.yaml --
resources: [cluster.yaml]
components: [../backup]
-- base/cluster.yaml --
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: immich-database, namespace: cloudnative-pg}
spec: {instances: 1}
-- backup/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- target: {kind: Cluster}
  patch: |
    apiVersion: postgresql.cnpg.io/v1
    kind: Cluster
    metadata: {name: any}
    spec:
      plugins:
      - name: barman-cloud.cloudnative-pg.io
        isWALArchiver: true
        parameters: {barmanObjectName: garage, serverName: immich-database-v1}
`, []string{"backup/kustomization.yaml:13: parameters: {barmanObjectName: garage, serverName: immich-database-v2}"}},
	}
}

func TestFindAndSet(t *testing.T) {
	for name, test := range trees() {
		t.Run(name, func(t *testing.T) {
			root := tree(t, test.archive)
			asked := 0
			build := func(ctx context.Context, copied string) (string, error) {
				asked++
				require.NotEqual(t, root, copied)
				b, err := buildTree(ctx, copied, immich())
				require.NoError(t, err)
				return b.server(), nil
			}
			edits, err := FindAndSet(t.Context(), root, immich(), from, to, build)
			require.NoError(t, err)
			require.Equal(t, test.want, changed(t, edits))
			require.Equal(t, 1, asked)

			require.NoError(t, os.Chmod(filepath.Join(root, edits[0].Path), 0o640))
			require.NoError(t, Write(root, edits))
			require.NoError(t, Write(root, edits), "twice is once")
			info, err := os.Stat(filepath.Join(root, edits[0].Path))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o640), info.Mode())
			b, err := buildTree(t.Context(), root, immich())
			require.NoError(t, err)
			require.Equal(t, to, b.server())
			again, err := FindAndSet(t.Context(), root, immich(), from, to, build)
			require.NoError(t, err)
			require.Empty(t, again)
		})
	}
}

func TestFindAndSetInsertsTheDefault(t *testing.T) {
	root := tree(t, "-- db/kustomization.yaml --\nresources: [cluster.yaml]\npatches: [{path: a.yaml}]\n-- db/a.yaml --\n"+
		"apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database, namespace: cloudnative-pg}\nspec:\n  instances: 2\n"+
		"-- db/cluster.yaml --\n"+strings.Replace(manifest, "      serverName: immich-database-v1\n", "", 1))
	edits, err := FindAndSet(t.Context(), root, immich(), "immich-database", to, nil)
	require.NoError(t, err)
	require.Contains(t, changed(t, edits), "db/cluster.yaml:11: serverName: immich-database-v2")
}

func TestFindAndSetRefuses(t *testing.T) {
	recovered := strings.Replace(manifest, "{initdb: {database: immich}}", "{recovery: {source: x}}", 1)
	tests := map[string]struct{ archive, why string }{
		"live recovery":       {"-- c.yaml --\n" + recovered, "bootstrap.recovery"},
		"another server":      {"-- c.yaml --\n" + strings.ReplaceAll(manifest, from, "immich-database-v7"), "makes it write to immich-database-v7"},
		"no backup":           {"-- c.yaml --\napiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database, namespace: cloudnative-pg}\nspec: {instances: 1}\n", "without a backup section"},
		"an alias":            {"-- c.yaml --\n" + strings.Replace(manifest, "serverName: immich-database-v1\n", "serverName: *s\n", 1) + "x: &s immich-database-v1\n", ""},
		"a quoted patch":      {"-- kustomization.yaml --\nresources: [c.yaml]\npatches: [{target: {kind: Cluster}, patch: \"[{op: add, path: /spec/backup/barmanObjectStore/serverName, value: immich-database-v1}]\"}]\n-- c.yaml --\n" + strings.ReplaceAll(manifest, from, "x"), "neither"},
		"a name with prefix":  {"-- kustomization.yaml --\nnamePrefix: immich-\nresources: [c.yaml]\n-- c.yaml --\n" + strings.Replace(manifest, "name: immich-database,", "name: database,", 1), "no file was found in which the server is set"},
		"another uses it too": {"-- base/kustomization.yaml --\nresources: [c.yaml]\n-- base/c.yaml --\n" + strings.Replace(manifest, ", namespace: cloudnative-pg", "", 1) + "-- a/kustomization.yaml --\nnamespace: cloudnative-pg\nresources: [../base]\n-- b/kustomization.yaml --\nnamespace: b\nresources: [../base]\n", "Cluster b/immich-database would change too"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			edits, err := FindAndSet(t.Context(), tree(t, test.archive), immich(), from, to, nil)
			require.Empty(t, edits)
			if test.why == "" {
				require.Error(t, err)
				return
			}
			var refusal *Unrecognised
			require.ErrorAs(t, err, &refusal)
			require.Contains(t, refusal.Why, test.why)
			require.Contains(t, refusal.ManualPatch, "+++ b/")
		})
	}
}

func TestFindAndSetFindsNone(t *testing.T) {
	_, err := FindAndSet(t.Context(), tree(t, "-- a.yaml --\nkind: x\n"), immich(), from, to, nil)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	_, err = FindAndSet(t.Context(), t.TempDir()+"/missing", immich(), from, to, nil)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = FindAndSet(ctx, t.TempDir(), immich(), from, to, nil)
	require.ErrorIs(t, err, context.Canceled)
	two := "-- a/c.yaml --\n" + manifest + "-- b/c.yaml --\n" + manifest
	_, err = FindAndSet(t.Context(), tree(t, two), immich(), from, to, nil)
	require.ErrorContains(t, err, "it comes out of a and b")
}

// TestFindAndSetWarnsOfWhatDoesNotBuild: an overlay that can't be built may change the server unseen.
func TestFindAndSetWarnsOfWhatDoesNotBuild(t *testing.T) {
	root := tree(t, "-- base/kustomization.yaml --\nresources: [c.yaml]\n-- base/c.yaml --\n"+manifest+
		"-- prod/kustomization.yaml --\nresources: [../base]\nunknown: 1\n-- far/kustomization.yaml --\nresources: [https://example.invalid/x]\n")
	edits, err := FindAndSet(t.Context(), root, immich(), from, to, nil)
	require.NoError(t, err)
	require.Len(t, edits, 1)
	require.Len(t, edits[0].Warnings, 1)
	require.Contains(t, edits[0].Warnings[0], "prod")
}

func TestFindAndSetAsksTheBuild(t *testing.T) {
	root := tree(t, "-- c.yaml --\n"+manifest)
	_, err := FindAndSet(t.Context(), root, immich(), from, to, func(context.Context, string) (string, error) { return from, nil })
	require.ErrorContains(t, err, "another build of the tree would make it write to immich-database-v1")
	failed := errors.New("no kubectl")
	_, err = FindAndSet(t.Context(), root, immich(), from, to, func(context.Context, string) (string, error) { return "", failed })
	require.ErrorIs(t, err, failed)
}

func TestWriteFindsAChangedFile(t *testing.T) {
	root := tree(t, "-- a.yaml --\na\n-- b.yaml --\nchanged\n")
	edits := []Edited{{Path: "a.yaml", Before: []byte("a\n"), After: []byte("x\n")}, {Path: "b.yaml", Before: []byte("b\n"), After: []byte("y\n")}}
	var problem *recovery.Problem
	require.ErrorAs(t, Write(root, edits), &problem)
	content, err := os.ReadFile(filepath.Join(root, "a.yaml"))
	require.NoError(t, err)
	require.Equal(t, "a\n", string(content))
	require.Error(t, Write(root, []Edited{{Path: "missing.yaml"}}))
}
