package disturb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnfinishedPlans(t *testing.T) {
	home := t.TempDir()
	none, err := UnfinishedPlans(home)
	require.NoError(t, err)
	require.Empty(t, none)
	for id, journal := range map[string]string{
		"a-begun": "", "b-at-work": `{"event":"started","step":"x"}` + "\n", "c-finished": `{"event":"started"}` + "\n" + `{"event":"finished"}` + "\n",
		"d-aborted": `{"event":"aborted"}` + "\n", "e-torn": `{"event":"started"}` + "\n" + `{"event":"fini`,
	} {
		dir := filepath.Join(home, ".local", "state", "drctl", "plans", id)
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "plan.json"), []byte("{}"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), []byte(journal), 0o600))
	}
	left, err := UnfinishedPlans(home)
	require.NoError(t, err)
	require.Equal(t, []string{"a-begun", "b-at-work", "e-torn"}, left)
}
