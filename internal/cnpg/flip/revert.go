package flip

import (
	"context"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// PrepareRevert makes the plan of the hand-back alone, for a Cluster that somebody recovered and did not
// hand back: after a proof of its own, since bootstrap is read again until the recovery is done.
func (f *Flip) PrepareRevert(ctx context.Context, namespace, name, verifySQL string) (*Prepared, error) {
	out := &Prepared{ID: operation.NewID(RevertOperation, f.Now())}
	var err error
	if out.Identity, err = f.Cluster.Identity(ctx); err != nil {
		return nil, err
	}
	live, db, err := f.Locate(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	if live.Bootstrap != "recovery" {
		return nil, &recovery.Problem{
			What: "hand Cluster " + live.Namespace + "/" + live.Name + " back", Why: "its bootstrap is " + live.Bootstrap + ": it is handed back already",
			Next: "see drctl cnpg list", Err: operation.ErrFinished,
		}
	}
	if out.Params, err = f.expected(ctx, live, db); err != nil {
		return nil, err
	}
	if err := f.refuseUnfinished(ctx, Options{}, out); err != nil {
		return nil, err
	}
	p := out.Params
	p.VerifySQL, p.OldPhase = verifySQL, live.Phase
	if p.Settled, err = f.Render.Settled(live.Manifest, p.WriteServer); err != nil {
		return nil, err
	}
	return out, f.checkGit(ctx, Options{}, out)
}

// RevertPlan is the plan of what PrepareRevert found.
func (f *Flip) RevertPlan(out *Prepared) (operation.Plan, error) {
	plan, err := f.Plan(out)
	plan.Operation, plan.Steps = RevertOperation, out.Params.revertSteps()
	return plan, err
}

// revertSteps are those of the whole flip from the proof on, none of which loses anything.
func (p *Params) revertSteps() []operation.Step {
	p.NoFence = true
	var steps []operation.Step
	begun := false
	for _, step := range p.steps() {
		begun = begun || step.Kind == stepProve
		if begun {
			step.PointOfNoReturn = false
			steps = append(steps, step)
		}
	}
	return steps
}
