package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// backupStep makes a ReplicationSource of drctl's own that runs once, under the claim's own identity: the
// generated one is reverted when it is changed, and a new claim has none for two hours.
type backupStep struct{ *Restore }

func (s backupStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	there, err := s.Movers.Source(ctx, p.Namespace, sourceName(run.Plan.ID))
	switch {
	case err != nil:
		return operation.Observation{}, err
	case there == nil:
		return pending("it is not there yet")
	case there.PlanID != run.Plan.ID:
		return conflict("ReplicationSource %s/%s is not of this plan", p.Namespace, there.Name)
	}
	return done()
}

func (s backupStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if _, known := run.Fact(factBackupBefore); !known {
		newest, err := s.newest(ctx, p.Mover.Identity)
		if err != nil {
			return err
		}
		if err := run.SetFact(ctx, factBackupBefore, newest.StartTime.UTC().Format(time.RFC3339Nano)); err != nil {
			return err
		}
	}
	return s.Movers.CreateSource(ctx, p.source(run.Plan.ID))
}

func (s backupStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Movers.Remove(ctx, p.Namespace, sourceName(run.Plan.ID), run.Plan.ID)
}

// Leave removes it with a plan that is given up.
func (s backupStep) Leave(ctx context.Context, run *operation.Run) error { return s.Undo(ctx, run) }

// backedUpStep waits for the mover, whose word proves nothing.
type backedUpStep struct {
	waitOnly
	*Restore
}

func (s backedUpStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	now, err := s.Movers.Source(ctx, p.Namespace, sourceName(run.Plan.ID))
	if err != nil {
		return operation.Observation{}, err
	}
	if now == nil {
		return conflict("ReplicationSource %s/%s is gone: somebody deleted it", p.Namespace, sourceName(run.Plan.ID))
	}
	ended, observation, err := moverState(run, p.Namespace, "replicationsource", now)
	if !ended {
		return observation, err
	}
	lines, err := s.Movers.MoverLog(ctx, p.Namespace, now.Job)
	if err != nil {
		return operation.Observation{}, err
	}
	if s.Movers.ReadBackup(lines).Empty || s.Movers.ReadBackup(now.Logs).Empty {
		return operation.Observation{}, nothingBackedUp(run, p)
	}
	return done()
}

func nothingBackedUp(run *operation.Run, p *Params) error {
	return &recovery.Problem{
		What: run.Step.Title, Why: "the volume of claim " + p.String() + " is empty, and an empty volume makes no snapshot",
		Next: "see what is in it; drctl abort " + run.Plan.ID + " removes what drctl made", Err: errors.Join(operation.ErrNotVerified, ErrUnproven),
	}
}

// proveBackupStep finds the new, complete snapshot in the repository itself.
type proveBackupStep struct {
	waitOnly
	*Restore
}

func (s proveBackupStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	text, _ := run.Fact(factBackupBefore)
	before, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return operation.Observation{}, fmt.Errorf("read the start of the newest snapshot before: %w", err)
	}
	now, err := s.Movers.Source(ctx, p.Namespace, sourceName(run.Plan.ID))
	if err != nil {
		return operation.Observation{}, err
	}
	newest, err := s.newest(ctx, p.Mover.Identity)
	if err != nil {
		return operation.Observation{}, err
	}
	// By the mover's clock, which made both; and by its word where it names the snapshot.
	if newest.ID == "" || !newest.StartTime.After(before) {
		return pending("the repository has no new complete snapshot of %s", p.Mover.Identity)
	}
	if made := s.madeBy(now); made != "" && made != newest.ID {
		run.Report("the mover made snapshot %s, and %s is newer", shortID(made), shortID(newest.ID))
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, factBackup, newest.ID)
}

func (r *Restore) madeBy(now *recovery.MoverRun) string {
	if now == nil {
		return ""
	}
	return r.Movers.ReadBackup(now.Logs).SnapshotID
}

// newest is the newest complete snapshot of an identity, the zero value when it has none.
func (r *Restore) newest(ctx context.Context, identity recovery.KopiaSource) (recovery.Snapshot, error) {
	all, _, err := r.Repository.Snapshots(ctx)
	if err != nil {
		return recovery.Snapshot{}, err
	}
	var newest recovery.Snapshot
	for _, s := range all {
		if s.Source == identity && s.Complete() && s.StartTime.After(newest.StartTime) {
			newest = s
		}
	}
	return newest, nil
}
