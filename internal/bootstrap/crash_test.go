package bootstrap

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// errDied is a process that is killed: nothing of it runs any more.
var errDied = errors.New("died")

// killed lets the process die at the nth call from now, before its effect or behind it.
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

// starts are the worlds that a bootstrap may begin in.
func starts(t *testing.T) map[string]func() *world {
	t.Helper()
	return map[string]func() *world{
		"nothing": newWorld,
		"older": func() *world {
			w := newWorld()
			b, plan := w.prepare(t)
			require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
			w.chartVersion, w.chart = "9.2.0", "sha256:bbb"
			return w
		},
	}
}

// points calls each for every call of an undisturbed run, ahead of its effect and behind it.
func points(t *testing.T, begin func() *world, each func(n int, call string, behind bool)) int {
	t.Helper()
	w := begin()
	b, plan := w.prepare(t)
	first := len(w.calls)
	require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
	count := 0
	for n, call := range w.calls[first:] {
		for _, behind := range []bool{false, true} {
			count++
			each(n+1, call, behind)
		}
	}
	return count
}

func TestKilledAnywhere(t *testing.T) {
	for name, begin := range starts(t) {
		t.Run(name, func(t *testing.T) {
			count := points(t, begin, func(n int, call string, behind bool) {
				w, dir := begin(), t.TempDir()
				b, plan := w.prepare(t)
				require.True(t, w.killed(n, behind, func() { _ = b.Run(t.Context(), w.engine(dir, b), plan) }), "%s was not reached", call)
				b = w.use()
				err := b.Resume(t.Context(), w.engine(dir, b), plan, here)
				require.NoError(t, err, "killed at %d %s, behind %v", n, call, behind)
				w.requireUp(t, plan.ID, "killed at %d %s, behind %v", n, call, behind)
			})
			require.GreaterOrEqual(t, count, 10)
		})
	}
}

// TestAbortTakesBack: up to the root all is as before but Secrets and definitions; behind it abort refuses.
func TestAbortTakesBack(t *testing.T) {
	for name, begin := range starts(t) {
		t.Run(name, func(t *testing.T) {
			back, refused := 0, 0
			points(t, begin, func(n int, call string, behind bool) {
				w, dir := begin(), t.TempDir()
				b, plan := w.prepare(t)
				before := w.picture()
				at := len(w.calls)
				require.True(t, w.killed(n, behind, func() { _ = b.Run(t.Context(), w.engine(dir, b), plan) }))
				past := name == "nothing" && w.root != "" || name == "older" && slices.Contains(w.calls[at:], "applications")
				b = w.use()
				err := w.engine(dir, b).Abort(t.Context(), plan.ID, here)
				if past && errors.Is(err, operation.ErrPastReturn) {
					refused++
					return
				}
				require.NoError(t, err, "killed at %d %s, behind %v", n, call, behind)
				require.Equal(t, before, w.picture(), "killed at %d %s, behind %v", n, call, behind)
				require.Empty(t, w.lost)
				back++
			})
			require.Positive(t, back)
			t.Logf("taken back %d, refused %d", back, refused)
		})
	}
}

// TestFaultsAnywhere fails each call once with its effect there or not; a run ends well, or can be resumed.
func TestFaultsAnywhere(t *testing.T) {
	for name, begin := range starts(t) {
		t.Run(name, func(t *testing.T) {
			points(t, begin, func(n int, call string, behind bool) {
				w, dir := begin(), t.TempDir()
				b, plan := w.prepare(t)
				first := len(w.calls)
				fail := func(string) error {
					if len(w.calls)-first == n {
						return errFault
					}
					return nil
				}
				if behind {
					w.after = fail
				} else {
					w.before = fail
				}
				engine := w.engine(dir, b)
				engine.Retryable = func(err error) bool { return errors.Is(err, errFault) }
				err := b.Run(t.Context(), engine, plan)
				w.before, w.after = nil, nil
				if errors.Is(err, operation.ErrUnfinished) {
					err = b.Resume(t.Context(), w.engine(dir, b), plan, here)
				}
				require.NoError(t, err, "fault at %d %s, behind %v", n, call, behind)
				w.requireUp(t, plan.ID, "fault at %d %s, behind %v", n, call, behind)
			})
		})
	}
}

// errFault is a server that did not answer.
var errFault = errors.Join(errors.New("no answer"), recovery.ErrUnreachable)
