package operation

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// leaving is a script with a way back, and with what must not outlive the plan.
type leaving struct {
	backward
	left *int
	err  error
}

func (h *leaving) Leave(context.Context, *Run) error {
	*h.left++
	return h.err
}

func TestAPlanPastReturnCanBeGivenUp(t *testing.T) {
	var undone []string
	left := 0
	fence := &leaving{backward: backward{script: &script{}, undone: &undone}, left: &left, err: errors.New("forbidden")}
	idle := &leaving{backward: backward{script: &script{}, undone: &undone}, left: &left}
	r := newRig(t, map[string]Handler{"retain": backward{script: &script{}, undone: &undone}, "fence": fence, "delete": &script{}, "create": failing(), "idle": idle})
	require.ErrorIs(t, r.Start(t.Context(), plan("retain", "fence", "delete", "create", "idle")), ErrUnfinished)
	require.ErrorIs(t, r.Abort(t.Context(), planID, here), ErrPastReturn)

	give := here
	give.GiveUp = true
	err := r.Abort(t.Context(), planID, give)
	require.ErrorIs(t, err, ErrUnfinished)
	require.ErrorContains(t, err, "forbidden")
	view, err := r.Store.View(planID)
	require.NoError(t, err)
	require.Equal(t, PlanUnfinished, view.State, "it is not aborted by half")

	fence.err = nil
	require.NoError(t, r.Abort(t.Context(), planID, give))
	require.Equal(t, 2, left, "the step that never began has nothing to leave")
	require.Empty(t, undone, "what was done stays")
	view, err = r.Store.View(planID)
	require.NoError(t, err)
	require.Equal(t, PlanGivenUp, view.State)
	require.False(t, view.Unfinished())
	require.Empty(t, view.Next())
	require.ErrorIs(t, r.Resume(t.Context(), planID, here), ErrFinished)
	require.ErrorIs(t, r.Abort(t.Context(), planID, give), ErrFinished)
}

func TestGivingUpWhatCanBeTakenBackTakesItBack(t *testing.T) {
	var undone []string
	r := newRig(t, map[string]Handler{"retain": backward{script: &script{}, undone: &undone}, "fence": backward{script: failing(), undone: &undone}, "delete": &script{}})
	require.ErrorIs(t, r.Start(t.Context(), plan("retain", "fence", "delete")), ErrUnfinished)
	give := here
	give.GiveUp = true
	require.NoError(t, r.Abort(t.Context(), planID, give))
	require.Equal(t, []string{"fence", "retain"}, undone)
	view, err := r.Store.View(planID)
	require.NoError(t, err)
	require.Equal(t, PlanAborted, view.State)
}

func TestWhatToTypeNext(t *testing.T) {
	view := PlanView{ID: "p-1", CreatedBy: "ada@laptop", Abortable: true}
	for state, want := range map[string]string{
		PlanUnfinished: "drctl resume p-1, or drctl abort p-1", PlanAborting: "drctl abort p-1", PlanFinished: "", PlanAborted: "", PlanGivenUp: "",
		PlanElsewhere: "drctl resume p-1 --takeover, when ada@laptop cannot go on",
	} {
		view.State = state
		require.Equal(t, want, view.Next(), state)
	}
	view.State, view.Abortable = PlanUnfinished, false
	require.Equal(t, "drctl resume p-1", view.Next())
	elsewhere := ElsewhereView(plan("a", "b"))
	require.Equal(t, PlanElsewhere, elsewhere.State)
	require.Len(t, elsewhere.Steps, 2)
	require.Equal(t, StatePending, elsewhere.Steps[0].State)
}
