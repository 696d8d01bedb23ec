package restore

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/safeguard"
)

// fenceLife is when a forgotten fence falls: an absent volume is better than an empty one, so not sooner.
const fenceLife = 24 * time.Hour

// fenceStep holds back, for everybody but this plan, the claim's creation and Pods that mount it. Nothing
// needs to be scaled: controllers that cannot create Pods wait, and Argo CD has nothing to revert.
type fenceStep struct{ *Restore }

func (r *Restore) hold(run *operation.Run) (Hold, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return Hold{}, err
	}
	// In place the mover writes behind it, for as long as that takes.
	return p.hold(run.Plan.ID, r.Now().Add(fenceLife+p.mover())), nil
}

func (s fenceStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	if !safeguard.Fence {
		return operation.IsDone()
	}
	if _, proven := run.Fact(factFence); !proven {
		return operation.IsPending("not proven")
	}
	hold, err := s.hold(run)
	if err != nil {
		return operation.Observation{}, err
	}
	standing, err := s.Fence.Standing(ctx, hold)
	return operation.IsDoneWhen(standing, err, "the fence is gone")
}

func (s fenceStep) Apply(ctx context.Context, run *operation.Run) error {
	hold, err := s.hold(run)
	if err != nil {
		return err
	}
	if err := s.Fence.Up(ctx, hold); err != nil {
		return err
	}
	run.Report("proving that nobody else can create the claim, or a Pod that mounts it")
	if err := s.Fence.Prove(ctx, hold); err != nil {
		return err
	}
	return run.SetFact(ctx, factFence, s.stamp())
}

// Undo takes the fence down, and has the Pods that were stopped come back.
func (s fenceStep) Undo(ctx context.Context, run *operation.Run) error {
	hold, err := s.hold(run)
	if err != nil {
		return err
	}
	if err := s.Fence.Down(ctx, hold); err != nil || !run.Started(stepStop) {
		return err
	}
	return s.wake(ctx, run)
}

// Leave takes the fence down with a plan that is given up: nobody else would.
func (s fenceStep) Leave(ctx context.Context, run *operation.Run) error { return s.Undo(ctx, run) }

// Renew moves the fence's end, as long as the plan has not lifted it itself.
func (s fenceStep) Renew(ctx context.Context, run *operation.Run) error {
	if !safeguard.Fence || run.Started(stepLift) {
		return nil
	}
	hold, err := s.hold(run)
	if err != nil {
		return err
	}
	standing, err := s.Fence.Standing(ctx, hold)
	if err != nil {
		return err
	}
	if standing {
		return s.Fence.Up(ctx, hold)
	}
	// It expired, or somebody took it down: what is put up anew is proven anew.
	return s.Apply(ctx, run)
}

// liftStep takes the fence down.
type liftStep struct{ *Restore }

// Observe looks for any part of it: a crash may have come between two deletions.
func (s liftStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	left, err := s.Fence.Left(ctx, run.Plan.ID)
	return operation.IsDoneWhen(!left, err, "the fence stands")
}

func (s liftStep) Apply(ctx context.Context, run *operation.Run) error {
	hold, err := s.hold(run)
	if err != nil {
		return err
	}
	return s.Fence.Down(ctx, hold)
}
