package crds_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab/crds"
)

const manifests = "../parts/manifests"

func fetch(t *testing.T) crds.Modules {
	t.Helper()
	modules, err := crds.Fetch(t.Context(), manifests)
	require.NoError(t, err)
	return modules
}

func TestAllDefinitionsAreThere(t *testing.T) {
	all, err := fetch(t).All()
	require.NoError(t, err)
	var names []string
	for _, object := range all {
		require.Equal(t, "CustomResourceDefinition", object.GetKind())
		names = append(names, object.GetName())
	}
	require.ElementsMatch(t, []string{
		"replicationsources.volsync.backube", "replicationdestinations.volsync.backube",
		"applications.argoproj.io", "applicationsets.argoproj.io", "appprojects.argoproj.io",
		"objectstores.barmancloud.cnpg.io",
		"volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotclasses.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io",
	}, names)
}

// TestKopiaBlockIsStructural walks the added block: every node has a type (or is int-or-string), every
// object lists its fields, and nothing preserves unknown ones.
func TestKopiaBlockIsStructural(t *testing.T) {
	all, err := fetch(t).All()
	require.NoError(t, err)
	walked := 0
	for _, crd := range all {
		if crd.Object["spec"].(map[string]any)["group"] != "volsync.backube" {
			continue
		}
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		require.NoError(t, err)
		for _, part := range []string{"spec", "status"} {
			block, found, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", part, "properties", "kopia")
			require.NoError(t, err)
			require.True(t, found, "%s of %s has no kopia block", part, crd.GetName())
			requireStructural(t, crd.GetName()+" "+part+".kopia", block)
			walked++
		}
	}
	require.Equal(t, 4, walked)
}

func requireStructural(t *testing.T, path string, node map[string]any) {
	t.Helper()
	require.NotContains(t, node, "x-kubernetes-preserve-unknown-fields", path)
	if node["x-kubernetes-int-or-string"] != true {
		require.NotEmpty(t, node["type"], "%s has no type", path)
	}
	fields, hasFields := node["properties"].(map[string]any)
	additional, hasAdditional := node["additionalProperties"].(map[string]any)
	if node["type"] == "object" {
		require.True(t, hasFields || hasAdditional, "%s is an object of unknown fields", path)
	}
	for name, field := range fields {
		requireStructural(t, path+"."+name, field.(map[string]any))
	}
	if hasAdditional {
		requireStructural(t, path+"{}", additional)
	}
	if items, ok := node["items"].(map[string]any); ok {
		requireStructural(t, path+"[]", items)
	}
}

func TestCNPGRelease(t *testing.T) {
	objects, err := fetch(t).CNPGRelease()
	require.NoError(t, err)
	kinds := map[string]int{}
	for _, object := range objects {
		kinds[object.GetKind()]++
	}
	require.Equal(t, 1, kinds["Deployment"])
	require.Equal(t, 1, kinds["MutatingWebhookConfiguration"])
	require.Equal(t, 1, kinds["ValidatingWebhookConfiguration"])
	require.Greater(t, kinds["CustomResourceDefinition"], 5)
}

// TestVersionsMatch holds the definitions to what drctl is compiled against and what the lab runs.
func TestVersionsMatch(t *testing.T) {
	pinned := requires(t, manifests)
	for module, other := range map[string]string{
		"github.com/backube/volsync":               "../../..",
		"github.com/cloudnative-pg/cloudnative-pg": "../parts/cnpg",
	} {
		require.Equal(t, requires(t, other)[module], pinned[module], "%s in %s", module, other)
	}
	require.Equal(t, requires(t, "../../..")["github.com/cloudnative-pg/cloudnative-pg"], pinned["github.com/cloudnative-pg/cloudnative-pg"])
}

func requires(t *testing.T, dir string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	versions := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) (v\S+)`).FindAllStringSubmatch(string(content), -1) {
		versions[match[1]] = match[2]
	}
	require.NotEmpty(t, versions)
	return versions
}

func TestFetchSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module x\n\ngo 1.26\n"), 0o600))
	_, err := crds.Fetch(t.Context(), dir)
	require.ErrorContains(t, err, "argo-cd")
}

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want []string
		err  string
	}{
		"two documents": {in: "kind: A\napiVersion: v1\n---\nkind: B\napiVersion: v1\n", want: []string{"A", "B"}},
		"an empty one":  {in: "---\n---\nkind: A\napiVersion: v1\n---\n# nothing\n", want: []string{"A"}},
		"not YAML":      {in: "kind: [", err: "yaml"},
		"nothing":       {in: ""},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := crds.Decode([]byte(test.in))
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			var kinds []string
			for _, object := range objects {
				kinds = append(kinds, object.GetKind())
			}
			require.Equal(t, test.want, kinds)
		})
	}
}
