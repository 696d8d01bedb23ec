package matrix

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

func startRestore(t *testing.T, o restoreworld.Options) *restoreworld.World {
	t.Helper()
	program, err := restoreworld.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	o.Program, o.Interval = program, 500*time.Millisecond
	world, err := restoreworld.Up(t.Context(), lab.ForTest(t), o)
	require.NoError(t, err)
	return world
}

// TestEveryPointOfARestore kills drctl at each request that changes something, before and after it, in one
// restore of each mode, and spoils every request of one mode once with one kind of fault; which, changes from day
// to day. Then come the scenarios of TestTheRestoreMatrixCanFail with all safeguards in place. `make matrix` does
// all of it.
func TestEveryPointOfARestore(t *testing.T) {
	w := startRestore(t, restoreworld.Options{})
	kinds, modes, day := lab.FaultKinds(), restoreworld.Modes(), time.Now().UTC().YearDay()
	for i, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			m := restoreworld.NewMatrix(w, mode, t.Logf)
			tally, err := m.Stutter(t.Context())
			require.NoError(t, err)
			require.Greater(t, tally.Points, 15, "beside has the fewest: 20")
			if i == day%len(modes) {
				spoilt, err := m.Spoil(t.Context(), kinds[day%len(kinds)], false)
				require.NoError(t, err)
				require.Greater(t, spoilt.Faults, 20)
				tally.Add(spoilt)
			}
			t.Logf("pvc-restore %s: %s", mode, &tally)
			require.True(t, tally.Good(), "%s", &tally)
		})
	}
	for _, s := range restoreScenarios() {
		t.Run(s.tag, func(t *testing.T) {
			tally, err := s.run(t.Context(), w, t.Logf)
			require.NoError(t, err)
			require.True(t, tally.Good(), "%s", &tally)
		})
	}
}

// restoreScenario is one in which the safeguard decides that the build tag switches off.
type restoreScenario struct {
	tag string
	run func(ctx context.Context, w *restoreworld.World, logf func(string, ...any)) (disturb.Tally, error)
}

func restoreScenarios() []restoreScenario {
	return []restoreScenario{
		{"drctl_off_fence", restoreworld.AgainstArgo},
		{"drctl_off_writeahead", restoreworld.AbortAfterDeletion},
		{"drctl_off_uid", restoreworld.ReplacedUnderway},
		{"drctl_off_retain", restoreworld.Plain},
		{"drctl_off_proof", restoreworld.SilentMover},
	}
}

// TestTheRestoreMatrixCanFail switches each safeguard off in a build of its own.
func TestTheRestoreMatrixCanFail(t *testing.T) {
	w := startRestore(t, restoreworld.Options{WithoutKyverno: true})
	for _, s := range restoreScenarios() {
		t.Run(s.tag, func(t *testing.T) {
			program, err := restoreworld.Build(t.Context(), t.TempDir(), s.tag)
			require.NoError(t, err)
			w.Use(program)
			require.NoError(t, w.Recover(t.Context()))
			tally, err := s.run(t.Context(), w, t.Logf)
			require.NoError(t, err)
			require.Positive(t, tally.Lost, "%s: the oracle does not see what this safeguard is for", &tally)
		})
	}
}
