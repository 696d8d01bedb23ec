package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// deleteStep deletes the old claim, and no other: its UID is the precondition. Once the API server has
// accepted that, the way back is the retained volume.
type deleteStep struct{ *Restore }

func (s deleteStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Claim(ctx, p.Namespace, p.Name)
	switch {
	case err != nil:
		return operation.Observation{}, err
	case live != nil && live.PlanID == run.Plan.ID:
		return operation.IsDone()
	case live == nil || (live.UID == p.OldUID && live.Deleting):
		// Whoever deleted it: from here on there is no way back, and the journal has to say so.
		return operation.IsDoneWhen(run.Started(run.Step.ID), nil, "somebody else deleted it")
	case live.UID != p.OldUID:
		return operation.IsConflict("claim %s is not the one that the plan was made for: its UID is %s, not %s; "+
			"drctl abort %s, look at it, and plan anew", p, live.UID, p.OldUID, run.Plan.ID)
	}
	return operation.IsPending("it is there")
}

func (s deleteStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if err := s.stillRetained(ctx, p); err != nil {
		return err
	}
	uid := p.OldUID
	if !safeguard.UIDPrecondition {
		uid = ""
	}
	if err := run.SetFact(ctx, factDeletedAt, s.stamp()); err != nil {
		return err
	}
	err = s.Cluster.DeleteClaim(ctx, p.Namespace, p.Name, uid)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil
	}
	return err
}

// stillRetained looks at the last moment: somebody may have set the volume back to Delete. Once the claim
// is gone without us there is nothing to keep, and the restored data are all there is: the plan goes on.
func (s deleteStep) stillRetained(ctx context.Context, p *Params) error {
	if p.OldVolume.Name == "" || !safeguard.Retain {
		return nil
	}
	live, err := s.Cluster.Claim(ctx, p.Namespace, p.Name)
	if err != nil || live == nil {
		return err
	}
	volume, err := s.Cluster.Volume(ctx, p.OldVolume.Name)
	if err != nil {
		return err
	}
	if volume != nil && volume.ReclaimPolicy == retain {
		return nil
	}
	return &recovery.Problem{
		What: "delete claim " + p.target(), Why: "its volume " + p.OldVolume.Name + " is not on Retain any more, and would go with it",
		Next: "look who changes it: kubectl get pv " + p.OldVolume.Name, Err: operation.ErrConflict,
	}
}

// Happened tells abort whether the DELETE was accepted.
func (s deleteStep) Happened(ctx context.Context, run *operation.Run) (bool, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return false, err
	}
	return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
		live, err := s.Cluster.Claim(ctx, p.Namespace, p.Name)
		return err == nil && (live == nil || live.UID != p.OldUID || live.Deleting), err
	})
}

// goneStep waits until the old claim is gone, and with it what Kyverno generated for it: as long as that
// goes, it may be taken for the new claim's.
type goneStep struct {
	operation.Waits
	*Restore
}

func (s goneStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.LookClaim(ctx, p.Namespace, p.Name)
	if err == nil && live == nil {
		live, err = s.Cluster.Claim(ctx, p.Namespace, p.Name)
	}
	switch {
	case err != nil:
		return operation.Observation{}, err
	case live != nil && live.PlanID == run.Plan.ID:
		return operation.IsDone()
	case live != nil && live.UID != p.OldUID:
		return stranger(run, p, live)
	case live != nil && safeguard.WaitForVolumes:
		return s.held(ctx, p, live)
	}
	if !safeguard.WaitForVolumes {
		return operation.IsDone()
	}
	generated, err := s.Cluster.Generated(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	var left []string
	for _, object := range generated {
		if object.ClaimUID == p.OldUID {
			left = append(left, object.Kind+" "+object.Name)
		}
	}
	if len(left) == 0 {
		return operation.IsDone()
	}
	return s.orphans(ctx, run, strings.Join(left, ", "))
}

// orphanTime is how long Kyverno gets; it needs a fraction of a second.
const orphanTime = 10 * time.Second

// orphans: what Kyverno generated for a claim that was changed while it was going is removed by nobody, and
// handed to the next claim of that name. The new claim needs none of it.
func (s goneStep) orphans(ctx context.Context, run *operation.Run, names string) (operation.Observation, error) {
	since, known := run.Fact(factGone)
	if !known {
		return operation.Observation{State: operation.Pending, Why: "waiting for Kyverno to remove " + names}, run.SetFact(ctx, factGone, s.stamp())
	}
	gone, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return operation.Observation{}, fmt.Errorf("read when the claim was gone: %w", err)
	}
	if s.Now().Sub(gone) < orphanTime {
		return operation.IsPending("waiting for Kyverno to remove %s", names)
	}
	run.Report("Kyverno does not remove %s of the old claim, and will hand it to the new one", names)
	return operation.IsDone()
}

// held says what keeps a claim that is being deleted.
func (s goneStep) held(ctx context.Context, p *Params, live *recovery.LiveClaim) (operation.Observation, error) {
	pods, err := s.Cluster.LookPods(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	if len(pods) > 0 {
		return operation.IsPending("claim %s is held; %s", p, describePods(pods))
	}
	return operation.IsPending("claim %s is being deleted%s", p, after(", held by ", strings.Join(live.Holding, ", ")))
}

// stranger is a claim of the name that somebody else created meanwhile: Argo CD, where nothing held it.
func stranger(run *operation.Run, p *Params, live *recovery.LiveClaim) (operation.Observation, error) {
	return operation.IsStopped(run, "look at it, and delete it if it is empty (its volume is "+orNone(live.Volume)+")",
		"a claim %s stands there that this plan did not create (UID %s)", p, live.UID)
}

func orNone(text string) string {
	if text == "" {
		return "not bound yet"
	}
	return text
}

// createStep posts the claim. Never apply: an existing one would be merged into.
type createStep struct{ *Restore }

func (s createStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Claim(ctx, p.Namespace, p.claim())
	switch {
	case err != nil:
		return operation.Observation{}, err
	case live == nil:
		return operation.IsPending("not created")
	case live.PlanID != run.Plan.ID:
		return stranger(run, p, live)
	}
	if known, ok := run.Fact(FactUID); ok && known != live.UID {
		return operation.IsConflict("claim %s was created anew: its UID is %s, not %s", p, live.UID, known)
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, FactUID, live.UID)
}

func (s createStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	_, err = s.Cluster.CreateClaim(ctx, p.Manifest)
	if errors.Is(err, recovery.ErrExists) {
		return nil
	}
	return err
}

// Happened tells abort whether the claim was created, where nothing had to be deleted for it.
func (s createStep) Happened(ctx context.Context, run *operation.Run) (bool, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return false, err
	}
	if _, created := run.Fact(FactUID); created {
		return true, nil
	}
	return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
		live, err := s.Cluster.Claim(ctx, p.Namespace, p.claim())
		return live != nil && live.PlanID == run.Plan.ID, err
	})
}

// Undo takes a copy away again, also one that was given up to its owner already, unless somebody uses it.
// What replaces a claim is past the point of no return.
func (s createStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil || p.Mode != Beside {
		return err
	}
	if err := arrived(ctx, run, s.Happened); err != nil {
		return err
	}
	live, err := s.Cluster.Claim(ctx, p.Namespace, p.claim())
	known, _ := run.Fact(FactUID)
	if err != nil || live == nil || (live.PlanID != run.Plan.ID && live.UID != known) {
		return err
	}
	pods, err := s.Cluster.Pods(ctx, p.Namespace, p.claim())
	if err != nil {
		return err
	}
	if users := p.strangers(run.Plan.ID, pods); len(users) > 0 {
		run.Report("claim %s stays: Pod %s mounts it", p, users[0].Name)
		return nil
	}
	if err := s.Cluster.DeleteClaim(ctx, p.Namespace, p.claim(), live.UID); err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return err
	}
	return s.untilGone(ctx, p, live.UID)
}

// untilGone waits: what was taken back is not there any more when that is said.
func (s createStep) untilGone(ctx context.Context, p *Params, uid string) error {
	for {
		live, err := s.Cluster.Claim(ctx, p.Namespace, p.claim())
		if err != nil || live == nil || live.UID != uid {
			return err
		}
		if err := pause(ctx, s.between()); err != nil {
			return fmt.Errorf("claim %s is still there, held by %s: %w", p, strings.Join(live.Holding, ", "), err)
		}
	}
}
