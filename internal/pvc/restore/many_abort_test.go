package restore

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
)

// TestAbortMany takes back what can be, and names what cannot.
func TestAbortMany(t *testing.T) {
	w, dir := newSeveral(), t.TempDir()
	w.twist = func(m *mover) {
		if m.Destination != nil && m.Destination.Namespace != "a" {
			m.Result = "Failed"
		}
	}
	m := w.many(dir)
	plan, _ := m.plan(t, 4)
	require.ErrorIs(t, m.engine.Start(t.Context(), plan), operation.ErrUnfinished)
	require.Len(t, w.Movers, 3)
	require.NoError(t, w.many(dir).engine.Abort(t.Context(), plan.ID, here))
	require.Empty(t, w.Movers)
	w.requireSeveral(t, several[1:]...)

	w, dir = newSeveral(), t.TempDir()
	w.stuckPopulator = true
	m = w.many(dir)
	plan, _ = m.plan(t, 4)
	ctx, cancel := context.WithCancel(t.Context())
	w.before = func(call string) error {
		pending := 0
		for _, claim := range w.Claims {
			if claim.PlanID != "" {
				pending++
			}
		}
		if pending == len(several) {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, m.engine.Start(ctx, plan), operation.ErrUnfinished)
	w.before = nil
	err := w.many(dir).engine.Abort(t.Context(), plan.ID, here)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, "4 of 4 claims could not be taken back")
	w.stuckPopulator = false
	for _, child := range m.children(t, plan) {
		require.NoError(t, w.use().Resume(t.Context(), w.engine(dir), child, here))
	}
	w.requireSeveral(t)
	require.NoError(t, w.many(dir).engine.Abort(t.Context(), plan.ID, here), "nothing is left to take back")
}

func (m *many) children(t *testing.T, plan operation.Plan) (plans []operation.Plan) {
	t.Helper()
	p, err := ManyParamsOf(&plan)
	require.NoError(t, err)
	for _, child := range p.Children {
		plan, _, err := m.Plans.Read(child.Plan)
		require.NoError(t, err)
		plans = append(plans, plan)
	}
	return plans
}

func TestPlansOfOneSecond(t *testing.T) {
	w := newWorld()
	first, _ := w.prepare(t, options(nil))
	second, _ := w.prepare(t, options(nil))
	second.rename(first.ID)
	require.Contains(t, string(second.Params.Manifest), `"drctl.dev/plan":"`+first.ID+`"`)
	require.Contains(t, string(second.Params.Manifest), `"name":"`+first.ID+`"`)
	uniqueIDs([]*Prepared{first, second})
	require.NotEqual(t, first.ID, second.ID)
	require.Contains(t, string(second.Params.Manifest), `"drctl.dev/plan":"`+second.ID+`"`)
}

func TestPrepareManyIsCutShort(t *testing.T) {
	w := newSeveral()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("Ctrl-C"))
	list, _ := wantSeveral()
	_, _, err := w.many(t.TempDir()).PrepareMany(ctx, list, nil)
	require.ErrorIs(t, err, context.Canceled)
}
