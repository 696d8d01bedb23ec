package edit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
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
