package operation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// lease is a lock in memory.
type lease struct {
	acquired, released int
	takeovers          []bool
	acquire            func(times int) error
	release            error
	lost               chan struct{}
}

func (l *lease) Acquire(_ context.Context, _ Plan, takeover bool) (Held, error) {
	l.acquired++
	l.takeovers = append(l.takeovers, takeover)
	if l.acquire != nil {
		if err := l.acquire(l.acquired); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lease) Release(context.Context) error {
	l.released++
	return l.release
}

func (l *lease) Lost() <-chan struct{} { return l.lost }

func TestLock(t *testing.T) {
	t.Run("held by somebody else", func(t *testing.T) {
		l := &lease{acquire: func(int) error { return ErrBusy }}
		r := newRig(t, map[string]Handler{"a": &script{}})
		r.Lock = l
		require.Equal(t, ErrBusy, r.Start(t.Context(), plan("a")))
		r.requireNoPlan(t)
	})
	t.Run("not answered at first, not released at last", func(t *testing.T) {
		l := &lease{release: recovery.ErrDenied, acquire: func(times int) error {
			if times < 3 {
				return recovery.ErrUnreachable
			}
			return nil
		}}
		r := newRig(t, map[string]Handler{"a": &script{}})
		r.Lock = l
		require.NoError(t, r.Start(t.Context(), plan("a")))
		require.Equal(t, 1, l.released)
		require.Contains(t, r.told(), "0/1 note the lock could not be released and expires by itself")
	})
	t.Run("released when the run stops, taken over when asked", func(t *testing.T) {
		l := &lease{}
		h := failing()
		r := newRig(t, map[string]Handler{"a": h})
		r.Lock = l
		require.ErrorIs(t, r.Start(t.Context(), plan("a")), ErrUnfinished)
		require.Equal(t, 1, l.released)
		h.apply = nil
		require.NoError(t, r.Resume(t.Context(), planID, takeover))
		require.Equal(t, []bool{false, true}, l.takeovers)
	})
}

// TestLockLost: whoever took the lock over owns cluster, mirror and journal; nothing is written any more.
func TestLockLost(t *testing.T) {
	for name, lose := range map[string]func(l *lease){
		"closed":   func(l *lease) { close(l.lost) },
		"signaled": func(l *lease) { l.lost <- struct{}{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t.TempDir())
			l := &lease{lost: make(chan struct{}, 1)}
			a, b := &script{}, &script{}
			a.apply = func(ctx context.Context, _ *Run, _ int) error {
				lose(l)
				<-ctx.Done()
				return ctx.Err()
			}
			r := newRig(t, map[string]Handler{"a": a, "b": b})
			r.Lock, r.Mirror = l, &folderMirror{w: w}
			err := r.Start(t.Context(), plan("a", "b"))
			require.ErrorIs(t, err, ErrLockLost)
			require.ErrorIs(t, err, ErrUnfinished)
			require.NotErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "drctl plans")
			require.Equal(t, []string{"a started"}, r.journal(t))
			require.Zero(t, b.observed)
			require.Zero(t, l.released, "it is not ours to release")
			_, raw, err := r.Mirror.Load(t.Context(), planID)
			require.NoError(t, err)
			entries, _, err := ParseJournal(raw)
			require.NoError(t, err)
			require.Len(t, entries, 1)
		})
	}
	t.Run("before the first effect", func(t *testing.T) {
		l := &lease{lost: make(chan struct{})}
		close(l.lost)
		h := &script{}
		r := newRig(t, map[string]Handler{"a": h})
		r.Lock = l
		require.ErrorIs(t, r.Start(t.Context(), plan("a")), ErrLockLost)
		require.Zero(t, h.applied)
	})
	t.Run("during an abort", func(t *testing.T) {
		var undone []string
		l := &lease{lost: make(chan struct{})}
		r := newRig(t, map[string]Handler{
			"a": backward{script: &script{}, undone: &undone},
			"b": backward{script: failing(), undone: &undone, undo: func(context.Context) error {
				close(l.lost)
				return nil
			}},
		})
		r.Lock = l
		require.ErrorIs(t, r.Start(t.Context(), plan("a", "b")), ErrUnfinished)
		err := r.Abort(t.Context(), planID, here)
		require.ErrorIs(t, err, ErrLockLost)
		require.ErrorIs(t, err, ErrUnfinished)
		require.Equal(t, []string{"b"}, undone)
	})
}

func TestLoadThatNeverAnswers(t *testing.T) {
	w := newWorld(t.TempDir())
	e := laptop(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	e.Mirror = &folderMirror{w: w, fail: func(string) error { return recovery.ErrUnreachable }}
	err := e.Resume(ctx, planID, takeover)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.False(t, errors.Is(err, ErrUnfinished))
}
