package flip

import (
	"context"
	"errors"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// commitStep writes the new server into the checkout and commits it. It is not pushed yet: a live
// Cluster that received the new server's name would archive into it and spoil it.
type commitStep struct{ *Flip }

func (s commitStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	if _, known := run.Fact(factCommit); known {
		return operation.IsDone()
	}
	git, err := s.git()
	if err != nil {
		return operation.Observation{}, err
	}
	commit, err := git.Committed(ctx, run.Plan.ID)
	if err != nil || commit == "" {
		return operation.IsDoneWhen(false, err, "not committed")
	}
	if err := run.SetFact(ctx, factCommit, commit); err != nil {
		return operation.Observation{}, err
	}
	return operation.IsDone()
}

func (s commitStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	git, err := s.git()
	if err != nil {
		return err
	}
	commit, err := git.Commit(ctx, run.Plan.ID, p.Namespace, p.Name, p.WriteServer, p.ArchiveServer)
	if err != nil {
		return err
	}
	// Where the operator made the change by hand it is not the plan's commit, and has no trailer.
	return run.SetFact(ctx, factCommit, commit)
}

// Renew makes the commit again where it is missing: whoever took the plan over has a checkout of his own,
// and what was not pushed is on the other computer.
func (s commitStep) Renew(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if _, arrived := run.Fact(factRemoteCommit); err != nil || arrived {
		return err
	}
	git, err := s.git()
	if err != nil {
		return err
	}
	known, _ := run.Fact(factCommit)
	commit, err := git.Committed(ctx, run.Plan.ID)
	if err != nil {
		return err
	}
	if commit == "" {
		// The operator's own commit has no trailer, and the plan's may be on the remote already.
		if _, err := git.Pushed(ctx, known); !errors.Is(err, recovery.ErrNotFound) {
			return err
		}
		state, err := git.Check(ctx)
		if err != nil {
			return err
		}
		if commit, err = git.Commit(ctx, run.Plan.ID, p.Namespace, p.Name, p.WriteServer, p.ArchiveServer); err != nil {
			return err
		}
		if err := run.SetFact(ctx, factCheckout, state.Directory); err != nil {
			return err
		}
	}
	return run.SetFact(ctx, factCommit, commit)
}

// Undo takes the commit back, found by its trailer: a crash may have come before the fact, and the
// operator's own commit is not ours to take back. A tree with other changes is left alone.
func (s commitStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	git, err := s.git()
	if err != nil {
		return err
	}
	commit, err := git.Committed(ctx, run.Plan.ID)
	if err != nil {
		return err
	}
	if commit == "" {
		if _, err := git.Check(ctx); err != nil {
			run.Report("the plan has no commit, and the GitOps tree is left as it is: %v", err)
		}
		return nil
	}
	err = git.Undo(ctx, commit)
	if errors.Is(err, recovery.ErrUnsupported) {
		// Somebody took it back with a commit of his own: then the change could be made again.
		_, diff, previewErr := git.Preview(ctx, p.Namespace, p.Name, p.WriteServer, p.ArchiveServer)
		if previewErr == nil && diff != "" {
			return nil
		}
	}
	return err
}

// git is the checkout; a plan that has a step in Git cannot go on without.
func (f *Flip) git() (Git, error) {
	if f.Git == nil {
		return nil, &recovery.Problem{
			What: "this plan changes the GitOps tree", Why: "no tree is known",
			Next: "give --gitops DIR, the same checkout as before", Err: recovery.ErrUsage,
		}
	}
	return f.Git, nil
}
