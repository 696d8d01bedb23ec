package cloudnativepg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

var update = flag.Bool("update", false, "write the golden files anew")

// manifests lists the objects of a YAML file by their full kind; refused ones by resource.
type manifests struct {
	items   []unstructured.Unstructured
	refused map[string]error
	asked   []string
}

func (m *manifests) List(_ context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	m.asked = append(m.asked, gvr.GroupResource().String())
	if err := m.refused[gvr.Resource]; err != nil {
		return nil, nil, err
	}
	var found []unstructured.Unstructured
	for _, item := range m.items {
		plural, _ := meta.UnsafeGuessKindToResource(item.GroupVersionKind())
		if plural == gvr && (namespace == "" || item.GetNamespace() == namespace) {
			found = append(found, item)
		}
	}
	return found, nil, nil
}

func readManifests(t *testing.T, name string) *manifests {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	m := &manifests{refused: map[string]error{}}
	for _, document := range bytes.Split(content, []byte("\n---\n")) {
		encoded, err := yaml.YAMLToJSON(document)
		require.NoError(t, err)
		object := unstructured.Unstructured{}
		require.NoError(t, object.UnmarshalJSON(encoded))
		m.items = append(m.items, object)
	}
	return m
}

func TestDatabases(t *testing.T) {
	objects := readManifests(t, "clusters.yaml")

	databases, gaps, err := Databases(t.Context(), objects, "")

	require.NoError(t, err)
	require.Len(t, gaps, 1)
	require.ErrorIs(t, gaps[0], recovery.ErrDamaged)
	require.Contains(t, gaps[0].Error(), "Cluster databases/broken")
	requireGolden(t, "databases.golden.json", databases)
	require.Equal(t, []string{
		"clusters.postgresql.cnpg.io", "scheduledbackups.postgresql.cnpg.io",
		"objectstores.barmancloud.cnpg.io", "backups.postgresql.cnpg.io",
	}, objects.asked, "one LIST per kind")
}

func TestDatabasesOfOneNamespaceAskOnlyForWhatTheyReferTo(t *testing.T) {
	objects := readManifests(t, "clusters.yaml")

	databases, gaps, err := Databases(t.Context(), objects, "cloudnative-pg")

	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Len(t, databases, 2)
	require.Equal(t, []string{"clusters.postgresql.cnpg.io", "scheduledbackups.postgresql.cnpg.io"}, objects.asked)
}

func TestNoClusters(t *testing.T) {
	objects := readManifests(t, "clusters.yaml")
	databases, _, err := Databases(t.Context(), objects, "elsewhere")
	require.NoError(t, err)
	require.NotNil(t, databases)
	require.Empty(t, databases)
	require.Len(t, objects.asked, 1)

	missing := &recovery.Problem{What: "list clusters", Err: recovery.ErrNotFound}
	_, _, err = Databases(t.Context(), &manifests{refused: map[string]error{"clusters": missing}}, "")
	require.ErrorIs(t, err, recovery.ErrNotFound)
}

func TestKindsAroundThatCanNotBeListed(t *testing.T) {
	denied := &recovery.Problem{What: "list it", Why: "forbidden", Err: recovery.ErrDenied}
	absent := &recovery.Problem{What: "list it", Err: recovery.ErrNotFound}
	tests := map[string]struct {
		refused map[string]error
		gaps    int
		warning string
		without string
	}{
		"ObjectStores forbidden":          {map[string]error{"objectstores": denied}, 1, "ObjectStore databases/garage could not be read", "does not exist"},
		"the plugin is not installed":     {map[string]error{"objectstores": absent}, 0, "ObjectStore databases/garage does not exist", "could not be read"},
		"ScheduledBackups forbidden":      {map[string]error{"scheduledbackups": denied}, 1, "retentionPolicy has no effect", "no ScheduledBackup"},
		"everything around is forbidden":  {map[string]error{"scheduledbackups": denied, "objectstores": denied, "backups": denied}, 3, "could not be read", "no ScheduledBackup"},
		"Backups not there, so not found": {map[string]error{"backups": absent}, 0, "Backup nightly-1, which does not say where it lies", "could not be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects := readManifests(t, "clusters.yaml")
			objects.refused = test.refused

			databases, gaps, err := Databases(t.Context(), objects, "databases")

			require.NoError(t, err)
			require.Len(t, gaps, test.gaps+1, "and the broken Cluster")
			warnings := ""
			for _, database := range databases {
				for _, warning := range database.Warnings {
					warnings += warning + "\n"
				}
			}
			require.Contains(t, warnings, test.warning)
			require.NotContains(t, warnings, test.without)
		})
	}
}

func TestCancelledWhileReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	objects := readManifests(t, "clusters.yaml")
	objects.refused["scheduledbackups"] = errors.New("cancelled")
	cancel()

	_, _, err := Databases(ctx, objects, "")

	require.ErrorIs(t, err, context.Canceled)
}

func TestCronWarning(t *testing.T) {
	tests := map[string]struct {
		schedule string
		want     []string
	}{
		"the platform's, meant nightly": {"0 2 * * *", []string{"runs every hour at :02", `write "0 0 2 * * *"`}},
		"a minute of two digits":        {"30 14 * * *", []string{"runs every hour at :14", `write "0 30 14 * * *"`}},
		"meant weekly":                  {"0 2 * * 1", []string{"does not run when it seems to", `write "0 0 2 * * 1"`}},
		"a list of hours":               {"0 2,14 * * *", []string{"does not run when it seems to"}},
		"six fields":                    {"0 0 2 * * *", nil},
		"a descriptor":                  {"@daily", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := cronWarning(test.schedule)
			if test.want == nil {
				require.Empty(t, got)
			}
			for _, text := range test.want {
				require.Contains(t, got, text)
			}
		})
	}
}

// requireGolden compares a value's JSON with a file; -update writes it.
func requireGolden(t *testing.T, name string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	require.NoError(t, err)
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}
