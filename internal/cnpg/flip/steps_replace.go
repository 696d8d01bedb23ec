package flip

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// deleteStep deletes the old Cluster, and no other: its UID is the precondition. Once the API server
// has accepted that, there is no way back but through the retained volumes.
type deleteStep struct{ *Flip }

func (s deleteStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.Name)
	switch {
	case err != nil:
		return operation.Observation{}, err
	case live != nil && live.PlanID == run.Plan.ID:
		return operation.IsDone()
	case live == nil || (live.UID == p.OldUID && live.Deleting):
		// Whoever deleted it: from here on there is no way back, and the journal has to say so.
		return operation.IsDoneWhen(run.Started(run.Step.ID), nil, "somebody else deleted it")
	case live.UID != p.OldUID:
		return operation.IsConflict("Cluster %s is not the one that the plan was made for: its UID is %s, not %s; "+
			"drctl abort %s, look at it, and plan anew", p, live.UID, p.OldUID, run.Plan.ID)
	}
	return operation.IsPending("it is there")
}

func (s deleteStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	uid := p.OldUID
	if !safeguard.UIDPrecondition {
		uid = ""
	}
	if err := run.SetFact(ctx, factDeletedAt, s.Now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	err = s.Cluster.Delete(ctx, p.Namespace, p.Name, uid)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil
	}
	return err
}

// Happened tells abort whether the DELETE was accepted.
func (s deleteStep) Happened(ctx context.Context, run *operation.Run) (bool, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return false, err
	}
	return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
		live, err := s.Cluster.Find(ctx, p.Namespace, p.Name)
		return err == nil && (live == nil || live.UID != p.OldUID || live.Deleting), err
	})
}

// goneStep waits, kind by kind, until nothing of the old Cluster is left: the operator matches its
// children by the owner's name, so a claim that is left would be adopted, and nothing recovered.
type goneStep struct {
	operation.Waits
	*Flip
}

func (s goneStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	if live != nil && live.PlanID == run.Plan.ID {
		return operation.IsDone()
	}
	if live != nil && live.UID != p.OldUID {
		return stranger(run, p, live)
	}
	if live != nil {
		return operation.IsPending("Cluster %s is being deleted", p)
	}
	if !safeguard.WaitForVolumes {
		return operation.IsDone()
	}
	leftovers, err := s.Cluster.Leftovers(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	return operation.IsDoneWhen(len(leftovers) == 0, nil, "%s", describeLeftovers(leftovers))
}

// stranger is a Cluster of the name that somebody else created meanwhile: Argo CD, where nothing held it.
func stranger(run *operation.Run, p *Params, live *recovery.LiveCluster) (operation.Observation, error) {
	return operation.IsStopped(run, "look at it, and delete it if it is empty (its volumes are not those of the plan)",
		"a Cluster %s stands there that this plan did not create (UID %s, bootstrap %s)", p, live.UID, live.Bootstrap)
}

func describeLeftovers(leftovers []recovery.Leftover) string {
	var parts []string
	for _, left := range leftovers {
		text := left.Kind + " " + left.Name
		if left.Why != "" {
			text += " (" + left.Why + ")"
		}
		parts = append(parts, text)
	}
	return "waiting for " + strings.Join(parts, ", ") + " to go"
}

// createStep posts the Cluster that recovers. Never apply: Argo CD's fields would be merged into it.
type createStep struct{ *Flip }

func (s createStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.cluster())
	switch {
	case err != nil:
		return operation.Observation{}, err
	case live == nil:
		return operation.IsPending("not created")
	case live.PlanID != run.Plan.ID:
		return stranger(run, p, live)
	}
	if known, ok := run.Fact(FactUID); ok && known != live.UID {
		return operation.IsConflict("Cluster %s was created anew: its UID is %s, not %s", p, live.UID, known)
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, FactUID, live.UID)
}

func (s createStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	// A claim may have come back since the wait ended; adoption is decided at creation.
	if leftovers, err := s.Cluster.Leftovers(ctx, p.Namespace, p.cluster()); safeguard.WaitForVolumes && (err != nil || len(leftovers) > 0) {
		return errors.Join(err, leftoverProblem(p, leftovers))
	}
	_, err = s.Cluster.Create(ctx, p.Manifest)
	if errors.Is(err, recovery.ErrExists) {
		return nil
	}
	return err
}

// Happened tells abort whether the Cluster was created, where nothing had to be deleted for it.
func (s createStep) Happened(ctx context.Context, run *operation.Run) (bool, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return false, err
	}
	if _, created := run.Fact(FactUID); created {
		return true, nil
	}
	return operation.Arrives(ctx, s.inFlight, func() (bool, error) {
		live, err := s.Cluster.Find(ctx, p.Namespace, p.cluster())
		return live != nil && live.PlanID == run.Plan.ID, err
	})
}

// Undo takes a copy away again. What replaces a database is past the point of no return.
func (s createStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.cluster())
	if err != nil || live == nil || live.PlanID != run.Plan.ID {
		return err
	}
	return s.Cluster.Delete(ctx, p.Namespace, p.cluster(), live.UID)
}

func leftoverProblem(p *Params, leftovers []recovery.Leftover) error {
	if len(leftovers) == 0 {
		return nil
	}
	return &recovery.Problem{
		What: "objects of Cluster " + p.String() + " are left", Why: describeLeftovers(leftovers) + "; the operator would adopt them and recover nothing",
		Next: "see what holds them: kubectl -n " + p.Namespace + " get pods,jobs,pvc,services -l cnpg.io/cluster=" + p.cluster(), Err: operation.ErrConflict,
	}
}
