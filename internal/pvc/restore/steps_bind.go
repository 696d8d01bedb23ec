package restore

import (
	"context"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// consumerStep starts a Pod that mounts the claim, where the class binds only then: the application's own
// Pods are still held back, and letting them in first would let them at a volume that is not proven bound.
type consumerStep struct{ *Restore }

func (s consumerStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	claim, err := s.Cluster.LookClaim(ctx, p.Namespace, p.claim())
	if err != nil {
		return operation.Observation{}, err
	}
	if claim != nil && claim.Phase == bound {
		return operation.IsDone()
	}
	pods, err := s.Cluster.Pods(ctx, p.Namespace, p.claim())
	if err != nil {
		return operation.Observation{}, err
	}
	for _, pod := range pods {
		if pod.Name == run.Plan.ID && pod.PlanID == run.Plan.ID {
			return operation.IsDone()
		}
	}
	return operation.IsPending("it is not there yet")
}

func (s consumerStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Cluster.CreateConsumer(ctx, p.Namespace, run.Plan.ID, p.claim(), run.Plan.ID)
}

func (s consumerStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Cluster.RemoveConsumer(ctx, p.Namespace, run.Plan.ID, run.Plan.ID)
}

// Leave removes the Pod with a plan that is given up.
func (s consumerStep) Leave(ctx context.Context, run *operation.Run) error { return s.Undo(ctx, run) }

// boundStep waits until the new claim is bound to a volume of its own.
type boundStep struct {
	operation.Waits
	*Restore
}

func (s boundStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	claim, err := s.Cluster.LookClaim(ctx, p.Namespace, p.claim())
	if err == nil && (claim == nil || claim.Phase == bound) {
		claim, err = s.Cluster.Claim(ctx, p.Namespace, p.claim())
	}
	known, _ := run.Fact(FactUID)
	switch {
	case err != nil:
		return operation.Observation{}, err
	case claim == nil:
		return operation.IsStopped(run, again(run, p), "claim %s is gone: somebody deleted it", p)
	case claim.UID != known:
		return operation.IsStopped(run, again(run, p), "claim %s was created anew: its UID is %s, not %s", p, claim.UID, known)
	case claim.Deleting:
		return operation.IsStopped(run, again(run, p), "claim %s is being deleted: somebody deleted it", p)
	case claim.Source != run.Plan.ID:
		return operation.IsConflict("claim %s is populated from %s, and not from the restored volume", p, orNone(claim.Source))
	case claim.Phase != bound || claim.Volume == "":
		return s.unbound(ctx, p)
	case claim.Volume == p.OldVolume.Name:
		return operation.IsConflict("claim %s is bound to its old volume %s again", p, claim.Volume)
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, factVolume, claim.Volume)
}

// again is the way on where a plan can't be gone on with.
func again(run *operation.Run, p *Params) string {
	giveUp := " --give-up"
	if p.Mode == Beside {
		giveUp = ""
	}
	return "end this plan (drctl abort " + run.Plan.ID + giveUp + ") and restore " + p.target() + " again"
}

// unbound says why a claim is Pending, in the words of whoever is to populate it.
func (s boundStep) unbound(ctx context.Context, p *Params) (operation.Observation, error) {
	event, err := s.Cluster.Events(ctx, p.Namespace, "PersistentVolumeClaim", p.claim())
	if err != nil {
		return operation.Observation{}, err
	}
	return operation.IsPending("it is Pending%s", after(": ", event))
}

// noConsumerStep removes the Pod that had the volume bound: it would keep it on its node.
type noConsumerStep struct{ *Restore }

func (s noConsumerStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	pods, err := s.Cluster.Pods(ctx, p.Namespace, p.claim())
	if err != nil {
		return operation.Observation{}, err
	}
	var left []recovery.MountingPod
	for _, pod := range pods {
		if pod.PlanID == run.Plan.ID {
			left = append(left, pod)
		}
	}
	return operation.IsDoneWhen(len(left) == 0, nil, "%s", describePods(left))
}

func (s noConsumerStep) Apply(ctx context.Context, run *operation.Run) error {
	return consumerStep(s).Undo(ctx, run)
}
