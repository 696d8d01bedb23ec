package restore

import (
	"context"
	"errors"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

const (
	retain = "Retain"
	bound  = "Bound"
)

// retainStep sets the old volume to Retain: it is the way back.
type retainStep struct{ *Restore }

func (s retainStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	if !safeguard.Retain {
		return operation.IsDone()
	}
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	volume, err := s.Cluster.Volume(ctx, p.OldVolume.Name)
	switch {
	case err != nil:
		return operation.Observation{}, err
	case volume == nil:
		return operation.IsConflict("volume %s is gone", p.OldVolume.Name)
	case volume.ClaimUID != p.OldUID:
		return operation.IsConflict("volume %s does not belong to claim %s any more", volume.Name, p.target())
	}
	return operation.IsDoneWhen(volume.ReclaimPolicy == retain, nil, "its reclaim policy is %s", volume.ReclaimPolicy)
}

func (s retainStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if err := run.SetFact(ctx, factRetain, p.OldVolume.ReclaimPolicy); err != nil {
		return err
	}
	return s.Cluster.SetReclaimPolicy(ctx, p.OldVolume.Name, p.OldUID, retain)
}

// Undo gives the volume its policy back, only while it is Bound to its claim and the claim stays: a
// Released volume that is patched to Delete is gone within seconds.
func (s retainStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	was, changed := run.Fact(factRetain)
	if !changed || was == "" {
		return nil
	}
	claim, err := s.Cluster.Claim(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	if claim == nil || claim.UID != p.OldUID || claim.Deleting {
		run.Report("volume %s stays on Retain: its claim is going, or is another one", p.OldVolume.Name)
		return nil
	}
	err = s.Cluster.SetReclaimPolicy(ctx, p.OldVolume.Name, p.OldUID, was)
	if errors.Is(err, recovery.ErrConflict) || errors.Is(err, recovery.ErrNotFound) {
		run.Report("volume %s stays on Retain: it is no longer bound to the claim it had", p.OldVolume.Name)
		return nil
	}
	return err
}

// safetyStep takes a VolumeSnapshot of the volume before it is written into: the way back in place.
type safetyStep struct{ *Restore }

func (s safetyStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	snapshot, err := s.Cluster.VolumeSnapshot(ctx, p.Namespace, safetyName(run.Plan.ID))
	switch {
	case err != nil:
		return operation.Observation{}, err
	case snapshot == nil:
		return operation.IsPending("it is not there yet")
	case snapshot.PlanID != run.Plan.ID:
		return operation.IsConflict("VolumeSnapshot %s/%s is not of this plan", p.Namespace, snapshot.Name)
	case !snapshot.Ready && snapshot.Error != "":
		return operation.IsPending("the snapshotter says: %s", snapshot.Error)
	}
	return operation.IsDoneWhen(snapshot.Ready, nil, "it is not ready to use")
}

func (s safetyStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Cluster.SnapshotVolume(ctx, p.Namespace, p.Name, safetyName(run.Plan.ID), p.SnapshotClass, run.Plan.ID)
}

func (s safetyStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	err = arrived(ctx, run, func(ctx context.Context, run *operation.Run) (bool, error) {
		return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
			there, err := s.Cluster.VolumeSnapshot(ctx, p.Namespace, safetyName(run.Plan.ID))
			return there != nil, err
		})
	})
	if err != nil {
		return err
	}
	return s.Cluster.RemoveVolumeSnapshot(ctx, p.Namespace, safetyName(run.Plan.ID), run.Plan.ID)
}
