package edit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDiff(t *testing.T) {
	edited := Edited{Path: "db/cluster.yaml", Before: []byte("a\nserverName: v1\nb"), After: []byte("a\nserverName: v2\nb")}
	require.Equal(t, "--- a/db/cluster.yaml\n+++ b/db/cluster.yaml\n@@ -2 +2 @@\n-serverName: v1\n+serverName: v2\n", edited.Diff())
}

// TestDiffApplies: git makes the new file out of the old one and the diff.
func TestDiffApplies(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, exec.Command("git", "init", "--quiet", dir).Run())
	for seed := range uint64(60) {
		manifest := generate(seed)
		if manifest.before == manifest.after {
			continue
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(manifest.before), 0o600))
		apply := exec.Command("git", "apply", "--unidiff-zero", "--whitespace=nowarn", "-")
		apply.Dir = dir
		apply.Stdin = strings.NewReader(Edited{Path: "c.yaml", Before: []byte(manifest.before), After: []byte(manifest.after)}.Diff())
		out, err := apply.CombinedOutput()
		require.NoError(t, err, "seed %d: %s", seed, out)
		content, err := os.ReadFile(filepath.Join(dir, "c.yaml"))
		require.NoError(t, err)
		require.Equal(t, manifest.after, string(content), "seed %d", seed)
	}
}
