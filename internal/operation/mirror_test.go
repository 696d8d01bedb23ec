package operation

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// laptop is an engine with its own plans in a world that it shares with others.
func laptop(t *testing.T, w *world) *Engine {
	t.Helper()
	e := w.engine()
	e.Store = NewStore(t.TempDir())
	e.Lock = nil
	return e
}

// broken lets the given steps fail.
func broken(e *Engine, steps ...string) {
	for _, id := range steps {
		e.Handlers[id] = failing()
	}
}

var takeover = ResumeOptions{Takeover: true, ClusterUID: "uid-1", Context: "home"}

func TestTakeover(t *testing.T) {
	w := newWorld(t.TempDir())
	first, second := laptop(t, w), laptop(t, w)
	broken(first, "create")
	require.ErrorIs(t, first.Start(t.Context(), flipPlan()), ErrUnfinished)

	err := second.Resume(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrUnfinished)
	require.ErrorContains(t, err, "begun by ada@laptop on another computer")
	require.ErrorContains(t, err, "drctl resume "+planID+" --takeover")
	require.ErrorIs(t, second.Resume(t.Context(), planID, ResumeOptions{Takeover: true, ClusterUID: "uid-2"}), ErrOtherCluster)
	views, _, err := second.Store.List()
	require.NoError(t, err)
	require.Empty(t, views, "a refusal writes nothing")

	broken(second, "push")
	require.ErrorIs(t, second.Resume(t.Context(), planID, takeover), ErrUnfinished)

	t.Run("the first one sees that somebody went on", func(t *testing.T) {
		err := first.Resume(t.Context(), planID, here)
		require.ErrorIs(t, err, ErrUnfinished)
		require.ErrorContains(t, err, "somebody went on with it on another computer")
	})
	t.Run("and takes it back", func(t *testing.T) {
		first.Handlers = w.handlers()
		require.NoError(t, first.Resume(t.Context(), planID, takeover))
		require.Equal(t, "v2", w.read().Pushed)
		require.Empty(t, w.read().Lost)
		require.Equal(t, 1, w.read().Applied["create"])
		w.requireNothingLeft(t)
	})
	t.Run("the second one is told that the copy is gone", func(t *testing.T) {
		err := second.Resume(t.Context(), planID, here)
		require.ErrorIs(t, err, ErrConflict)
		require.ErrorContains(t, err, "its copy in the cluster is gone")
		require.ErrorContains(t, err, second.Store.Dir(planID))
		before := w.read()
		second.Handlers = w.handlers()
		require.NoError(t, second.Resume(t.Context(), planID, takeover), "going on does no harm")
		require.Equal(t, before.Applied["create"], w.read().Applied["create"])
		require.Equal(t, before.Applied["delete"], w.read().Applied["delete"])
		require.Empty(t, w.read().Lost)
	})
}

func TestUnknownEverywhere(t *testing.T) {
	e := laptop(t, newWorld(t.TempDir()))
	for _, id := range []string{planID, "../x"} {
		require.ErrorIs(t, e.Resume(t.Context(), id, takeover), recovery.ErrNotFound)
		require.ErrorIs(t, e.Abort(t.Context(), id, takeover), recovery.ErrNotFound)
	}
}

func TestAbortOfATakenPlan(t *testing.T) {
	w := newWorld(t.TempDir())
	first, second := laptop(t, w), laptop(t, w)
	broken(first, "fence")
	require.ErrorIs(t, first.Start(t.Context(), flipPlan()), ErrUnfinished)
	require.ErrorIs(t, second.Abort(t.Context(), planID, here), ErrUnfinished)
	require.NoError(t, second.Abort(t.Context(), planID, takeover))
	require.True(t, w.read().same(state{Cluster: "old", Git: "v1", Pushed: "v1"}))
	w.requireNothingLeft(t)
}

func TestDivergedJournals(t *testing.T) {
	w := newWorld(t.TempDir())
	first := laptop(t, w)
	broken(first, "fence")
	require.ErrorIs(t, first.Start(t.Context(), flipPlan()), ErrUnfinished)
	mirror := &folderMirror{w: w}
	p, raw, err := mirror.Load(t.Context(), planID)
	require.NoError(t, err)
	path := filepath.Join(first.Store.Dir(planID), journalFile)
	mine, err := os.ReadFile(path)
	require.NoError(t, err)

	line := func(event EntryEvent, step string) []byte {
		encoded, err := encode(Entry{Time: begun, Step: step, Event: event})
		require.NoError(t, err)
		return encoded
	}
	more := func(raw []byte, lines ...[]byte) []byte {
		raw = append([]byte{}, raw...)
		for _, l := range lines {
			raw = append(raw, l...)
		}
		return raw
	}
	cases := []struct {
		name         string
		mine, theirs []byte
		other        bool
		err          error
	}{
		{name: "the same", mine: mine, theirs: raw},
		{name: "the mirror is behind", mine: more(mine, line(EntryStarted, "fence")), theirs: raw},
		{name: "the mirror missed a failure and is ahead", mine: more(mine, line(EntryFailed, "fence"), line(EntryFailed, "fence")), theirs: more(raw, line(EntryStarted, "fence"))},
		{name: "both went on", mine: more(mine, line(EntryStarted, "delete")), theirs: more(raw, line(EntryStarted, "fence")), err: ErrConflict},
		{name: "another plan of this ID", mine: mine, theirs: raw, other: true, err: ErrConflict},
		{name: "the mirror is damaged", mine: mine, theirs: more(raw, []byte("{}\n")), err: recovery.ErrDamaged},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, c.mine, 0o600))
			kept := p
			if c.other {
				kept.Target = "cloudnative-pg/other"
			}
			require.NoError(t, mirror.Save(t.Context(), kept, c.theirs))
			err := first.Resume(t.Context(), planID, takeover)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				return
			}
			require.ErrorContains(t, err, "step 4 of 9, fence immich-database: refused")
		})
	}
}

func TestMirrorThatFails(t *testing.T) {
	denied := func(calls ...string) func(string) error {
		return func(call string) error {
			for _, c := range calls {
				if c == call {
					return recovery.ErrDenied
				}
			}
			return nil
		}
	}
	t.Run("from the start: nothing is changed, no plan stays", func(t *testing.T) {
		w := newWorld(t.TempDir())
		e := laptop(t, w)
		e.Mirror = &folderMirror{w: w, fail: denied("save", "remove")}
		err := e.Start(t.Context(), flipPlan())
		require.ErrorIs(t, err, recovery.ErrDenied)
		require.NotErrorIs(t, err, ErrUnfinished)
		require.Empty(t, w.read().Applied)
		views, _, err := e.Store.List()
		require.NoError(t, err)
		require.Empty(t, views)
	})
	t.Run("for a while: retried, nothing is done meanwhile", func(t *testing.T) {
		w := newWorld(t.TempDir())
		e := laptop(t, w)
		saves := 0
		e.Mirror = &folderMirror{w: w, fail: func(call string) error {
			if saves++; saves%3 != 0 {
				return recovery.ErrUnreachable
			}
			return nil
		}}
		require.NoError(t, e.Start(t.Context(), flipPlan()))
		w.requireNothingLeft(t)
	})
	t.Run("after an effect: told, and the next effect is not begun", func(t *testing.T) {
		w := newWorld(t.TempDir())
		e := laptop(t, w)
		refuse := false
		var notes []Event
		e.Mirror = &folderMirror{w: w, fail: func(string) error {
			if refuse {
				return recovery.ErrDenied
			}
			return nil
		}}
		h := w.handlers()["keep"].(undoable)
		h.do = func(s *state) { s.Keep, refuse = true, true }
		e.Handlers["keep"] = h
		e.Events = func(event Event) {
			if event.Kind == Note {
				notes = append(notes, event)
			}
		}
		err := e.Start(t.Context(), flipPlan())
		require.ErrorIs(t, err, recovery.ErrDenied)
		require.ErrorIs(t, err, ErrUnfinished)
		require.ErrorContains(t, err, "step 3 of 9, retain")
		require.False(t, w.read().Retain)
		require.NotEmpty(t, notes)
		require.ErrorIs(t, notes[0].Err, recovery.ErrDenied)
		require.ErrorIs(t, e.Resume(t.Context(), planID, here), recovery.ErrDenied)
		refuse = false
		h.do = func(s *state) { s.Keep = true }
		e.Handlers["keep"] = h
		require.NoError(t, e.Resume(t.Context(), planID, here))
	})
	t.Run("at the very end: unfinished, and resumed", func(t *testing.T) {
		w := newWorld(t.TempDir())
		e := laptop(t, w)
		e.Mirror = &folderMirror{w: w, fail: denied("remove")}
		err := e.Start(t.Context(), flipPlan())
		require.ErrorIs(t, err, ErrUnfinished)
		require.ErrorContains(t, err, "all its steps are done")
		e.Mirror = &folderMirror{w: w}
		require.NoError(t, e.Resume(t.Context(), planID, here))
		w.requireNothingLeft(t)
	})
}
