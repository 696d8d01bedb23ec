package runbook

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShown(t *testing.T) {
	c := Command{Line: "drctl x", Output: []string{"✓ [1/2] stop the Pods (3s)", "Type data to go on: data"}}
	require.NoError(t, c.Shown("Type data to go on: ✓ [1/3] stop the Pods\n", "data"))
	require.ErrorContains(t, c.Shown("✓ [1/2] stop the Pods (9s)\n", "data"), "does not come: Type data")
	require.ErrorContains(t, c.Shown("✓ [1/2] start the Pods (9s)\n", "data"), "does not come: ✓ [1/2] stop the Pods")
}

func TestShape(t *testing.T) {
	require.Equal(t, shape("plan pvc-restore-a1  2.5 GiB 3m20s"), shape("plan pvc-restore-b2 17 B 1s"))
	require.NotEqual(t, shape("restored"), shape("refused"))
}

// TestBook takes a runbook of the documentation in its order.
func TestBook(t *testing.T) {
	b, err := Open("database-lost.md", "immich", "photos")
	require.NoError(t, err)
	_, err = b.Next("drctl plans")
	require.ErrorContains(t, err, "goes on with")
	first := "drctl cnpg backups immich --gitops ~/src/platform"
	command, err := b.Next(first)
	require.NoError(t, err)
	require.Contains(t, command.Output, "Server immich-database-v1 (in use)")
	require.ErrorContains(t, b.End(), "was not run")
	drctl := exec.CommandContext(t.Context(), "/somewhere/drctl")
	drctl.Env = []string{"HOME=/home/x"}
	cmd := b.AtTerminal(t.Context(), drctl, first, "")
	require.Contains(t, cmd.Args, "drctl cnpg backups photos --gitops ~/src/platform")
	require.Equal(t, []string{"HOME=/home/x"}, drctl.Env)
	require.Equal(t, "HOME=/home/x", cmd.Env[0])
	require.Contains(t, cmd.Env[1], "PATH=/somewhere:")
}
