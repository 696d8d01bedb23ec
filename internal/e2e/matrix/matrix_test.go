// Package matrix kills and spoils the real drctl on the whole lab, and shows that the matrix can fail: with
// a safeguard compiled out it must report a loss.
package matrix

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

func start(t *testing.T, tags ...string) *flipworld.Matrix {
	t.Helper()
	program, err := flipworld.Build(t.Context(), t.TempDir(), tags...)
	require.NoError(t, err)
	world, err := flipworld.Up(t.Context(), lab.ForTest(t), flipworld.Options{Interval: 500 * time.Millisecond, Program: program})
	require.NoError(t, err)
	return flipworld.NewMatrix(world, t.Logf)
}

// TestEveryPointOnce kills drctl at each request that changes something, before and after it, in one
// recovery, and spoils every request once with a kind of fault that changes from day to day. Then come the
// scenarios of TestTheMatrixCanFail with all safeguards in place. `make matrix` does all of it.
func TestEveryPointOnce(t *testing.T) {
	m := start(t)
	kinds := lab.FaultKinds()
	tally, err := m.Quick(t.Context(), kinds[time.Now().UTC().YearDay()%len(kinds)])
	require.NoError(t, err)
	t.Logf("cnpg-recover: %s", &tally)
	require.True(t, tally.Good(), "%s", &tally)
	require.Greater(t, tally.Points, 40)
	require.Greater(t, tally.Faults, 40)
	for _, s := range scenarios() {
		t.Run(s.tag, func(t *testing.T) {
			tally, err := s.run(m, t.Context())
			require.NoError(t, err)
			require.True(t, tally.Good(), "%s", &tally)
		})
	}
}

// scenario is one in which the safeguard decides that the build tag switches off.
type scenario struct {
	tag string
	run func(*flipworld.Matrix, context.Context) (flipworld.Tally, error)
}

// scenarios has the one that leaves a plan which nobody can finish at its end.
func scenarios() []scenario {
	return []scenario{
		{"drctl_off_fence", (*flipworld.Matrix).AgainstArgo},
		{"drctl_off_volumes", (*flipworld.Matrix).BackInTime},
		{"drctl_off_writeahead", (*flipworld.Matrix).AbortAfterDeletion},
		{"drctl_off_uid", (*flipworld.Matrix).ReplacedUnderway},
	}
}

// TestTheMatrixCanFail switches each safeguard off in a build of its own.
func TestTheMatrixCanFail(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.tag, func(t *testing.T) {
			m := start(t, s.tag)
			tally, err := s.run(m, t.Context())
			require.NoError(t, err)
			require.Positive(t, tally.Lost, "%s: the oracle does not see what this safeguard is for", &tally)
		})
	}
}
