package flip

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/safeguard"
)

// fenceLife is when a forgotten fence falls: an absent database is better than an empty one, so not
// sooner.
const fenceLife = 24 * time.Hour

// fenceStep holds creation of the Cluster back for everybody but this plan.
type fenceStep struct{ *Flip }

func (s fenceStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	if !safeguard.Fence {
		return operation.IsDone()
	}
	if _, proven := run.Fact(factFence); !proven {
		return operation.IsPending("not proven")
	}
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	standing, err := s.Fence.Standing(ctx, run.Plan.ID, p.Namespace, p.Name)
	return operation.IsDoneWhen(standing, err, "the fence is gone")
}

func (s fenceStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if err := s.Fence.Up(ctx, run.Plan.ID, p.Namespace, p.Name, s.Now().Add(fenceLife)); err != nil {
		return err
	}
	run.Report("proving that nobody else can create the Cluster")
	if err := s.Fence.Prove(ctx, run.Plan.ID, p.Namespace, p.Name, p.Settled); err != nil {
		return err
	}
	return run.SetFact(ctx, factFence, s.Now().UTC().Format(time.RFC3339))
}

func (s fenceStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Fence.Down(ctx, run.Plan.ID, p.Namespace, p.Name)
}

// Leave takes the fence down with a plan that is given up: nobody else would.
func (s fenceStep) Leave(ctx context.Context, run *operation.Run) error { return s.Undo(ctx, run) }

// Renew moves the fence's end, as long as the plan has not lifted it itself.
func (s fenceStep) Renew(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil || !safeguard.Fence || run.Started(stepLift) {
		return err
	}
	return s.Fence.Up(ctx, run.Plan.ID, p.Namespace, p.Name, s.Now().Add(fenceLife))
}

// liftStep takes the fence down.
type liftStep struct{ *Flip }

// Observe looks for any part of it: a crash may have come between two deletions.
func (s liftStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	left, err := s.Fence.Left(ctx, run.Plan.ID)
	return operation.IsDoneWhen(!left, err, "the fence stands")
}

func (s liftStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Fence.Down(ctx, run.Plan.ID, p.Namespace, p.Name)
}
