package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// othersTime is how old an attempt of somebody else must be before it counts as broken off: Helm's own longest wait,
// by default 5 minutes, and as much again.
const othersTime = 10 * time.Minute

// chartStep installs or upgrades Argo CD's release.
type chartStep struct{ *Bootstrap }

func (s chartStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	deployed, err := s.Releases.DeployedBy(ctx, p.Namespace, p.Release, run.Plan.ID)
	return operation.IsDoneWhen(deployed, err, "it is not deployed")
}

func (s chartStep) Apply(ctx context.Context, run *operation.Run) error {
	target, err := s.target(ctx, run)
	if err != nil {
		return err
	}
	release, err := s.unlocked(ctx, run, target)
	if err != nil {
		return err
	}
	if _, known := run.Fact(factPrevious); !known {
		previous := 0
		if release != nil {
			previous = release.Deployed
		}
		if err := run.SetFact(ctx, factPrevious, strconv.Itoa(previous)); err != nil {
			return err
		}
	}
	err = s.Releases.Deploy(ctx, target, run.Plan.ID)
	if err == nil || passes(ctx, err) {
		return err
	}
	problem := &recovery.Problem{What: run.Step.Title, Why: err.Error(), Err: errors.Join(errDeploy, err)}
	var inner *recovery.Problem
	if errors.As(err, &inner) {
		problem.Why, problem.Next = inner.Cause(), inner.Next
	}
	return problem
}

// passes holds for what says nothing about the chart: a server that did not answer, somebody else who is at it.
func passes(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, recovery.ErrUnreachable) || errors.Is(err, recovery.ErrConflict)
}

// unlocked ends an attempt that did not: of this plan at once, since its lock says that nobody else runs it; of
// somebody else once it is so old that it must have been broken off.
func (b *Bootstrap) unlocked(ctx context.Context, run *operation.Run, target Target) (*recovery.Release, error) {
	release, err := b.Releases.Release(ctx, target.Namespace, target.Name)
	if err != nil || release == nil || !release.Pending {
		return release, err
	}
	age := b.Now().Sub(release.UpdatedAt)
	if release.PlanID != run.Plan.ID && age < othersTime {
		return nil, &recovery.Problem{
			What: run.Step.Title, Why: fmt.Sprintf("release %s/%s is %s since %s: somebody is at it, or was broken off", target.Namespace, target.Name, release.Status, release.UpdatedAt.UTC().Format(time.RFC3339)),
			Next: fmt.Sprintf("if nobody is, wait until it is %s old", othersTime), Err: errors.Join(recovery.ErrConflict, operation.ErrConflict),
		}
	}
	run.Report("revision %d of release %s/%s was begun at %s and never ended: it is marked as failed", release.Revision, target.Namespace, target.Name, release.UpdatedAt.UTC().Format(time.RFC3339))
	if err := b.Releases.Unlock(ctx, target.Namespace, target.Name, release.Revision); err != nil {
		return nil, err
	}
	return b.Releases.Release(ctx, target.Namespace, target.Name)
}

// Undo goes back to the revision before, or removes the release where there was none. While there are Applications
// a release is never removed: they would be nobody's, and what they made with them.
func (s chartStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	release, err := s.unlocked(ctx, run, Target{Namespace: p.Namespace, Name: p.Release})
	if err != nil || release == nil {
		return err
	}
	previous, _ := run.Fact(factPrevious)
	revision, _ := strconv.Atoi(previous)
	if revision > 0 {
		if release.Status == "deployed" && release.PlanID != run.Plan.ID {
			return nil // taken back already, or never begun
		}
		return s.Releases.Rollback(ctx, p.Namespace, p.Release, revision)
	}
	applications, err := s.Cluster.Applications(ctx)
	if err != nil {
		return err
	}
	if len(applications) > 0 && safeguard.Uninstall {
		run.Report("release %s/%s stays as it is: there are %d Applications, and nobody would look after them", p.Namespace, p.Release, len(applications))
		return nil
	}
	return s.Releases.Uninstall(ctx, p.Namespace, p.Release)
}
