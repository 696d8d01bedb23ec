package operation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// script is a handler made of functions; what is nil does nothing and is done once applied.
type script struct {
	mutex             sync.Mutex
	observed, applied int
	observe           func(ctx context.Context, run *Run, times int) (Observation, error)
	apply             func(ctx context.Context, run *Run, times int) error
}

func (h *script) Observe(ctx context.Context, run *Run) (Observation, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.observed++
	if h.observe != nil {
		return h.observe(ctx, run, h.observed)
	}
	if h.applied > 0 {
		return Observation{State: Done}, nil
	}
	return Observation{}, nil
}

func (h *script) Apply(ctx context.Context, run *Run) error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.applied++
	if h.apply != nil {
		return h.apply(ctx, run, h.applied)
	}
	return nil
}

// passive is a script without effect.
type passive struct{ *script }

func (passive) WaitOnly() bool { return true }

// short is a time that a step is given to run out of: long enough to begin in on a busy machine.
const short = 300 * time.Millisecond

func pending(why string) (Observation, error) { return Observation{Why: why}, nil }

// rig is an engine without cluster, and what it told.
type rig struct {
	*Engine
	events []Event
}

func newRig(t *testing.T, handlers map[string]Handler) *rig {
	t.Helper()
	r := &rig{}
	r.Engine = &Engine{
		Store: NewStore(t.TempDir()), Handlers: handlers, Poll: time.Microsecond, Retry: Backoff{First: time.Microsecond, Most: time.Millisecond},
		Retryable: func(err error) bool { return errors.Is(err, recovery.ErrUnreachable) },
		Events:    func(e Event) { r.events = append(r.events, e) },
		Now:       func() time.Time { return begun },
	}
	return r
}

func (r *rig) told() []string {
	told := []string{}
	for _, e := range r.events {
		told = append(told, strings.TrimSpace(fmt.Sprintf("%d/%d %s %s", e.Index, e.Total, e.Kind, e.Text)))
	}
	return told
}

func (r *rig) journal(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(r.Store.Dir(planID) + "/journal.jsonl")
	require.NoError(t, err)
	entries, _, err := ParseJournal(raw)
	require.NoError(t, err)
	lines := []string{}
	for _, entry := range entries {
		lines = append(lines, strings.TrimSpace(entry.Step+" "+string(entry.Event)))
	}
	return lines
}

func (r *rig) requireNoPlan(t *testing.T) {
	t.Helper()
	views, gaps, err := r.Store.List()
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Empty(t, views)
}

func TestRunTellsWhatItDoes(t *testing.T) {
	a := &script{observe: func(_ context.Context, _ *Run, times int) (Observation, error) {
		switch times {
		case 1, 2, 3:
			return pending("waiting for Pod immich-database-1")
		case 4:
			return pending("restoring")
		}
		return Observation{State: Done}, nil
	}, apply: func(ctx context.Context, run *Run, _ int) error {
		run.Report("asked %s", "the API")
		return run.SetFact(ctx, "uid", "u-1")
	}}
	b := &script{observe: func(_ context.Context, run *Run, _ int) (Observation, error) {
		uid, found := run.Fact("uid")
		require.True(t, found)
		require.Equal(t, "u-1", uid)
		require.True(t, run.Done("a"))
		require.True(t, run.Started("a"))
		require.False(t, run.Started("b"))
		return Observation{State: Done}, nil
	}}
	r := newRig(t, map[string]Handler{"a": a, "b": b})
	require.NoError(t, r.Start(t.Context(), plan("a", "b")))
	require.Equal(t, []string{
		"1/2 started", "1/2 progress waiting for Pod immich-database-1", "1/2 note asked the API", "1/2 progress restoring", "1/2 done",
		"2/2 started", "2/2 skipped",
	}, r.told())
	require.Equal(t, []string{"a started", "a fact", "a done", "b done", "finished"}, r.journal(t))
	require.Equal(t, 1, a.applied)
	require.Zero(t, b.applied)

	err := r.Resume(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrFinished)
	require.ErrorIs(t, r.Abort(t.Context(), planID, here), ErrFinished)
	require.ErrorContains(t, err, "finished at 2026-11-24T06:15:02Z")
}

func TestRetryThenSuccess(t *testing.T) {
	gone := fmt.Errorf("get Cluster: %w", recovery.ErrUnreachable)
	h := &script{}
	h.observe = func(_ context.Context, _ *Run, times int) (Observation, error) {
		switch {
		case times == 1 || times == 3:
			return Observation{}, gone
		case h.applied < 3:
			return pending("")
		}
		return Observation{State: Done}, nil
	}
	h.apply = func(_ context.Context, _ *Run, times int) error {
		if times < 3 {
			return gone
		}
		return nil
	}
	r := newRig(t, map[string]Handler{"a": h})
	require.NoError(t, r.Start(t.Context(), plan("a")))
	require.Equal(t, 3, h.applied)
	require.Equal(t, []string{"a started", "a done", "finished"}, r.journal(t), "one effect is announced once")
	require.Equal(t, []string{"1/1 started", "1/1 retry", "1/1 retry", "1/1 retry", "1/1 retry", "1/1 done"}, r.told())
}

// TestAppliedAlready: the answer was lost, the effect was not. It is not done twice.
func TestAppliedAlready(t *testing.T) {
	h := &script{apply: func(context.Context, *Run, int) error { return recovery.ErrUnreachable }}
	r := newRig(t, map[string]Handler{"a": h})
	require.NoError(t, r.Start(t.Context(), plan("a")))
	require.Equal(t, 1, h.applied)
}

func TestStops(t *testing.T) {
	denied := &recovery.Problem{What: "create Cluster", Why: "it is forbidden", Next: "grant it", Err: recovery.ErrDenied}
	broken := func() *script {
		return &script{apply: func(context.Context, *Run, int) error { return denied }}
	}
	conflict := func() *script {
		return &script{observe: func(context.Context, *Run, int) (Observation, error) {
			return Observation{State: Conflict, Why: "somebody replaced it"}, nil
		}}
	}
	endless := func() *script {
		return &script{observe: func(context.Context, *Run, int) (Observation, error) { return pending("waiting for PVC data-1") }}
	}
	unreadable := func() *script {
		return &script{observe: func(context.Context, *Run, int) (Observation, error) {
			return Observation{}, fmt.Errorf("list Pods: %w", recovery.ErrUnreachable)
		}}
	}
	cases := []struct {
		name     string
		handlers map[string]Handler
		steps    []string
		// is are kinds of the error, says is in its text. kept: the plan is still there.
		is   []error
		says []string
		kept bool
		// state of the last step where the plan is kept.
		state string
	}{
		{"a conflict before any effect leaves no plan", map[string]Handler{"a": conflict()}, []string{"a"}, []error{ErrConflict}, []string{"somebody replaced it"}, false, ""},
		{"a conflict later does", map[string]Handler{"a": &script{}, "b": conflict()}, []string{"a", "b"}, []error{ErrConflict, ErrUnfinished},
			[]string{"step 2 of 2, b immich-database: somebody replaced it", "drctl resume " + planID + ", or drctl abort " + planID}, true, StateFailed},
		{"past the point of no return abort is not named", map[string]Handler{"delete": &script{}, "b": conflict()}, []string{"delete", "b"}, []error{ErrConflict, ErrUnfinished},
			[]string{"(drctl resume " + planID + ")"}, true, StateFailed},
		{"a failed effect may have happened", map[string]Handler{"a": broken()}, []string{"a"}, []error{recovery.ErrDenied, ErrUnfinished},
			[]string{"step 1 of 1, a immich-database: create Cluster: it is forbidden (grant it; then drctl resume"}, true, StateFailed},
		{"a wait is no effect", map[string]Handler{"a": passive{endless()}}, []string{"a"}, []error{ErrNotVerified}, []string{"not proven within 300ms", "waiting for PVC data-1"}, false, ""},
		{"time up is not success", map[string]Handler{"a": endless()}, []string{"a"}, []error{ErrNotVerified, ErrUnfinished},
			[]string{"not proven within 300ms, the last thing seen: waiting for PVC data-1"}, true, StateFailed},
		{"time up while nothing can be read", map[string]Handler{"a": unreadable()}, []string{"a"}, []error{ErrNotVerified, recovery.ErrUnreachable},
			[]string{"the last error: list Pods: unreachable"}, false, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.handlers)
			p := plan(c.steps...)
			last := &p.Steps[len(p.Steps)-1]
			if slices.Contains(c.is, ErrNotVerified) {
				last.Timeout = short
			}
			err := r.Start(t.Context(), p)
			for _, kind := range c.is {
				require.ErrorIs(t, err, kind)
			}
			for _, text := range c.says {
				require.ErrorContains(t, err, text)
			}
			require.Equal(t, c.kept, errors.Is(err, ErrUnfinished))
			require.Equal(t, StepFailed, r.events[len(r.events)-1].Kind)
			if !c.kept {
				r.requireNoPlan(t)
				return
			}
			unfinished, _, err := r.Store.Unfinished()
			require.NoError(t, err)
			require.Len(t, unfinished, 1)
			require.Equal(t, c.state, unfinished[0].Steps[len(c.steps)-1].State)
			failed, ok := unfinished[0].Failed()
			require.True(t, ok)
			require.NotEmpty(t, failed.Error)
		})
	}
}

func TestCancelled(t *testing.T) {
	t.Run("before any effect", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		h := &script{observe: func(context.Context, *Run, int) (Observation, error) {
			cancel(errors.New("a signal"))
			return pending("")
		}}
		r := newRig(t, map[string]Handler{"a": h})
		err := r.Start(ctx, plan("a"))
		require.Equal(t, context.Canceled, err)
		require.Zero(t, h.applied)
		r.requireNoPlan(t)
	})
	t.Run("after an effect", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := &script{apply: func(ctx context.Context, _ *Run, _ int) error {
			cancel()
			return ctx.Err()
		}}
		h.observe = func(context.Context, *Run, int) (Observation, error) { return pending("") }
		r := newRig(t, map[string]Handler{"a": h})
		err := r.Start(ctx, plan("a"))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ErrUnfinished)
		require.Equal(t, []string{"a started", "a failed"}, r.journal(t))
	})
	t.Run("by a deadline while waiting", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		h := &script{observe: func(context.Context, *Run, int) (Observation, error) { return pending("") }}
		r := newRig(t, map[string]Handler{"a": h})
		err := r.Start(ctx, plan("a"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, ErrNotVerified)
	})
	t.Run("what is proven when the time is up is proven", func(t *testing.T) {
		h := &script{}
		h.observe = func(ctx context.Context, _ *Run, _ int) (Observation, error) {
			if h.applied == 0 {
				return pending("")
			}
			<-ctx.Done()
			return Observation{State: Done}, nil
		}
		p := plan("a")
		p.Steps[0].Timeout = short
		require.NoError(t, newRig(t, map[string]Handler{"a": h}).Start(t.Context(), p))
	})
}
