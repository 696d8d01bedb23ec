package gitops

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

func claims() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
}

func clusters() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}
}

// write puts the files of a txtar archive into a folder.
func write(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(dir, file.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, file.Data, 0o644))
	}
	return dir
}

func open(t *testing.T, archive string) (*Tree, recovery.Gaps) {
	t.Helper()
	tree, gaps, err := Open(t.Context(), write(t, archive))
	require.NoError(t, err)
	return tree, gaps
}

func platform(t *testing.T) (*Tree, recovery.Gaps) {
	t.Helper()
	content, err := os.ReadFile("testdata/platform.txtar")
	require.NoError(t, err)
	return open(t, string(content))
}

// list gives "NAMESPACE/NAME in DIRECTORY" of a kind.
func list(t *testing.T, tree *Tree, gvr schema.GroupVersionResource, namespace string) []string {
	t.Helper()
	items, gaps, err := tree.List(t.Context(), gvr, namespace)
	require.NoError(t, err)
	require.Empty(t, gaps)
	names := []string{}
	for i := range items {
		names = append(names, items[i].GetNamespace()+"/"+items[i].GetName()+" in "+directoryOf(&items[i]))
	}
	return names
}

func gapTexts(gaps recovery.Gaps) []string {
	texts := []string{}
	for _, gap := range gaps {
		texts = append(texts, gap.Error())
	}
	return texts
}

func TestPlatformTree(t *testing.T) {
	tree, gaps := platform(t)

	require.Empty(t, gapTexts(gaps))
	require.Equal(t, []string{"charts/own", "infrastructure/controllers/kyverno"}, tree.Charts())
	require.Equal(t, []string{"cloudnative-pg/immich-database in infrastructure/database/cnpg/immich"}, list(t, tree, clusters(), ""))
	require.Equal(t, []string{
		"immich/library in my-apps/media/immich", "immich/cache in my-apps/media/immich",
		"karakeep/data-pvc in shared/claim", "default/by-hand in secrets",
	}, list(t, tree, claims(), ""))
	require.Equal(t, []string{"karakeep/data-pvc in shared/claim"}, list(t, tree, claims(), "karakeep"))
	require.Equal(t, []string{"/kyverno in infrastructure/controllers/kyverno"},
		list(t, tree, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, ""))
	require.Equal(t, []string{}, list(t, tree, schema.GroupVersionResource{Group: "longhorn.io", Version: "v1", Resource: "clusters"}, ""))

	items, _, err := tree.List(t.Context(), claims(), "")
	require.NoError(t, err)
	library, karakeep := items[0], items[2]
	size, _, err := unstructured.NestedString(library.Object, "spec", "resources", "requests", "storage")
	require.NoError(t, err)
	require.Equal(t, "500Gi", size, "the patch is applied")
	require.Equal(t, map[string]string{"app": "immich", "backup": "daily"}, library.GetLabels())
	require.Equal(t, "hourly", karakeep.GetLabels()["backup"], "from the component")
	require.Equal(t, map[string]string{recovery.DirectoryAnnotation: "my-apps/media/immich"}, library.GetAnnotations())
}

func TestBuildingIsSilent(t *testing.T) {
	stderr := os.Stderr
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	os.Stderr = writer
	t.Cleanup(func() { os.Stderr = stderr })
	platform(t)
	os.Stderr = stderr
	require.NoError(t, writer.Close())
	var printed bytes.Buffer
	_, err = printed.ReadFrom(reader)
	require.NoError(t, err)
	require.Empty(t, printed.String(), "kustomize's warnings of deprecated fields")
}

func TestNumbersStayIntegers(t *testing.T) {
	tree, _ := platform(t)
	items, _, err := tree.List(t.Context(), clusters(), "")
	require.NoError(t, err)
	instances, _, err := unstructured.NestedInt64(items[0].Object, "spec", "instances")
	require.NoError(t, err)
	require.EqualValues(t, 1, instances)
}

func TestListGivesCopies(t *testing.T) {
	tree, _ := platform(t)
	items, _, err := tree.List(t.Context(), clusters(), "")
	require.NoError(t, err)
	items[0].SetName("changed")
	require.Equal(t, []string{"cloudnative-pg/immich-database in infrastructure/database/cnpg/immich"}, list(t, tree, clusters(), ""))
}

func TestOneNameTwice(t *testing.T) {
	const twins = `
-- a/cluster.yaml --
{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: db, namespace: x}, spec: {instances: 1}}
-- b/cluster.yaml --
{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: db, namespace: x}, spec: {instances: 1}}
-- c/cluster.yaml --
{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: db, namespace: x}, spec: {instances: 3}}
`
	tree, gaps := open(t, twins)
	require.Empty(t, gaps)

	items, gaps, err := tree.List(t.Context(), clusters(), "")

	require.NoError(t, err)
	require.Len(t, items, 1)
	require.Equal(t, "a", directoryOf(&items[0]))
	require.Len(t, gaps, 1, "an equal one is no problem")
	require.Contains(t, gaps[0].Error(), "it stands in a and, different, in c")
}

func TestOpenOfNoTree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for _, dir := range []string{filepath.Join(t.TempDir(), "none"), file} {
		_, _, err := Open(t.Context(), dir)
		require.ErrorIs(t, err, recovery.ErrNotFound)
		require.Contains(t, err.Error(), "--gitops")
	}
}

func TestOpenAnEmptyTree(t *testing.T) {
	tree, gaps, err := Open(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Equal(t, []string{}, list(t, tree, claims(), ""))
}

func TestCancelled(t *testing.T) {
	dir := write(t, "-- a.yaml --\nkind: x\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := Open(ctx, dir)
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = (&Tree{}).List(ctx, claims(), "")
	require.ErrorIs(t, err, context.Canceled)
	_, err = (&Tree{}).Secret(ctx, "a", "b")
	require.ErrorIs(t, err, context.Canceled)
}

func TestSymbolicLinks(t *testing.T) {
	dir := write(t, `
-- real/pvc.yaml --
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: x}}
-- app/kustomization.yaml --
resources: [linked/pvc2.yaml]
-- elsewhere/pvc2.yaml --
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: b, namespace: x}}
`)
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "real", "loop")))
	require.NoError(t, os.Symlink("../elsewhere", filepath.Join(dir, "app", "linked")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "broken.yaml")))
	link := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.Symlink(dir, link))

	tree, gaps, err := Open(t.Context(), link)

	require.NoError(t, err)
	require.Empty(t, gapTexts(gaps))
	require.Equal(t, []string{"x/b in app/linked", "x/a in real"}, list(t, tree, claims(), ""))
}

func TestHugeAndBinaryFilesAreNoManifests(t *testing.T) {
	manifest := "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: x}}\n"
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "huge.yaml"), []byte(manifest+strings.Repeat("#", maxManifestBytes)), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "binary.yaml"), []byte(manifest+"---\napiVersion: kind:\x00\xff\xfe"), 0o644))

	tree, gaps, err := Open(t.Context(), dir)

	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Equal(t, []string{}, list(t, tree, claims(), ""))
}
