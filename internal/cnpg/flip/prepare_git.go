package flip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// checkGit asks Argo CD whose the Cluster is, and sees that the checkout can be committed to.
func (f *Flip) checkGit(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if p.beside() {
		return nil
	}
	if f.Argo != nil {
		app, err := f.Argo.Owner(ctx, p.Namespace, p.Name)
		if err != nil {
			return err
		}
		p.Application = app
	}
	if f.Git == nil {
		return p.refuseWithoutTree()
	}
	state, err := f.Git.Check(ctx)
	if err != nil {
		return err
	}
	if state.Ahead > 0 && p.Push {
		out.warn(fmt.Sprintf("%d commits of yours are not on the remote yet and would be pushed along", state.Ahead))
	}
	p.Git = &state
	return nil
}

func (p *Params) refuseWithoutTree() error {
	if p.Application != nil {
		return &recovery.Problem{
			What: fmt.Sprintf("Argo CD Application %s/%s owns Cluster %s/%s", p.Application.Namespace, p.Application.Name, p.Namespace, p.Name),
			Why:  "it would bring the old server's name back, so Git must name the new one",
			Next: "give --gitops DIR, a checkout of " + p.Application.RepoURL, Err: recovery.ErrUsage,
		}
	}
	if p.Push {
		return &recovery.Problem{What: "push", Why: "no GitOps tree is known", Next: "give --gitops DIR, or leave --push out", Err: recovery.ErrUsage}
	}
	return nil
}

// previewGit asks the editor for the change before anything is written.
func (f *Flip) previewGit(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if f.Git == nil {
		return nil
	}
	to := p.ArchiveServer
	if p.beside() {
		to = p.WriteServer
	}
	manifest, diff, err := f.Git.Preview(ctx, p.Namespace, p.Name, p.WriteServer, to)
	if errors.Is(err, recovery.ErrNotFound) && p.Application == nil {
		out.note("the GitOps tree has no manifest of this Cluster: Git is left alone")
		p.Git = nil
		return nil
	}
	if err != nil {
		return err
	}
	p.Settled, out.Diff = manifest, diff
	described, err := f.Render.Describe(manifest)
	if err == nil && described.Bootstrap == "" && p.Application != nil {
		// Without it Argo CD's apply of an older commit would not collide with the recovery, and would
		// bring the old server's name back while the recovery runs.
		return &recovery.Problem{
			What: "the manifest of Cluster " + p.Namespace + "/" + p.Name + " in Git has no bootstrap", Why: "so CloudNativePG would not refuse what Argo CD applies during the recovery",
			Next: "write bootstrap.initdb with its database and owner into it, push, and run the command again", Err: recovery.ErrUnsupported,
		}
	}
	return err
}

// Plan makes the operation's plan of what was prepared.
func (f *Flip) Plan(out *Prepared) (operation.Plan, error) {
	data, err := json.Marshal(out.Params)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("write down the plan: %w", err)
	}
	p := out.Params
	return operation.Plan{
		APIVersion: recovery.APIVersion, Kind: "Plan", ID: out.ID, Operation: Operation, Target: p.String(), RecoveryPoint: p.point(), ClusterUID: out.Identity.ClusterUID,
		Server: out.Identity.Server, Context: out.Identity.Context, CreatedBy: operation.WhoAmI(), CreationTime: f.Now().UTC(),
		Steps: p.steps(), Params: data,
	}, nil
}

// point names the recovery point for people and scripts.
func (p *Params) point() string {
	point := p.SourceServer + "/" + p.Backup.ID
	if !p.TargetTime.IsZero() {
		point += " to " + p.TargetTime.Format(time.RFC3339)
	}
	return point
}
