package disturb

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBrokenJobs: a job that ends without a judgement fails the matrix, and a few of them end it.
func TestBrokenJobs(t *testing.T) {
	sum, m := &whole{}, &Matrix{Logf: t.Logf}
	require.False(t, sum.add(m, job{name: "good"}, Tally{Points: 1, Resumed: 1}, nil))
	require.Empty(t, sum.broken)
	for n := range mostBroken {
		require.Equal(t, n == mostBroken-1, sum.add(m, job{name: "broken"}, Tally{Points: 1}, errors.New("no judgement")))
	}
	require.Equal(t, Tally{Points: 1 + mostBroken, Resumed: 1}, sum.total)
	require.False(t, sum.total.Good())
	require.ErrorContains(t, errors.Join(sum.broken...), "broken: no judgement")
}

// TestBrokenOff: a matrix that is cancelled before its end is not a whole one.
func TestBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, spread(ctx, nil, []*Matrix{{Logf: t.Logf}}, &whole{}), context.Canceled)
}
