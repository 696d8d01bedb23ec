package restore

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// errDied is a process that is killed: nothing of it runs any more.
var errDied = errors.New("died")

// changes holds for the calls that change something.
func changes(call string) bool {
	return slices.Contains([]string{
		"set-policy", "delete-pod", "delete-claim", "create-claim", "release-claim", "create-consumer", "remove-consumer", "touch", "snapshot-volume",
		"remove-snapshot", "create-destination", "create-source", "remove", "rerun", "fence-up", "fence-down", "sync",
	}, call)
}

// killed lets the process die at the nth call, before its effect or behind it. It gives false when the
// call was never made.
func (w *world) killed(n int, behind bool, do func()) (died bool) {
	begin := len(w.calls)
	die := func(string) error {
		if len(w.calls)-begin == n {
			panic(errDied)
		}
		return nil
	}
	if behind {
		w.after = die
	} else {
		w.before = die
	}
	defer func() {
		w.before, w.after = nil, nil
		if thrown := recover(); thrown != nil {
			if thrown != any(errDied) {
				panic(thrown)
			}
			died = true
		}
	}()
	do()
	return false
}

// points are the calls of an undisturbed run at which something is tried: each change, ahead and behind,
// and every seventh look.
func (s scenario) points(t *testing.T, each func(n int, call string, behind bool)) int {
	t.Helper()
	w := s.begin()
	_, plan := w.prepare(t, s.options)
	begin := len(w.calls)
	require.NoError(t, w.use().Run(t.Context(), w.engine(t.TempDir()), plan))
	points := 0
	for n, call := range w.calls[begin:] {
		for _, behind := range []bool{false, true} {
			if changes(call) || (!behind && n%7 == 0) {
				points++
				each(n+1, call, behind)
			}
		}
	}
	return points
}

func (s scenario) every(t *testing.T, each func(t *testing.T, s scenario)) {
	t.Helper()
	all := scenarios()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, all[name])
		})
	}
}

// TestKilledAnywhere kills the process before and behind each change, and at every seventh look, and has
// another one go on.
func TestKilledAnywhere(t *testing.T) {
	scenario{}.every(t, func(t *testing.T, s scenario) {
		points := s.points(t, func(n int, call string, behind bool) {
			w, dir := s.begin(), t.TempDir()
			prepared, plan := w.prepare(t, s.options)
			require.True(t, w.killed(n, behind, func() { _ = w.use().Run(t.Context(), w.engine(dir), plan) }), "%s was not reached", call)
			require.NoError(t, w.use().Resume(t.Context(), w.engine(dir), plan, here), "killed at %d %s, behind %v", n, call, behind)
			w.requireRestored(t, s, prepared.Params, plan.ID, "killed at %d %s, behind %v", n, call, behind)
		})
		t.Logf("points=%d resumed=%d lost=0", points, points)
		require.Greater(t, points, 10)
	})
}

// TestAbortRestores: up to the point of no return all is as before; behind it abort refuses and names
// resume.
func TestAbortRestores(t *testing.T) {
	scenario{}.every(t, func(t *testing.T, s scenario) {
		restored, refused := 0, 0
		s.points(t, func(n int, call string, behind bool) {
			note := []any{"killed at %d %s, behind %v", n, call, behind}
			w, dir := s.begin(), t.TempDir()
			prepared, plan := w.prepare(t, s.options)
			before := w.picture()
			require.True(t, w.killed(n, behind, func() { _ = w.use().Run(t.Context(), w.engine(dir), plan) }))
			err := w.engine(dir).Abort(t.Context(), plan.ID, here)
			if w.past(prepared.Params, plan.ID) {
				require.ErrorIs(t, err, operation.ErrPastReturn, note...)
				require.ErrorContains(t, err, "drctl resume "+plan.ID)
				refused++
				return
			}
			require.NoError(t, err, note...)
			require.Equal(t, before, w.picture(), note...)
			restored++
		})
		t.Logf("restored=%d refused=%d", restored, refused)
		require.Positive(t, restored)
	})
}

// past holds once the world is past the plan's point of no return.
func (w *world) past(p *Params, planID string) bool {
	claim := w.Claims[target]
	switch {
	case p.Mode == Beside:
		return false
	case p.Mode == InPlace:
		return slices.Contains(w.calls, "create-destination") && w.Movers["destination "+namespace+"/"+planID] != nil || slices.Contains(w.calls, "create-source")
	case p.OldUID == "":
		return claim != nil
	}
	return claim == nil || claim.Deleting || claim.UID != p.OldUID
}

// TestAbortIsKilled: an abort that dies anywhere is aborted again.
func TestAbortIsKilled(t *testing.T) {
	for name, stop := range map[string]string{"replace, stateful": "delete-claim", "in place": "create-destination", "beside, consumer": "remove-consumer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scenarios()[name]
			for n := 1; ; n++ {
				w, dir := s.begin(), t.TempDir()
				_, plan := w.prepare(t, s.options)
				before := w.picture()
				w.before = func(call string) error {
					if call == stop {
						return recovery.ErrDenied
					}
					return nil
				}
				err := w.use().Run(t.Context(), w.engine(dir), plan)
				require.ErrorIs(t, err, operation.ErrUnfinished)
				require.ErrorContains(t, err, "drctl abort "+plan.ID)
				w.before = nil
				died := w.killed(n, n%2 == 0, func() { err = w.engine(dir).Abort(t.Context(), plan.ID, here) })
				if died {
					err = w.engine(dir).Abort(t.Context(), plan.ID, here)
				}
				require.NoError(t, err, "killed at %d", n)
				require.Equal(t, before, w.picture(), "killed at %d", n)
				if !died && n%2 == 1 {
					require.Greater(t, n, 4)
					return
				}
			}
		})
	}
}

// TestEachCallFailsOnce: a failure that passes is tried again, one that does not stops the plan; also where
// the request had its effect and only the answer was lost. The plan goes on after it, and nothing is lost.
func TestEachCallFailsOnce(t *testing.T) {
	causes := []error{recovery.ErrUnreachable, recovery.ErrDenied}
	scenario{}.every(t, func(t *testing.T, s scenario) {
		points := s.points(t, func(n int, call string, behind bool) {
			cause := causes[n%len(causes)]
			note := []any{"%v at %d %s, behind %v", cause, n, call, behind}
			w, dir := s.begin(), t.TempDir()
			prepared, plan := w.prepare(t, s.options)
			begin, failed := len(w.calls), false
			fail := func(string) error {
				if len(w.calls)-begin == n {
					failed = true
					return cause
				}
				return nil
			}
			if behind {
				w.after = fail
			} else {
				w.before = fail
			}
			err := w.use().Run(t.Context(), w.engine(dir), plan)
			require.True(t, failed, note...)
			w.before, w.after = nil, nil
			if errors.Is(cause, recovery.ErrUnreachable) || call == "touch" { // a controller tries again by itself
				require.NoError(t, err, note...)
			} else {
				require.ErrorIs(t, err, recovery.ErrDenied, note...)
			}
			if errors.Is(err, operation.ErrUnfinished) {
				err = w.use().Resume(t.Context(), w.engine(dir), plan, here)
			} else if err != nil {
				err = w.use().Run(t.Context(), w.engine(dir), plan)
			}
			require.NoError(t, err, note...)
			w.requireRestored(t, s, prepared.Params, plan.ID, note...)
		})
		t.Logf("faults=%d handled=%d lost=0", points, points)
	})
}
