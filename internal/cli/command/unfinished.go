package command

import (
	"context"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Unfinished are the plans that are not at their end: those of this computer, and behind them those of
// which only the cluster has a copy. A part that cannot be read is a gap: it may hold one, too.
func (f *Factory) Unfinished(ctx context.Context) ([]operation.PlanView, recovery.Gaps, error) {
	known, gaps, err := f.Wiring.Plans().List()
	if err != nil {
		return nil, gaps, err
	}
	elsewhere, more := f.PlansElsewhere(ctx, known)
	var unfinished []operation.PlanView
	for _, view := range known {
		if view.Unfinished() {
			unfinished = append(unfinished, view)
		}
	}
	return append(unfinished, elsewhere...), append(gaps, more...), nil
}

// PlansElsewhere are the plans of which only the cluster has a copy; with --offline, or without any
// cluster, none.
func (f *Factory) PlansElsewhere(ctx context.Context, known []operation.PlanView) ([]operation.PlanView, recovery.Gaps) {
	var gaps recovery.Gaps
	mirror, err := f.Wiring.MirroredPlans(ctx)
	if err != nil || mirror == nil {
		gaps.Add("look for plans in the cluster", err)
		return nil, gaps
	}
	plans, err := mirror.List(ctx)
	gaps.Add("look for plans in the cluster", err)
	here := map[string]bool{}
	for _, view := range known {
		here[view.ID] = true
	}
	var views []operation.PlanView
	for _, plan := range plans {
		if !here[plan.ID] {
			views = append(views, operation.ElsewhereView(plan))
		}
	}
	return views, gaps
}
