package restore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// proveStep reads the mover's own lines. Nothing else proves a restore, and VolSync throws them away: when
// nobody heard them, because drctl was not running, the mover has to run once more.
type proveStep struct{ *Restore }

// Proves reports that the step looks first of all.
func (proveStep) Proves() bool { return true }

func (s proveStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	if !safeguard.Proof {
		return operation.IsDone()
	}
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	now, err := s.Movers.DestinationNow(ctx, p.Namespace, run.Plan.ID)
	if err != nil {
		return operation.Observation{}, err
	}
	if now == nil {
		return operation.IsConflict("ReplicationDestination %s/%s is gone: somebody deleted it", p.Namespace, run.Plan.ID)
	}
	if ended, observation, err := moverState(run, p.Namespace, destinationKind, now); !ended {
		return observation, err
	}
	log, heard, err := s.said(ctx, p, now)
	if err != nil {
		return operation.Observation{}, err
	}
	if _, listened := s.runs.Load(now.Trigger); !heard && !listened {
		return operation.IsPending("nobody heard what the mover said")
	}
	verdict := judge(p, log)
	if verdict.Result != Proven {
		// Who resumes wants it tried again, with the cause mended: the same lines would say the same for ever.
		if judged, _ := run.Fact(factDisproved); judged == now.Trigger {
			return operation.IsPending("%s: it runs once more", verdict.Observed)
		}
		if err := run.SetFact(ctx, factDisproved, now.Trigger); err != nil {
			return operation.Observation{}, err
		}
		return operation.Observation{}, verdict.problem(run, p)
	}
	if err := run.SetFact(ctx, factProof, verdict.Observed); err != nil {
		return operation.Observation{}, err
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, factProvenAt, s.stamp())
}

// said is what the mover said, in its Pod's log or as far as the status keeps it. It was heard when it decides
// something: who began to listen late, or was cut off, has half a log, which says nothing of the rest.
func (s proveStep) said(ctx context.Context, p *Params, now *recovery.MoverRun) (log recovery.RestoreLog, heard bool, err error) {
	lines, err := s.Movers.MoverLog(ctx, p.Namespace, now.Job)
	if err != nil {
		return log, false, err
	}
	if log = s.Movers.ReadRestore(lines); decides(p, log) {
		return log, true, nil
	}
	if kept := s.Movers.ReadRestore(now.Logs); lines == "" || decides(p, kept) {
		log = kept
	}
	return log, decides(p, log), nil
}

// decides reports whether these lines prove or disprove the restore.
func decides(p *Params, log recovery.RestoreLog) bool { return judge(p, log).Result != Unknown }

// Apply has the mover run once more. The volume that it restores into is made anew, or in place exactly
// overwritten: a second run gives the same.
func (s proveStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	now, err := s.Movers.DestinationNow(ctx, p.Namespace, run.Plan.ID)
	// One that is at work is listened to; a trigger that is changed meanwhile would be swallowed.
	for err == nil && now != nil && now.Completed != now.Trigger && now.Result != "Failed" && !now.Paused {
		if err := pause(ctx, s.between()); err != nil {
			return err
		}
		now, err = s.Movers.DestinationNow(ctx, p.Namespace, run.Plan.ID)
	}
	if err != nil || now == nil || now.Completed != now.Trigger {
		return err // Observe says what stands in the way
	}
	if judged, _ := run.Fact(factDisproved); judged != now.Trigger {
		if _, heard, err := s.said(ctx, p, now); err != nil || heard {
			return err
		}
	}
	trigger := nextTrigger(run.Plan.ID, now.Trigger)
	s.runs.Store(trigger, true)
	return s.Movers.Rerun(ctx, p.Namespace, run.Plan.ID, run.Plan.ID, trigger)
}

// nextTrigger counts the runs: ID, ID-2, ID-3.
func nextTrigger(planID, trigger string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(trigger, planID+"-"))
	if err != nil {
		n = 1
	}
	return fmt.Sprintf("%s-%d", planID, n+1)
}

// Undo has nothing to take back: what the mover made goes with its destination.
func (s proveStep) Undo(context.Context, *operation.Run) error { return nil }
