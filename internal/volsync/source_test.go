package volsync

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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

var update = flag.Bool("update", false, "write the golden files anew")

// manifests lists what stands in a YAML file, whatever is asked for.
type manifests struct {
	items []unstructured.Unstructured
	asked schema.GroupVersionResource
	gaps  recovery.Gaps
	err   error
}

func (m *manifests) List(_ context.Context, gvr schema.GroupVersionResource, _ string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	m.asked = gvr
	return m.items, m.gaps, m.err
}

func readManifests(t *testing.T, name string) *manifests {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	m := &manifests{}
	for _, document := range bytes.Split(content, []byte("\n---\n")) {
		var object map[string]any
		require.NoError(t, yaml.Unmarshal(document, &object))
		m.items = append(m.items, unstructured.Unstructured{Object: object})
	}
	return m
}

func TestSources(t *testing.T) {
	objects := readManifests(t, "sources.yaml")

	sources, gaps, err := Sources(t.Context(), objects, "")

	require.NoError(t, err)
	require.Equal(t, schema.GroupVersionResource{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationsources"}, objects.asked)
	requireGolden(t, "sources.golden.json", sources)
	require.Len(t, gaps, 3)
	for i, name := range []string{"media/odd-backup", "media/odder-backup", "media/oddest-backup"} {
		require.ErrorIs(t, gaps[i], recovery.ErrDamaged)
		require.Contains(t, gaps[i].Error(), name)
	}
}

func TestSourcesPassesOnWhatCouldNotBeListed(t *testing.T) {
	refused := errors.New("refused")
	_, _, err := Sources(t.Context(), &manifests{err: refused}, "")
	require.ErrorIs(t, err, refused)

	gap := &recovery.Problem{What: "list in namespace x"}
	sources, gaps, err := Sources(t.Context(), &manifests{gaps: recovery.Gaps{gap}}, "")
	require.NoError(t, err)
	require.NotNil(t, sources)
	require.Empty(t, sources)
	require.Equal(t, recovery.Gaps{gap}, gaps)
}

func TestInferred(t *testing.T) {
	tests := map[string]string{"hourly": "0 * * * *", "daily": "0 2 * * *", "weekly": "", "": ""}
	for label, schedule := range tests {
		t.Run(label, func(t *testing.T) {
			source := Inferred(recovery.Claim{Namespace: "karakeep", Name: "data-pvc", Backup: label})
			require.Equal(t, recovery.ReplicationSource{
				Namespace: "karakeep", Name: "data-pvc-backup", Claim: "data-pvc",
				Identity: recovery.KopiaSource{Username: "data-pvc-backup", Hostname: "karakeep", Path: "/data"},
				Schedule: schedule, RepositorySecret: "volsync-data-pvc", Inferred: true,
			}, source)
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
