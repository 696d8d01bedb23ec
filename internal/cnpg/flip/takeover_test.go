package flip

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// TestTheCommitIsMadeAgain: it was pushed nowhere, and whoever goes on has a checkout of his own.
func TestTheCommitIsMadeAgain(t *testing.T) {
	stopped := func(t *testing.T) (*world, *operation.Engine, string) {
		w, dir := newWorld(), t.TempDir()
		_, plan := w.prepare(t, whole())
		w.before = func(call string) error {
			if call == "delete" {
				return recovery.ErrDenied
			}
			return nil
		}
		require.ErrorIs(t, w.engine(dir).Start(t.Context(), plan), operation.ErrUnfinished)
		w.before, w.Tree, w.Commits, w.elsewhere = nil, v1, map[string]string{}, true
		return w, w.engine(dir), plan.ID
	}
	t.Run("in a clean checkout", func(t *testing.T) {
		w, engine, id := stopped(t)
		require.NoError(t, engine.Resume(t.Context(), id, here))
		require.Equal(t, v2, w.Tree)
		w.requireRecovered(t)
	})
	t.Run("never in one with other changes", func(t *testing.T) {
		w, engine, id := stopped(t)
		w.dirty = errors.New("commit or stash them first")
		err := engine.Resume(t.Context(), id, here)
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorContains(t, err, "commit or stash them first")
		require.Equal(t, v1, w.Tree)
		w.dirty = nil
		require.NoError(t, engine.Resume(t.Context(), id, here))
		w.requireRecovered(t)
	})
}
