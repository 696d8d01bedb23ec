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

// stopStep deletes the Pods that mount the claim, those that are done included: they hold it, too. Behind
// the fence none comes back.
type stopStep struct{ *Restore }

func (s stopStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	// Whoever waits looks; whoever is about to take the volume away asks.
	pods, err := s.Cluster.LookPods(ctx, p.Namespace, p.Name)
	if err == nil && len(p.strangers(run.Plan.ID, pods)) == 0 {
		pods, err = s.Cluster.Pods(ctx, p.Namespace, p.Name)
	}
	if err != nil {
		return operation.Observation{}, err
	}
	left := p.strangers(run.Plan.ID, pods)
	if len(left) > 0 || p.Mode != InPlace {
		return operation.IsDoneWhen(len(left) == 0, nil, "%s", describePods(left))
	}
	// A mover reads a copy of the volume, and would back up half of each.
	running, err := s.Movers.Running(ctx, p.Namespace, p.Name)
	return operation.IsDoneWhen(len(running) == 0, err, "ReplicationSource %s is backing it up right now", strings.Join(running, ", "))
}

func (s stopStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	pods, err := s.Cluster.Pods(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	if _, known := run.Fact(factStoppedAt); !known {
		if err := run.SetFact(ctx, factStoppedAt, s.stamp()); err != nil {
			return err
		}
	}
	for _, pod := range p.strangers(run.Plan.ID, pods) {
		if pod.Controller == nil && !pod.Finished() && !pod.Mover {
			return &recovery.Problem{
				What: "stop Pod " + p.Namespace + "/" + pod.Name, Why: "no controller made it, so nobody would bring it back",
				Next: "stop it yourself", Err: operation.ErrConflict,
			}
		}
		if pod.Deleting {
			continue
		}
		if err := s.Cluster.DeletePod(ctx, p.Namespace, pod); err != nil {
			return err
		}
	}
	return nil
}

// Renew stops Pods that came back while nobody was at it: a fence that expired let them in, and the claim
// would be deleted, or written into, while they use it.
func (s stopStep) Renew(ctx context.Context, run *operation.Run) error {
	if run.Started(stepCreate) || run.Started(stepLift) {
		return nil
	}
	if err := s.Apply(ctx, run); err != nil {
		return err
	}
	for {
		seen, err := s.Observe(ctx, run)
		if err != nil || seen.State == operation.Done {
			return err
		}
		if err := pause(ctx, s.between()); err != nil {
			return fmt.Errorf("%s: %w", seen.Why, err)
		}
	}
}

// Undo leaves it to the fence's undo, which comes behind it: before, no Pod can come back.
func (s stopStep) Undo(context.Context, *operation.Run) error { return nil }

// strangers are the Pods that are not the plan's own.
func (p *Params) strangers(planID string, pods []recovery.MountingPod) []recovery.MountingPod {
	var all []recovery.MountingPod
	for _, pod := range pods {
		if pod.PlanID == planID || (p.Mode == InPlace && pod.Job == moverJob(planID)) {
			continue
		}
		all = append(all, pod)
	}
	return all
}

func describePods(pods []recovery.MountingPod) string {
	var parts []string
	for _, pod := range pods {
		state := strings.ToLower(pod.Phase)
		switch {
		case pod.NodeLost:
			state = "on node " + pod.Node + ", which does not answer: when that machine is off for certain, kubectl delete pod --force"
		case pod.Deleting:
			state = "ending"
		}
		parts = append(parts, fmt.Sprintf("Pod %s (%s)", pod.Name, state))
	}
	return "waiting for " + strings.Join(parts, ", ") + " to go"
}

// workloadsStep has the controllers try at once, whose pauses have grown behind the fence, and waits until
// as many Pods are ready as were before.
type workloadsStep struct{ *Restore }

func (s workloadsStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	pods, err := s.Cluster.LookPods(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	missing := missingPods(p.Pods, pods)
	// A rollout in between has other controllers: as many Pods at work are as good.
	if len(missing) > 0 && readyPods(pods) < readyPods(p.Pods) {
		return operation.IsPending("waiting for %s", strings.Join(missing, ", "))
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, factReadyAt, s.stamp())
}

func (s workloadsStep) Apply(ctx context.Context, run *operation.Run) error { return s.wake(ctx, run) }

// rounds is how often a controller is touched: API servers go on refusing for about a second once the fence
// is down, and a controller that is refused once more waits longer still.
const rounds = 4

func (r *Restore) wake(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	for range rounds {
		if err := pause(ctx, r.between()); err != nil {
			return err
		}
		pods, err := r.Cluster.Pods(ctx, p.Namespace, p.Name)
		if err != nil {
			return err
		}
		absent := absentControllers(p.Pods, pods)
		if len(absent) == 0 {
			return nil
		}
		for _, controller := range absent {
			err := r.Cluster.Touch(ctx, p.Namespace, controller, run.Plan.ID)
			if errors.Is(err, recovery.ErrNotFound) || errors.Is(err, recovery.ErrUnsupported) || errors.Is(err, recovery.ErrDenied) {
				// It tries again by itself, or is gone: whether its Pods come back is waited for anyway.
				run.Report("%s %s is not touched: %v", controller.Kind, controller.Name, err)
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// between is the pause between two looks at Pods, or touches of their controllers.
func (r *Restore) between() time.Duration {
	if r.touchEvery == 0 {
		return 2 * time.Second
	}
	return r.touchEvery
}

// absentControllers are those that had Pods at work and have fewer now.
func absentControllers(before, now []recovery.MountingPod) []recovery.Controller {
	var absent []recovery.Controller
	for _, wanted := range working(before) {
		if count(now, wanted.controller, func(p recovery.MountingPod) bool { return !p.Deleting }) < wanted.pods {
			absent = append(absent, wanted.controller)
		}
	}
	return absent
}

// missingPods says of which controllers fewer Pods are ready than were before.
func missingPods(before, now []recovery.MountingPod) []string {
	var missing []string
	for _, wanted := range working(before) {
		ready := count(now, wanted.controller, func(p recovery.MountingPod) bool { return p.Ready && !p.Deleting })
		// A Job's Pod that ended well was at work in the meantime.
		ready += count(now, wanted.controller, func(p recovery.MountingPod) bool { return p.Phase == "Succeeded" && p.Controller.Kind == "Job" })
		if ready < wanted.ready {
			missing = append(missing, fmt.Sprintf("%s %s (%d of %d Pods ready)", wanted.controller.Kind, wanted.controller.Name, ready, wanted.ready))
		}
	}
	return missing
}

// readyPods counts the Pods of applications that are ready.
func readyPods(pods []recovery.MountingPod) int {
	n := 0
	for _, pod := range pods {
		if pod.Ready && !pod.Deleting && !pod.Mover && pod.Controller != nil {
			n++
		}
	}
	return n
}

// workload is a controller with the Pods that it had.
type workload struct {
	controller  recovery.Controller
	pods, ready int
}

// working are the controllers of Pods that were at work, in the order in which they were seen.
func working(pods []recovery.MountingPod) []workload {
	var all []workload
	at := map[string]int{}
	for _, pod := range pods {
		if pod.Controller == nil || pod.Finished() || pod.Mover {
			continue
		}
		i, known := at[pod.Controller.UID]
		if !known {
			i = len(all)
			at[pod.Controller.UID] = i
			all = append(all, workload{controller: *pod.Controller})
		}
		all[i].pods++
		if pod.Ready {
			all[i].ready++
		}
	}
	return all
}

func count(pods []recovery.MountingPod, of recovery.Controller, which func(recovery.MountingPod) bool) int {
	n := 0
	for _, pod := range pods {
		if pod.Controller != nil && pod.Controller.UID == of.UID && which(pod) {
			n++
		}
	}
	return n
}
