package restore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab/restoreworld"
)

// TestModes restores a tree in each mode: its hash is that of what was backed up, what was there before is
// kept, and nothing of drctl's is left.
func TestModes(t *testing.T) {
	for _, mode := range restoreworld.Modes() {
		t.Run(string(mode), func(t *testing.T) {
			a := attempt(t, mode)
			got := run(t, a, a.Operation()...)
			require.Zero(t, got.ExitCode)
			require.NoError(t, a.Done(t.Context()))
			require.Contains(t, got.Stdout, a.Backup.ID)
		})
	}
}
