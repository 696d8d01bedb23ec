package bootstrap

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
)

// TestFromNothing bootstraps an empty cluster, and then again.
func TestFromNothing(t *testing.T) {
	program, err := bootstrapworld.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	w, err := bootstrapworld.Up(t.Context(), lab.ForTest(t), bootstrapworld.Options{Interval: 500 * time.Millisecond, Program: program, FullChart: true})
	require.NoError(t, err)
	a, err := w.Attempt(t.Context())
	require.NoError(t, err)
	run, err := a.Run(t.Context(), a.Bootstrap()...)
	require.NoError(t, err)
	t.Logf("%d\n%s\n%s", run.ExitCode, run.Stderr, run.Stdout)
	require.Zero(t, run.ExitCode)
	require.NoError(t, a.Done(t.Context()))

	run, err = a.Run(t.Context(), a.Bootstrap()...)
	require.NoError(t, err)
	t.Logf("%d, %d requests\n%s\n%s", run.ExitCode, len(w.Proxy.Log()), run.Stderr, run.Stdout)
	require.Zero(t, run.ExitCode)
	require.Empty(t, w.Proxy.Mutations())
	require.NoError(t, a.Done(t.Context()))
}
