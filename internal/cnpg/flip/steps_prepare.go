package flip

import (
	"context"
	"errors"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// keepStep marks the backup, so that no retention of the old server takes it away meanwhile. The mark
// stays after the recovery: the way back must not expire.
type keepStep struct{ *Flip }

func (s keepStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	kept, err := s.Archive.Kept(ctx, p.source(), p.Backup.ID)
	return operation.IsDoneWhen(kept, err, "backup %s is not marked", p.Backup.ID)
}

func (s keepStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	// Observe saw no mark, so this one is ours, and abort may take it away.
	if err := run.SetFact(ctx, factKeep, "ours"); err != nil {
		return err
	}
	return s.Archive.Keep(ctx, p.source(), p.Backup.ID)
}

func (s keepStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if _, ours := run.Fact(factKeep); !ours {
		return nil
	}
	return s.Archive.Unkeep(ctx, p.source(), p.Backup.ID)
}

// retainStep sets the old volumes to Retain: they are the way back.
type retainStep struct{ *Flip }

func (s retainStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	volumes, err := s.Cluster.Volumes(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	for _, volume := range volumes {
		if volume.OwnerUID == p.OldUID && volume.Name != "" && volume.ReclaimPolicy != "Retain" {
			return operation.IsPending("volume %s has reclaim policy %s", volume.Name, volume.ReclaimPolicy)
		}
	}
	return operation.IsDone()
}

func (s retainStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	volumes, err := s.Cluster.Volumes(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		if volume.OwnerUID != p.OldUID || volume.Name == "" || volume.ReclaimPolicy == "Retain" {
			continue
		}
		if err := run.SetFact(ctx, factRetain+volume.Name, volume.ClaimUID+" "+volume.ReclaimPolicy); err != nil {
			return err
		}
		if err := s.Cluster.SetReclaimPolicy(ctx, volume.Name, volume.ClaimUID, "Retain"); err != nil {
			return err
		}
	}
	return nil
}

// Undo gives the volumes their policy back, each only while it is Bound to its claim: a Released
// volume that is patched to Delete is gone within seconds.
func (s retainStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	// The volume of a Cluster that is going is still Bound, until its claim is gone.
	live, err := s.Cluster.Find(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	if live == nil || live.UID != p.OldUID || live.Deleting {
		run.Report("the volumes stay on Retain: Cluster %s is not the one that they belong to, or is going", p)
		return nil
	}
	var all error
	for _, volume := range p.Volumes {
		was, changed := run.Fact(factRetain + volume.Name)
		if !changed {
			continue
		}
		claimUID, policy, _ := strings.Cut(was, " ")
		err := s.Cluster.SetReclaimPolicy(ctx, volume.Name, claimUID, policy)
		if errors.Is(err, recovery.ErrConflict) || errors.Is(err, recovery.ErrNotFound) {
			run.Report("volume %s stays on Retain: it is no longer bound to the claim it had", volume.Name)
			continue
		}
		all = errors.Join(all, err)
	}
	return all
}

// secretsStep takes the generated passwords out of the Cluster's ownership, so that they outlive it
// and the new Cluster takes them up.
type secretsStep struct{ *Flip }

func (s secretsStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	owned, err := s.Cluster.OwnedSecrets(ctx, p.Namespace, p.Name, p.OldUID)
	return operation.IsDoneWhen(len(owned) == 0, err, "%d Secrets would go with the Cluster", len(owned))
}

func (s secretsStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	owned, err := s.Cluster.OwnedSecrets(ctx, p.Namespace, p.Name, p.OldUID)
	for _, secret := range owned {
		err = errors.Join(err, s.Cluster.DisownSecret(ctx, p.Namespace, secret, p.OldUID))
	}
	return err
}

func (s secretsStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.Name)
	if err != nil || live == nil || live.UID != p.OldUID {
		return err
	}
	for _, secret := range p.Secrets {
		err = errors.Join(err, s.Cluster.OwnSecret(ctx, p.Namespace, secret, p.Name, p.OldUID))
	}
	return err
}

// suspendStep suspends the ScheduledBackups. Argo CD may undo that, so it is done once and not
// insisted on: a backup that runs in between goes to the old server and does no harm.
type suspendStep struct{ *Flip }

func (s suspendStep) Observe(_ context.Context, run *operation.Run) (operation.Observation, error) {
	_, suspended := run.Fact(factSchedules)
	return operation.IsDoneWhen(suspended, nil, "schedules run")
}

func (s suspendStep) Apply(ctx context.Context, run *operation.Run) error {
	return s.suspend(ctx, run, true)
}

func (s suspendStep) Undo(ctx context.Context, run *operation.Run) error {
	return s.suspend(ctx, run, false)
}

// Leave lets the schedules run again with a plan that is given up: a database that nobody backs up any
// more would go unnoticed.
func (s suspendStep) Leave(ctx context.Context, run *operation.Run) error { return s.Undo(ctx, run) }

// suspend touches only what ran when the plan was made.
func (f *Flip) suspend(ctx context.Context, run *operation.Run, suspended bool) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	for _, schedule := range p.Schedules {
		if schedule.Suspended {
			continue
		}
		err := f.Cluster.Suspend(ctx, p.Namespace, schedule, suspended)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return err
		}
	}
	if !suspended {
		return nil
	}
	return run.SetFact(ctx, factSchedules, "true")
}
