package operation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// backward is a script with a way back.
type backward struct {
	*script
	undone *[]string
	undo   func(ctx context.Context) error
}

func (h backward) Undo(ctx context.Context, run *Run) error {
	*h.undone = append(*h.undone, run.Step.ID)
	if h.undo != nil {
		return h.undo(ctx)
	}
	return nil
}

// returnless is a point of no return that can tell whether it happened.
type returnless struct {
	*script
	happened bool
	err      error
}

func (h returnless) Happened(context.Context, *Run) (bool, error) { return h.happened, h.err }

// failing fails until it is given another apply.
func failing() *script {
	h := &script{apply: func(context.Context, *Run, int) error { return errors.New("refused") }}
	h.observe = func(context.Context, *Run, int) (Observation, error) {
		if h.apply != nil || h.applied == 0 {
			return Observation{}, nil
		}
		return Observation{State: Done}, nil
	}
	return h
}

func already() *script {
	return &script{observe: func(context.Context, *Run, int) (Observation, error) { return Observation{State: Done}, nil }}
}

func TestAbortTakesBackWhatThePlanDidNewestFirst(t *testing.T) {
	var undone []string
	r := newRig(t, map[string]Handler{
		"a": backward{script: &script{}, undone: &undone}, "b": &script{}, "c": backward{script: already(), undone: &undone},
		"d": passive{&script{}}, "e": backward{script: failing(), undone: &undone}, "f": backward{script: &script{}, undone: &undone},
	})
	require.ErrorIs(t, r.Start(t.Context(), plan("a", "b", "c", "d", "e", "f")), ErrUnfinished)
	r.events = nil
	require.NoError(t, r.Abort(t.Context(), planID, here))
	require.Equal(t, []string{"e", "a"}, undone, "c was so before, f was not reached")
	require.Equal(t, []string{"5/6 undoStarted", "5/6 undone", "2/6 undoSkipped b immich-database stays", "1/6 undoStarted", "1/6 undone"}, r.told())
	journal := r.journal(t)
	require.Equal(t, []string{"aborting", "e undo-started", "e undone", "a undo-started", "a undone", "aborted"}, journal[len(journal)-6:])
	view, err := r.Store.View(planID)
	require.NoError(t, err)
	require.Equal(t, PlanAborted, view.State)
	require.Equal(t, StateUndone, view.Steps[4].State)
	require.Empty(t, view.Steps[4].Error)

	err = r.Resume(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrFinished)
	require.ErrorContains(t, err, "it was aborted at")
}

func TestAbortThatFailsIsAbortedAgain(t *testing.T) {
	var undone []string
	broken := true
	r := newRig(t, map[string]Handler{
		"a": backward{script: &script{}, undone: &undone, undo: func(context.Context) error {
			if broken {
				return &recovery.Problem{What: "delete the fence", Why: "it is forbidden", Next: "grant it"}
			}
			return nil
		}},
		"b": backward{script: failing(), undone: &undone},
	})
	require.ErrorIs(t, r.Start(t.Context(), plan("a", "b")), ErrUnfinished)
	err := r.Abort(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrUnfinished)
	require.EqualError(t, err, "take back step 1 of 2, a immich-database: delete the fence: it is forbidden (grant it; then drctl abort "+planID+")")

	views, _, err := r.Store.Unfinished()
	require.NoError(t, err)
	require.Equal(t, PlanAborting, views[0].State)
	require.True(t, views[0].Abortable)
	err = r.Resume(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrUnfinished)
	require.ErrorContains(t, err, "drctl abort "+planID)

	broken = false
	require.NoError(t, r.Abort(t.Context(), planID, here))
	require.Equal(t, []string{"b", "a", "a"}, undone, "what is undone is not undone again")
}

func TestAbortInterrupted(t *testing.T) {
	var undone []string
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, map[string]Handler{
		"a": backward{script: &script{}, undone: &undone, undo: func(ctx context.Context) error {
			cancel()
			return ctx.Err()
		}},
		"b": failing(),
	})
	require.ErrorIs(t, r.Start(t.Context(), plan("a", "b")), ErrUnfinished)
	err := r.Abort(ctx, planID, here)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ErrUnfinished)
	require.NoError(t, r.Abort(t.Context(), planID, here))
}

func TestUndoIsRetriedUntilItsTimeIsUp(t *testing.T) {
	var undone []string
	tries := 0
	r := newRig(t, map[string]Handler{
		"a": backward{script: failing(), undone: &undone, undo: func(ctx context.Context) error {
			if tries++; tries == 3 {
				return nil
			}
			return recovery.ErrUnreachable
		}},
	})
	require.ErrorIs(t, r.Start(t.Context(), plan("a")), ErrUnfinished)
	require.NoError(t, r.Abort(t.Context(), planID, here))
	require.Equal(t, 3, tries)

	p := plan("a")
	p.ID = NewID("cnpg-recover", begun)
	p.Steps[0].Timeout = time.Second
	r.Handlers["a"] = backward{script: failing(), undone: &undone, undo: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	require.ErrorIs(t, r.Start(t.Context(), p), ErrUnfinished)
	require.ErrorIs(t, r.Abort(t.Context(), p.ID, here), ErrNotVerified)
}

func TestPointOfNoReturn(t *testing.T) {
	cases := []struct {
		name  string
		point Handler
		// back: the abort goes through. says is in the refusal, hint in the error of the run.
		back       bool
		says, hint string
	}{
		{"done", &script{}, false, "its point of no return is behind it: delete immich-database", "(drctl resume " + planID + ")"},
		{"started, and it cannot tell", failing(), false, "its point of no return is behind it", "(drctl resume " + planID + ")"},
		{"started, and it happened", returnless{script: failing(), happened: true}, false, "its point of no return is behind it", "in case it did not happen"},
		{"started, and it is not known", returnless{script: failing(), err: errors.New("no answer")}, false, "could not be told: no answer", "in case it did not happen"},
		{"started, and it did not happen", returnless{script: failing()}, true, "", "in case it did not happen"},
		{"done counts more than what it tells", returnless{script: &script{}}, false, "its point of no return is behind it", "(drctl resume " + planID + ")"},
		{"found done: somebody else did it", already(), true, "", "or drctl abort " + planID + ")"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var undone []string
			r := newRig(t, map[string]Handler{"a": backward{script: &script{}, undone: &undone}, "delete": c.point, "b": failing()})
			err := r.Start(t.Context(), plan("a", "delete", "b"))
			require.ErrorIs(t, err, ErrUnfinished)
			require.ErrorContains(t, err, c.hint)
			err = r.Abort(t.Context(), planID, here)
			if c.back {
				require.NoError(t, err)
				require.Equal(t, []string{"a"}, undone)
				return
			}
			require.ErrorIs(t, err, ErrPastReturn)
			require.ErrorIs(t, err, ErrUnfinished)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "drctl resume "+planID)
			require.Empty(t, undone)
			require.NotContains(t, r.journal(t), "aborting")
		})
	}
}

// renewing is a script that has to be kept up.
type renewing struct {
	*script
	renewed *int
	err     *error
}

func (h renewing) Renew(context.Context, *Run) error {
	*h.renewed++
	return *h.err
}

func TestResumeKeepsUpWhatDoesNotLast(t *testing.T) {
	renewed, refusal := 0, error(nil)
	b := failing()
	r := newRig(t, map[string]Handler{"a": renewing{&script{}, &renewed, &refusal}, "b": b})
	require.ErrorIs(t, r.Start(t.Context(), plan("a", "b")), ErrUnfinished)
	require.Zero(t, renewed)
	b.apply = nil

	refusal = errors.New("the fence is not ours")
	err := r.Resume(t.Context(), planID, here)
	require.ErrorIs(t, err, ErrUnfinished)
	require.ErrorContains(t, err, "the fence is not ours")
	require.Equal(t, 1, b.applied, "nothing goes on without the fence")

	refusal, r.events = nil, nil
	require.NoError(t, r.Resume(t.Context(), planID, here))
	require.Equal(t, 2, renewed)
	require.Equal(t, "1/2 renewed", r.told()[0])
}
