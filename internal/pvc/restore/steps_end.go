package restore

import (
	"context"
	"errors"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// settleStep sees the Application Synced and Healthy again. One that gave up meanwhile, because the fence
// refused it, does not try again by itself.
type settleStep struct{ *Restore }

// Proves reports that the step looks first of all.
func (settleStep) Proves() bool { return true }

func (s settleStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	argo, err := s.argo()
	if err != nil {
		return operation.Observation{}, err
	}
	settled, _, why, err := argo.Settled(ctx, *p.Application)
	return operation.IsDoneWhen(settled, err, "%s", why)
}

func (s settleStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	argo, err := s.argo()
	if err != nil {
		return err
	}
	// One that is still at it may give up in the next moments: what the fence refused counts.
	for range settleRounds {
		settled, stuck, _, err := argo.Settled(ctx, *p.Application)
		if err != nil || settled {
			return err
		}
		if stuck {
			return argo.Sync(ctx, *p.Application)
		}
		if err := pause(ctx, s.between()); err != nil {
			return err
		}
	}
	return nil
}

// settleRounds is how often an Application is looked at before it is left to itself.
const settleRounds = 30

func (r *Restore) argo() (Argo, error) {
	if r.Argo == nil {
		return nil, &recovery.Problem{What: "look at Argo CD", Why: "this plan was made with it, and it is not known here", Next: "leave --offline out", Err: recovery.ErrUsage}
	}
	return r.Argo, nil
}

// cleanUpStep removes what drctl made: ReplicationDestination, ReplicationSource, copies of the Secret. The
// VolumeSnapshot of a volume that was written into stays: it is the way back.
type cleanUpStep struct{ *Restore }

func (s cleanUpStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	left, err := s.Movers.Left(ctx, p.Namespace, run.Plan.ID)
	return operation.IsDoneWhen(len(left) == 0, err, "waiting for %s to go", strings.Join(left, ", "))
}

func (s cleanUpStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return errors.Join(
		s.Movers.Remove(ctx, p.Namespace, run.Plan.ID, run.Plan.ID),
		s.Movers.Remove(ctx, p.Namespace, sourceName(run.Plan.ID), run.Plan.ID),
	)
}

// releaseStep takes the plan's mark off the claim, and drctl out of the owners of its fields: Argo CD could
// not remove a field that stands in drctl's name, too.
type releaseStep struct{ *Restore }

func (s releaseStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	claim, err := s.Cluster.Claim(ctx, p.Namespace, p.claim())
	switch {
	case err != nil:
		return operation.Observation{}, err
	case claim == nil:
		return operation.IsConflict("claim %s is gone: somebody deleted it", p)
	}
	return operation.IsDoneWhen(claim.PlanID != run.Plan.ID, nil, "the plan's mark is on it")
}

func (s releaseStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	uid, _ := run.Fact(FactUID)
	return s.Cluster.ReleaseClaim(ctx, p.Namespace, p.claim(), uid, run.Plan.ID)
}
