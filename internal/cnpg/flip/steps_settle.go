package flip

import (
	"context"

	"github.com/drctl/drctl/internal/operation"
)

// pushStep pushes the commit: behind the deletion, since Argo CD would give the new server to the old
// Cluster, and ahead of the hand-back.
type pushStep struct{ *Flip }

func (s pushStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	git, err := s.git()
	if err != nil {
		return operation.Observation{}, err
	}
	commit, _ := run.Fact(factCommit)
	pushed, err := git.Pushed(ctx, commit)
	return operation.IsDoneWhen(pushed, err, "the remote does not have commit %s", commit)
}

func (s pushStep) Apply(ctx context.Context, run *operation.Run) error {
	git, err := s.git()
	if err != nil {
		return err
	}
	commit, _ := run.Fact(factCommit)
	return git.Push(ctx, commit)
}

// remoteStep waits for nobody: either the remote names the new server, or the plan stops here and says
// what to push. As long as the live object has bootstrap.recovery, CloudNativePG itself refuses what
// Argo CD would apply from an older commit.
type remoteStep struct {
	operation.Waits
	*Flip
}

func (s remoteStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	git, err := s.git()
	if err != nil {
		return operation.Observation{}, err
	}
	commit, manifest, err := git.Remote(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	checkout, moved := run.Fact(factCheckout)
	if !moved {
		checkout = p.Git.Directory
	}
	push := "cd " + checkout + " && git push " + p.Git.Remote + " HEAD:" + p.Git.Branch
	if manifest == nil {
		return operation.IsStopped(run, "put its manifest back, and "+push, "the remote builds no Cluster %s/%s", p.Namespace, p.Name)
	}
	described, err := s.Render.Describe(manifest)
	switch {
	case err != nil:
		return operation.Observation{}, err
	case described.Bootstrap == "recovery":
		return operation.IsStopped(run, "put bootstrap.initdb there, and "+push, "the remote's manifest has bootstrap.recovery: whenever the Cluster is created anew it would be rolled back")
	case described.WriteServer != p.ArchiveServer:
		return operation.IsStopped(run, push, "the remote names server %s and not %s, so Argo CD must not have the Cluster back yet", described.WriteServer, p.ArchiveServer)
	}
	return operation.Observation{State: operation.Done}, run.SetFact(ctx, factRemoteCommit, commit)
}

// settled is the manifest that the live Cluster is handed back to: what the remote builds now, or what
// the plan made where there is no Git.
func (f *Flip) settled(ctx context.Context, p *Params) ([]byte, error) {
	if p.Git == nil {
		return p.Settled, nil
	}
	git, err := f.git()
	if err != nil {
		return nil, err
	}
	_, manifest, err := git.Remote(ctx, p.Namespace, p.Name)
	if err != nil || manifest != nil {
		return manifest, err
	}
	return p.Settled, nil
}

// terminateStep ends an operation of Argo CD that would go on with an older commit.
type terminateStep struct{ *Flip }

func (s terminateStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	commit, _ := run.Fact(factRemoteCommit)
	busy, err := s.Argo.Busy(ctx, *p.Application, commit)
	return operation.IsDoneWhen(!busy, err, "Argo CD works on another commit")
}

func (s terminateStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	commit, _ := run.Fact(factRemoteCommit)
	return s.Argo.Terminate(ctx, *p.Application, commit)
}

// handBackStep gives the Cluster back to Git: initdb, and Git's own list of external clusters. Only
// after the proof: bootstrap is read again until the claim is ready.
type handBackStep struct{ *Flip }

func (s handBackStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	manifest, err := s.settled(ctx, p)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	if uid, _ := run.Fact(FactUID); live == nil || (uid != "" && live.UID != uid) {
		return operation.IsConflict("Cluster %s is not the one that was recovered", p)
	}
	handed, err := s.Cluster.HandedBack(ctx, manifest)
	return operation.IsDoneWhen(handed, err, "the Cluster still has bootstrap.recovery")
}

func (s handBackStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	manifest, err := s.settled(ctx, p)
	if err != nil {
		return err
	}
	if _, err := s.Cluster.HandBack(ctx, manifest); err != nil || p.Application == nil {
		return err
	}
	return s.Cluster.AdmitAsGitOps(ctx, manifest)
}

// syncStep asks Argo CD for exactly the commit that names the new server: it may have given up
// meanwhile, and does not come back by itself.
type syncStep struct{ *Flip }

func (s syncStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	commit, _ := run.Fact(factRemoteCommit)
	ok, _, why, err := s.Argo.Synced(ctx, *p.Application, commit)
	if err != nil || ok {
		return operation.IsDoneWhen(ok, err, "%s", why)
	}
	// Somebody may have pushed meanwhile: Argo CD then goes to that commit, and this one never comes.
	if o, err := (remoteStep{Flip: s.Flip}).Observe(ctx, run); err != nil || o.State != operation.Done {
		return o, err
	}
	return operation.IsPending("%s", why)
}

func (s syncStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	commit, _ := run.Fact(factRemoteCommit)
	_, asked, _, err := s.Argo.Synced(ctx, *p.Application, commit)
	if err != nil || asked {
		return err
	}
	return s.Argo.Sync(ctx, *p.Application, commit)
}

// fieldsStep drops drctl's entry of managedFields: it owns the whole spec, and Argo CD could not
// remove a field that Git dropped.
type fieldsStep struct{ *Flip }

func (s fieldsStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	released, err := s.Cluster.FieldsReleased(ctx, p.Namespace, p.Name)
	return operation.IsDoneWhen(released, err, "drctl still owns fields")
}

func (s fieldsStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Cluster.ReleaseFields(ctx, p.Namespace, p.Name)
}

// schedulesStep lets the ScheduledBackups run again.
type schedulesStep struct{ *Flip }

func (s schedulesStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	now, err := s.Cluster.Schedules(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	for _, schedule := range now {
		for _, before := range p.Schedules {
			if before.Name == schedule.Name && schedule.Suspended && !before.Suspended {
				return operation.IsPending("ScheduledBackup %s is suspended", schedule.Name)
			}
		}
	}
	return operation.IsDone()
}

func (s schedulesStep) Apply(ctx context.Context, run *operation.Run) error {
	return s.suspend(ctx, run, false)
}
