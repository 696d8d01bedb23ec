package flip

import (
	"context"
	"errors"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// findDatabase finds what the name means: a Cluster of the API, of the tree or of the file.
func (f *Flip) findDatabase(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	name, namespace := o.Name, o.Namespace
	if o.Manifest != nil {
		given, err := f.FromManifest(ctx, o.Manifest)
		if err != nil {
			return err
		}
		name, namespace, p.Settled = given.Name, given.Namespace, o.Manifest
		p.Namespace, p.Name, p.Store, p.WriteServer = given.Namespace, given.Name, given.Store, given.ServerName
	}
	db, gaps, err := f.Find(ctx, cnpg.BackupQuery{Name: name, Namespace: namespace})
	switch {
	case err == nil:
		p.Namespace, p.Name, p.Store, p.WriteServer = db.Namespace, db.Name, db.Store, db.ServerName
	case o.Manifest == nil || !errors.Is(err, recovery.ErrNotFound):
		return err
	}
	for _, gap := range gaps {
		out.warn(gap.Error())
	}
	return nil
}

// refuseUnfinished: two plans for one Cluster would undo each other's work, and the older one's fence
// would hold back the newer one's creation.
func (f *Flip) refuseUnfinished(ctx context.Context, _ Options, out *Prepared) error {
	if f.Unfinished == nil {
		return nil
	}
	views, gaps, err := f.Unfinished(ctx)
	if err != nil {
		return err
	}
	for _, gap := range gaps {
		out.warn(gap.Error())
	}
	for _, view := range views {
		// Another cluster may have a database of the same name.
		if view.Target != out.Params.String() || (view.ClusterUID != out.Identity.ClusterUID && view.ClusterUID != "") {
			continue
		}
		return &recovery.Problem{
			What: "begin a plan for " + view.Target, Why: "plan " + view.ID + " (" + view.Operation + ", by " + view.CreatedBy + ") for it is unfinished",
			Next: view.Next(), Err: errors.Join(operation.ErrUnfinished, operation.ErrBusy),
		}
	}
	return nil
}

// findLive looks at the Cluster itself.
func (f *Flip) findLive(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if f.Cluster == nil {
		return nil
	}
	live, err := f.Cluster.Find(ctx, p.Namespace, p.Name)
	if err != nil || live == nil {
		if err == nil && !p.beside() {
			out.warn("there is no live Cluster " + p.Namespace + "/" + p.Name + ": it is created from its manifest")
		}
		return err
	}
	if live.Deleting {
		return &recovery.Problem{
			What: "Cluster " + p.Namespace + "/" + p.Name + " is being deleted", Why: "somebody else, or an interrupted plan, is at it",
			Next: "see drctl plans; else wait until it is gone and try again", Err: recovery.ErrConflict,
		}
	}
	p.OldUID, p.OldManifest, p.OldPhase = live.UID, live.Manifest, live.Phase
	p.StopDelaySeconds = int64(live.StopDelay.Seconds())
	p.WriteServer = live.WriteServer
	if p.Settled == nil {
		p.Settled = live.Manifest
	}
	if live.Bootstrap == "recovery" {
		out.warn("the live Cluster has bootstrap.recovery: an earlier recovery was not handed back (drctl cnpg revert " + p.Name + ")")
	}
	return nil
}
