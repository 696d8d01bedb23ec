package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		return operation.IsPending("it is not there yet")
	case there.PlanID != run.Plan.ID:
		return operation.IsConflict("ReplicationSource %s/%s is not of this plan", p.Namespace, there.Name)
	}
	return operation.IsDone()
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
	err = arrived(ctx, run, func(ctx context.Context, run *operation.Run) (bool, error) {
		return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
			there, err := s.Movers.Source(ctx, p.Namespace, sourceName(run.Plan.ID))
			return there != nil, err
		})
	})
	if err != nil {
		return err
	}
	return s.Movers.Remove(ctx, p.Namespace, sourceName(run.Plan.ID), run.Plan.ID)
}

// Leave removes it with a plan that is given up.
func (s backupStep) Leave(ctx context.Context, run *operation.Run) error { return s.Undo(ctx, run) }

// backedUpStep waits for the mover, whose word proves nothing.
type backedUpStep struct {
	operation.Waits
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
		return operation.IsConflict("ReplicationSource %s/%s is gone: somebody deleted it", p.Namespace, sourceName(run.Plan.ID))
	}
	ended, observation, err := moverState(run, p.Namespace, sourceKind, now)
	if !ended {
		return observation, err
	}
	if now.Result == "" {
		why := "VolSync reports a run that never was"
		if now.Paused {
			why += ": ReplicationSource " + now.Name + " is paused"
		}
		return operation.Observation{}, nothingBackedUp(run, why, "see who does that, then drctl pvc backup "+p.String())
	}
	lines, err := s.Movers.MoverLog(ctx, p.Namespace, now.Job)
	if err != nil {
		return operation.Observation{}, err
	}
	if s.Movers.ReadBackup(lines).Empty || s.Movers.ReadBackup(now.Logs).Empty {
		return operation.Observation{}, nothingBackedUp(run, "the volume of claim "+p.String()+" is empty, and an empty volume makes no snapshot", "see what is in it")
	}
	return operation.IsDone()
}

func nothingBackedUp(run *operation.Run, why, next string) error {
	if run.Plan.Operation != BackupOperation {
		next += "; drctl abort " + run.Plan.ID + " --give-up removes what drctl made" // the restore before it stays
	}
	return &recovery.Problem{
		What: run.Step.Title, Why: why, Next: next, Err: errors.Join(operation.ErrNotVerified, ErrUnproven),
	}
}

// proveBackupStep finds the new, complete snapshot in the repository itself.
type proveBackupStep struct {
	operation.Waits
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
	all, _, err := s.Repository.Snapshots(ctx)
	if err != nil {
		return operation.Observation{}, err
	}
	// By the mover's word where it names the snapshot: another source of the identity may make one in the
	// same minutes. Else by the mover's clock, which made both.
	made, err := s.madeBy(ctx, p, now)
	if err != nil {
		return operation.Observation{}, err
	}
	for _, snapshot := range all {
		if snapshot.Source == p.Mover.Identity && snapshot.Complete() && (snapshot.ID == made || (made == "" && snapshot.StartTime.After(before))) {
			if err := s.suspect(ctx, run, p, all, snapshot.ID); err != nil {
				return operation.Observation{}, err
			}
			return operation.Observation{State: operation.Done}, run.SetFact(ctx, FactBackup, snapshot.ID)
		}
	}
	return operation.IsPending("the repository has no new complete snapshot of %s%s", p.Mover.Identity, after(", nor the mover's ", made))
}

// suspect names snapshots of the claim that were begun while the volume was being written: a schedule does not
// know of that, and what it backed up is a half of each. They are complete for Kopia.
func (s proveBackupStep) suspect(ctx context.Context, run *operation.Run, p *Params, all []recovery.Snapshot, ours string) error {
	stopped, known := run.Fact(factStoppedAt)
	if p.Mode != InPlace || !known {
		return nil // nothing was written into a volume that is backed up
	}
	proven, _ := run.Fact(factProvenAt)
	from, err := time.Parse(time.RFC3339, stopped)
	if err != nil {
		return fmt.Errorf("read when the Pods were stopped: %w", err)
	}
	until, err := time.Parse(time.RFC3339, proven)
	if err != nil {
		return fmt.Errorf("read when the data were proven: %w", err)
	}
	var ids []string
	for _, snapshot := range all {
		if snapshot.Source == p.Mover.Identity && snapshot.ID != ours && snapshot.StartTime.After(from) && snapshot.StartTime.Before(until.Add(time.Second)) {
			ids = append(ids, snapshot.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return run.SetFact(ctx, factSuspect, strings.Join(ids, ", "))
}

// madeBy is the snapshot that the mover says it made, empty where it does not say.
func (r *Restore) madeBy(ctx context.Context, p *Params, now *recovery.MoverRun) (string, error) {
	if now == nil {
		return "", nil
	}
	if id := r.Movers.ReadBackup(now.Logs).SnapshotID; id != "" {
		return id, nil
	}
	lines, err := r.Movers.MoverLog(ctx, p.Namespace, now.Job)
	return r.Movers.ReadBackup(lines).SnapshotID, err
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
