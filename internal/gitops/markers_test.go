package gitops

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestMarkers(t *testing.T) {
	markers, err := installed(t).Markers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []recovery.Marker{
		{File: "infrastructure/controllers/argocd/values.yaml", Line: 2, Text: "your domain"},
		{File: "infrastructure/controllers/pvc-plumber/deployment.yaml", Line: 12, Text: "your NFS server"},
		{File: "my-apps/media/immich/kustomization.yaml", Line: 4, Value: true, Text: "a"},
		{File: "secrets/volsync-system/kopia-credentials.yaml", Line: 5, Value: true, Text: "KOPIA_PASSWORD"},
		{File: "secrets/volsync-system/kopia-credentials.yaml", Line: 7, Value: true, Text: "OTHER"},
	}, markers)
}

func TestMarkersIn(t *testing.T) {
	const file = `a: one # CHANGE: look here
b: "CHANGE: not a comment"
c: 'it''s # CHANGE: inside of quotes'
# CHANGE: a whole line
d:
  - x
  - change_me
e:
  f: |
    line
    CHANGEME
  g: http://h#CHANGE: no comment either
h: {i: j, k: CHANGE-ME}
# CHANGE-ME is only said
PASSWORD=CHANGE-ME-NOW
l: don't # CHANGE: after an apostrophe
`
	require.Equal(t, []recovery.Marker{
		{File: "f", Line: 1, Text: "look here"}, {File: "f", Line: 4, Text: "a whole line"}, {File: "f", Line: 7, Value: true, Text: "d"},
		{File: "f", Line: 11, Value: true, Text: "f"}, {File: "f", Line: 13, Value: true, Text: "k"}, {File: "f", Line: 15, Value: true, Text: "PASSWORD"},
		{File: "f", Line: 16, Text: "after an apostrophe"},
	}, markersIn("f", []byte(file)))
}

// FuzzMarkersIn: whatever a file holds, a mark stands on a line of it, and a value is never told.
func FuzzMarkersIn(f *testing.F) {
	f.Add("a: CHANGE-ME-canary\n# CHANGE: x")
	f.Add("- - {a: \"CHANGE_ME")
	f.Add("canary CHANGE-ME: b")
	f.Fuzz(func(t *testing.T, content string) {
		lines := strings.Count(content, "\n") + 1
		for _, marker := range markersIn("f", []byte(content)) {
			require.True(t, marker.Line >= 1 && marker.Line <= lines)
			if marker.Value {
				require.False(t, hasPlaceholder(marker.Text), "%q", marker.Text)
			}
		}
	})
}
