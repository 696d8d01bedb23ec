package restore

import (
	"context"
	"fmt"
	"slices"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// destinationStep makes drctl's own ReplicationDestination, with its own copy of the Secret: what Kyverno
// generated for the claim is reverted when it is changed, goes with the claim, and holds an old image.
type destinationStep struct{ *Restore }

func (s destinationStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	there, err := s.Movers.DestinationNow(ctx, p.Namespace, run.Plan.ID)
	switch {
	case err != nil:
		return operation.Observation{}, err
	case there == nil:
		return operation.IsPending("it is not there yet")
	case there.PlanID != run.Plan.ID:
		return operation.IsConflict("ReplicationDestination %s/%s is not of this plan", p.Namespace, there.Name)
	}
	return operation.IsDone()
}

func (s destinationStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if p.Mode == InPlace {
		if err := s.stillThere(ctx, p); err != nil {
			return err
		}
	}
	return s.Movers.CreateDestination(ctx, p.destination(run.Plan.ID))
}

// stillThere looks at the last moment whether the mover will find the snapshot: days may have gone by, and
// it empties the volume before it looks.
func (s destinationStep) stillThere(ctx context.Context, p *Params) error {
	all, _, err := s.Repository.Snapshots(ctx)
	if err != nil {
		return err
	}
	why := "it is not in the repository any more"
	for _, snapshot := range all {
		if snapshot.ID != p.Snapshot.ID || snapshot.Source != p.Identity {
			continue
		}
		asOf, previous, _ := moverArguments(all, snapshot)
		if asOf == p.RestoreAsOf && previous == p.Previous && snapshot.Complete() {
			return nil
		}
		why = "the mover would select another one now"
	}
	return &recovery.Problem{
		What: "write snapshot " + p.Snapshot.ID + " into claim " + p.target(), Why: why + ", and it empties the volume first",
		Next: "take this plan back, and choose another snapshot: drctl pvc snapshots " + p.target(), Err: operation.ErrConflict,
	}
}

// Undo removes it. In place it is the point of no return, and there is nothing to undo behind it.
func (s destinationStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if err := arrived(ctx, run, s.Happened); err != nil {
		return err
	}
	return s.Movers.Remove(ctx, p.Namespace, run.Plan.ID, run.Plan.ID)
}

// Leave removes it with a plan that is given up: a mover that is still at work would go on writing, so its
// Pod is waited for, before the fence falls. A claim that is not populated yet keeps its source.
func (s destinationStep) Leave(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if p.Mode != InPlace {
		live, err := s.Cluster.Claim(ctx, p.Namespace, p.claim())
		if err != nil {
			return err
		}
		if live != nil && live.Source == run.Plan.ID && live.Volume == "" {
			run.Report("ReplicationDestination %s/%s and its Secret stay: claim %s is still to be populated from it", p.Namespace, run.Plan.ID, p)
			return nil
		}
		return s.Undo(ctx, run)
	}
	if err := s.Undo(ctx, run); err != nil {
		return err
	}
	for {
		pods, err := s.Cluster.Pods(ctx, p.Namespace, p.Name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pods, func(pod recovery.MountingPod) bool { return pod.Job == moverJob(run.Plan.ID) }) {
			return nil
		}
		if err := pause(ctx, s.between()); err != nil {
			return fmt.Errorf("%s: %w", describePods(pods), err)
		}
	}
}

// Happened tells abort whether a mover may have been asked to write into the volume.
func (s destinationStep) Happened(ctx context.Context, run *operation.Run) (bool, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return false, err
	}
	return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
		there, err := s.Movers.DestinationNow(ctx, p.Namespace, run.Plan.ID)
		return there != nil && there.PlanID == run.Plan.ID, err
	})
}

// restoredStep waits until VolSync says that the mover is done. That it was successful proves nothing:
// a mover that found no snapshot says so, too.
type restoredStep struct {
	operation.Waits
	*Restore
}

func (s restoredStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	now, err := s.Movers.Destination(ctx, p.Namespace, run.Plan.ID)
	if err == nil && now == nil {
		now, err = s.Movers.DestinationNow(ctx, p.Namespace, run.Plan.ID)
	}
	if err != nil {
		return operation.Observation{}, err
	}
	if now == nil {
		return operation.IsConflict("ReplicationDestination %s/%s is gone: somebody deleted it", p.Namespace, run.Plan.ID)
	}
	if ended, observation, err := moverState(run, p.Namespace, destinationKind, now); !ended {
		return observation, err
	}
	// Complete without a result: no mover ran at all, and there never will be an image. The proof finds that
	// nobody said anything, and has it run once more.
	if p.Mode != InPlace && now.Image == "" && now.Result != "" {
		return operation.IsPending("the mover is done, its VolumeSnapshot is not ready")
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, factRestored, s.stamp())
}

// The kinds of movers' objects, as kubectl takes them.
const (
	destinationKind = "replicationdestination"
	sourceKind      = "replicationsource"
)

// moverState judges a mover that has not ended well; ended is true for one that did, as VolSync has it.
func moverState(run *operation.Run, namespace, kind string, now *recovery.MoverRun) (ended bool, o operation.Observation, err error) {
	look := fmt.Sprintf("kubectl -n %s describe %s %s", namespace, kind, now.Name)
	switch {
	case now.PlanID != run.Plan.ID:
		o, err = operation.IsConflict("%s %s/%s is not of this plan", kind, namespace, now.Name)
	case now.Result == "Failed" && now.Completed != now.Trigger:
		o, err = operation.IsStopped(run, "VolSync tries again by itself; mend the cause ("+look+")", "the mover failed: %s", lastLine(now.Logs, now.Condition))
	case now.Completed == now.Trigger && now.Paused && now.Result == "" && kind == destinationKind:
		o, err = operation.IsStopped(run, unpause(namespace, kind, now), "%s %s is paused: VolSync reports a run that never was", kind, now.Name)
	case now.Completed == now.Trigger && now.Result != "Failed":
		return true, o, nil
	case now.Completed == now.Trigger:
		o, err = operation.IsStopped(run, look, "the mover ended with %s: %s", now.Result, lastLine(now.Logs, now.Condition))
	case now.Paused:
		o, err = operation.IsStopped(run, unpause(namespace, kind, now), "%s %s is paused: it would never run", kind, now.Name)
	case now.StartedAt.IsZero() && now.Condition == "":
		o, err = operation.IsPending("VolSync has not taken %s %s up (is its controller running?)", kind, now.Name)
	default:
		o, err = operation.IsPending("the mover is at work%s", after(": ", lastLine(now.Condition)))
	}
	return false, o, err
}

func unpause(namespace, kind string, now *recovery.MoverRun) string {
	return "kubectl -n " + namespace + " patch " + kind + " " + now.Name + ` --type=merge -p '{"spec":{"paused":false}}'`
}
