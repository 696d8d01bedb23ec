package restore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// TestSnapshotsOfAVolumeThatIsBeingWrittenAreNamed: a schedule that fires in the middle of a restore in place
// makes a snapshot that is complete for Kopia and half of each for everybody else.
func TestSnapshotsOfAVolumeThatIsBeingWrittenAreNamed(t *testing.T) {
	identity := recovery.KopiaSource{Username: "data-backup", Hostname: "karakeep", Path: "/data"}
	at := func(minute int) time.Time { return time.Date(2026, 11, 24, 7, minute, 0, 0, time.UTC) }
	all := []recovery.Snapshot{
		{ID: "before", Source: identity, StartTime: at(0)}, {ID: "half", Source: identity, StartTime: at(12)},
		{ID: "ours", Source: identity, StartTime: at(21)}, {ID: "another", Source: recovery.KopiaSource{Username: "x"}, StartTime: at(12)},
	}
	for mode, want := range map[Mode]string{InPlace: "half", Replace: ""} {
		run := &operation.Run{Plan: &operation.Plan{}}
		require.NoError(t, run.SetFact(t.Context(), factStoppedAt, at(10).Format(time.RFC3339)))
		require.NoError(t, run.SetFact(t.Context(), factProvenAt, at(20).Format(time.RFC3339)))
		p := &Params{Mode: mode, Mover: Template{Identity: identity}}
		require.NoError(t, proveBackupStep{}.suspect(t.Context(), run, p, all, "ours"))
		got, _ := run.Fact(factSuspect)
		require.Equal(t, want, got, mode)
		summary := Summarize("plan", p, at(9), at(22), func(key string) string { value, _ := run.Fact(key); return value })
		require.Equal(t, want != "", len(summary.Notes) == 1)
	}
}
