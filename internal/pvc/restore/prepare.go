package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// Prepare chooses and checks, reading only, and gives the plan's data. What would make a restore lose data,
// or end in nothing, is an error here, before anything was touched.
func (r *Restore) Prepare(ctx context.Context, o Options) (*Prepared, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	out := &Prepared{ID: operation.NewID(Operation, r.Now()), Params: &Params{
		Mode: o.mode(), Namespace: o.Namespace, Name: o.Name, NewName: o.NewName,
		Merge: o.Merge, NoSafety: o.NoSafety, Keep: o.Keep, NoFence: o.NoFence, MoverSeconds: int64(o.Timeout.Seconds()),
		Pods: []recovery.MountingPod{}, AccessModes: []string{},
	}}
	return out, r.stages(ctx, o, out,
		r.identify, r.refuseUnfinished, r.findClaim, r.findMover, r.choose, r.checkSharers, r.checkStorage, r.checkPods, r.checkMovers, r.render, r.findApplication)
}

type stage func(ctx context.Context, o Options, out *Prepared) error

func (r *Restore) stages(ctx context.Context, o Options, out *Prepared, stages ...stage) error {
	for _, stage := range stages {
		if err := stage(ctx, o, out); err != nil {
			return err
		}
	}
	return nil
}

func (r *Restore) identify(ctx context.Context, _ Options, out *Prepared) error {
	var err error
	if out.Identity, err = r.Cluster.Identity(ctx); err != nil {
		return err
	}
	missing, err := r.Cluster.Requirements(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	return &recovery.Problem{
		What: "this cluster can't restore claims", Why: strings.Join(missing, "; "),
		Next: "install VolSync with the Kopia mover, or take the files out without it: drctl pvc extract " + out.Params.target(), Err: recovery.ErrUnsupported,
	}
}

// refuseUnfinished: two plans for one claim would undo each other's work.
func (r *Restore) refuseUnfinished(ctx context.Context, _ Options, out *Prepared) error {
	if r.Unfinished == nil {
		return nil
	}
	views, gaps, err := r.Unfinished(ctx)
	if err != nil {
		return err
	}
	out.gaps(gaps)
	for _, view := range views {
		// Another cluster may have a claim of the same name; a plan of plans is that of one claim, too, while
		// it makes that one's own.
		if view.Operation == ManyOperation || view.Target != out.Params.target() || (view.ClusterUID != out.Identity.ClusterUID && view.ClusterUID != "") {
			continue
		}
		return &recovery.Problem{
			What: "begin a plan for " + view.Target, Why: "plan " + view.ID + " (" + view.Operation + ", by " + view.CreatedBy + ") for it is unfinished",
			Next: view.Next(), Err: errors.Join(operation.ErrUnfinished, operation.ErrBusy),
		}
	}
	return nil
}

// findMover learns how the claim is backed up, and under which identity.
func (r *Restore) findMover(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	template, err := r.Movers.Template(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	p.Mover, p.Identity = template, template.Identity
	if template.Paused {
		out.warn("ReplicationSource %s is paused: the claim is not backed up any more", template.SourceName)
	}
	if o.FromName == "" {
		return nil
	}
	other, err := r.Movers.Template(ctx, o.FromNamespace, o.FromName)
	if err != nil {
		return err
	}
	p.Identity = other.Identity
	out.note("the data are those of %s/%s", o.FromNamespace, o.FromName)
	return nil
}

// choose picks the snapshot and the arguments that make the mover select it.
func (r *Restore) choose(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	all, gaps, err := r.Repository.Snapshots(ctx)
	if err != nil {
		return err
	}
	out.gaps(gaps)
	name := p.target()
	if o.FromName != "" {
		name = o.FromNamespace + "/" + o.FromName
	}
	chosen, err := pvc.Pick(all, p.Identity, name, o.Choice)
	if err != nil {
		return err
	}
	if !chosen.Complete() {
		return &recovery.Problem{
			What: "restore snapshot " + chosen.ID, Why: "it is incomplete (" + chosen.Incomplete + "): the mover would put back a part of the volume, and call that a success",
			Next: "choose a complete one (drctl pvc snapshots " + name + "), or take single files out of it: drctl pvc extract", Err: recovery.ErrUnsupported,
		}
	}
	p.Snapshot = pvc.NewSnapshotItem(chosen)
	out.LostSeconds = int64(r.Now().Sub(chosen.StartTime).Seconds())
	var exact bool
	if p.RestoreAsOf, p.Previous, exact = moverArguments(all, chosen); !exact {
		out.warn("another snapshot, or a checkpoint, began in the same moment as the snapshot: the proof decides which one the mover took")
	}
	before, found := predecessor(all, chosen)
	if inBytes, inFiles := chosen.CollapsedSince(before); found && (inBytes || inFiles) {
		out.warn("the snapshot has %s, the one before it (%s) %s: look before you restore (drctl pvc files %s), or give --previous 1",
			volume(chosen), shortID(before.ID), volume(before), name)
	}
	if chosen.ErrorCount > 0 {
		out.warn("the snapshot has %d entries that could not be read when it was made", chosen.ErrorCount)
	}
	if chosen.FileCount == 0 {
		out.warn("the snapshot holds no file, and a volume without files makes no backup: none is asked for")
		p.Backup = false
	}
	return nil
}

func volume(s recovery.Snapshot) string {
	return fmt.Sprintf("%d files of %d bytes", s.FileCount, s.SizeBytes)
}

// checkSharers refuses an identity that several claims write under: whose data the newest snapshot holds,
// nobody can tell.
func (r *Restore) checkSharers(ctx context.Context, o Options, out *Prepared) error {
	if r.Inventory == nil {
		return nil
	}
	p := out.Params
	sources, gaps, err := r.Inventory.Sources(ctx, "")
	if err != nil {
		gaps.Add("look who else backs up as "+p.Identity.String(), err)
	}
	out.gaps(gaps)
	// The claim itself counts without a ReplicationSource: the policy makes one only after two hours.
	own := p.target()
	if o.FromName != "" {
		own = o.FromNamespace + "/" + o.FromName
	}
	sharing, claims := []string{own}, map[string]bool{own: true}
	for _, source := range sources {
		if source.Identity == p.Identity && !claims[source.Namespace+"/"+source.Claim] {
			claims[source.Namespace+"/"+source.Claim] = true
			sharing = append(sharing, source.Namespace+"/"+source.Claim)
		}
	}
	if len(sharing) < 2 {
		return nil
	}
	why := fmt.Sprintf("%s all back up as %s, so a snapshot may hold the data of any of them", strings.Join(sharing, " and "), p.Identity)
	if o.SnapshotID != "" {
		out.warn("%s", why)
		return nil
	}
	return &recovery.Problem{
		What: "choose a snapshot of " + p.target(), Why: why,
		Next: "look which one it is (drctl pvc files " + p.Identity.String() + " --snapshot ID), then give --snapshot ID", Err: recovery.ErrConflict,
	}
}

// findApplication remembers the Application that owns the claim, if it was well before.
func (r *Restore) findApplication(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if r.Argo == nil || p.Mode == Beside {
		return nil
	}
	app, err := r.Argo.Owner(ctx, p.Namespace, p.Name)
	if err != nil || app == nil {
		return err
	}
	settled, _, why, err := r.Argo.Settled(ctx, *app)
	if err != nil {
		return err
	}
	if settled || p.OldUID == "" {
		p.Application = app
		return nil
	}
	out.warn("Application %s/%s is not well already (%s): what becomes of it is not waited for", app.Namespace, app.Name, why)
	return nil
}
