package matrix

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
	"github.com/drctl/drctl/internal/lab/disturb"
)

func startBootstrap(t *testing.T) *bootstrapworld.World {
	t.Helper()
	program, err := bootstrapworld.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	world, err := bootstrapworld.Up(t.Context(), lab.ForTest(t), bootstrapworld.Options{Interval: 500 * time.Millisecond, Program: program})
	require.NoError(t, err)
	return world
}

// TestEveryPointOfABootstrap kills drctl at each request that changes something, before and after it, in one bootstrap
// of an empty cluster, and spoils every request once with a kind of fault that changes from day to day. Then come the
// scenarios of TestTheBootstrapMatrixCanFail with all safeguards in place. `make matrix` does all of it.
func TestEveryPointOfABootstrap(t *testing.T) {
	w := startBootstrap(t)
	kinds := lab.FaultKinds()
	m := bootstrapworld.NewMatrix(w, t.Logf)
	tally, err := m.Quick(t.Context(), kinds[time.Now().UTC().YearDay()%len(kinds)])
	require.NoError(t, err)
	t.Logf("bootstrap: %s", &tally)
	require.True(t, tally.Good(), "%s", &tally)
	require.Greater(t, tally.Points, 20)
	require.Greater(t, tally.Faults, 20)
	for _, s := range bootstrapScenarios() {
		t.Run(s.tag, func(t *testing.T) {
			tally, err := s.run(t.Context(), w, t.Logf)
			require.NoError(t, err)
			require.True(t, tally.Good(), "%s", &tally)
		})
	}
}

// bootstrapScenario is one in which the safeguard decides that the build tag switches off.
type bootstrapScenario struct {
	tag string
	run func(ctx context.Context, w *bootstrapworld.World, logf func(string, ...any)) (disturb.Tally, error)
}

func bootstrapScenarios() []bootstrapScenario {
	return []bootstrapScenario{
		{"drctl_off_writeahead", bootstrapworld.AbortAfterRoot},
		{"drctl_off_secrets", bootstrapworld.OtherSecret},
		{"drctl_off_uninstall", bootstrapworld.UnreadyWithApplications},
	}
}

// TestTheBootstrapMatrixCanFail switches each safeguard off in a build of its own.
func TestTheBootstrapMatrixCanFail(t *testing.T) {
	w := startBootstrap(t)
	for _, s := range bootstrapScenarios() {
		t.Run(s.tag, func(t *testing.T) {
			program, err := bootstrapworld.Build(t.Context(), t.TempDir(), s.tag)
			require.NoError(t, err)
			w.Use(program)
			tally, err := s.run(t.Context(), w, t.Logf)
			require.NoError(t, err)
			require.Positive(t, tally.Lost, "%s: the oracle does not see what this safeguard is for", &tally)
		})
	}
}
