package restore

import (
	"context"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// PrepareBackup checks, reading only, what a backup of a claim needs.
func (r *Restore) PrepareBackup(ctx context.Context, o Options) (*Prepared, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	out := &Prepared{ID: operation.NewID(BackupOperation, r.Now()), Params: &Params{
		Namespace: o.Namespace, Name: o.Name, Backup: true, Keep: o.Keep, MoverSeconds: int64(o.Timeout.Seconds()),
		Pods: []recovery.MountingPod{}, AccessModes: []string{},
	}}
	return out, r.stages(ctx, o, out, r.identify, r.refuseUnfinished, r.findBackedUp, r.findMover, r.checkStorage, r.checkMovers)
}

// findBackedUp finds the claim, which must have a volume.
func (r *Restore) findBackedUp(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	live, err := r.Cluster.Claim(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	problem := func(why, next string, kind error) error {
		return &recovery.Problem{What: "back up claim " + p.target(), Why: why, Next: next, Err: kind}
	}
	switch {
	case live == nil:
		return problem("there is no such claim", "see drctl pvc list", recovery.ErrNotFound)
	case live.CNPGCluster != "":
		return problem("it belongs to the CloudNativePG Cluster "+live.CNPGCluster+": a file copy of a running database is no backup", "drctl cnpg backups "+live.CNPGCluster, recovery.ErrUnsupported)
	case live.Deleting:
		return problem("it is being deleted", "keep its data: kubectl patch pv "+orNone(live.Volume)+` -p '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'`, recovery.ErrConflict)
	case live.Volume == "":
		return problem("it is not bound, so there is nothing to back up", "see kubectl -n "+p.Namespace+" describe pvc "+p.Name, recovery.ErrConflict)
	}
	out.Wave = live.Wave
	p.OldUID = live.UID
	p.StorageClass, p.AccessModes, p.CapacityBytes = live.StorageClass, live.AccessModes, live.RequestBytes
	if live.Backup == "" {
		out.warn("claim %s has no backup label: this is a single backup, and nothing makes the next one", p.target())
	}
	return nil
}

// PlanBackup makes the plan of a prepared backup.
func (r *Restore) PlanBackup(prepared *Prepared) (operation.Plan, error) {
	plan := &planner{Params: prepared.Params}
	plan.backup()
	plan.add(!plan.Keep, stepCleanUp, "remove what drctl made", soon)
	return r.plan(BackupOperation, prepared, plan.steps)
}
