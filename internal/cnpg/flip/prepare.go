package flip

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Prepare chooses and checks, reading only, and gives the plan's data. What would make a recovery lose
// data, or end in nothing, is an error here, before anything was touched.
func (f *Flip) Prepare(ctx context.Context, o Options) (*Prepared, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	out := &Prepared{ID: operation.NewID(Operation, f.Now()), Params: &Params{
		NewName: o.NewName, VerifySQL: o.VerifySQL, TargetTime: o.TargetTime.UTC(), FinalBackup: o.FinalBackup, NoFence: o.NoFence, Push: o.Push,
	}}
	var err error
	if out.Identity, err = f.Cluster.Identity(ctx); err != nil {
		return nil, err
	}
	for _, stage := range []func(context.Context, Options, *Prepared) error{
		f.findDatabase, f.refuseUnfinished, f.findLive, f.checkGit, f.choose, f.checkArchive, f.previewGit, f.render, f.checkSurroundings, f.checkOperator,
	} {
		if err := stage(ctx, o, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PrepareRender chooses and renders, and asks no cluster about anything but the manifest.
func (f *Flip) PrepareRender(ctx context.Context, o Options) (*Prepared, error) {
	out := &Prepared{Params: &Params{NewName: o.NewName, TargetTime: o.TargetTime.UTC()}}
	for _, stage := range []func(context.Context, Options, *Prepared) error{f.findDatabase, f.findLive, f.choose, f.previewGit} {
		if err := stage(ctx, o, out); err != nil {
			return nil, err
		}
	}
	return out, f.renderManifest(out)
}

// choose picks the backup and the servers.
func (f *Flip) choose(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	p.SourceServer = firstOf(o.SourceServer, p.WriteServer)
	chosen, gaps, err := f.Archive.Choose(ctx, p.source(), BackupChoice{
		BackupID: o.BackupID, TargetTime: p.TargetTime, AcceptGap: o.AcceptGap, Readable: !o.RenderOnly,
	})
	for _, gap := range gaps {
		out.warn(gap.Error())
	}
	if err != nil {
		return err
	}
	out.warn(chosen.Warnings...)
	p.Backup, p.Reach = chosen.Backup, chosen.Reach
	var taken []string
	for _, server := range chosen.Servers {
		taken = append(taken, server.Name)
		if server.Name == p.SourceServer {
			p.SourceSizeBytes = serverSize(server)
		}
	}
	if p.beside() {
		return nil
	}
	p.ArchiveServer = firstOf(o.ArchiveServer, f.Render.NextServer(p.WriteServer, taken))
	return nil
}

func serverSize(server recovery.Server) int64 {
	size := server.WAL.SizeBytes
	for _, backup := range server.Backups {
		size += backup.SizeBytes
	}
	return size
}

// checkArchive sees what would be lost, and that what will be written to is empty.
func (f *Flip) checkArchive(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	end := p.Reach.ArrivedAt
	if !p.TargetTime.IsZero() {
		end = p.TargetTime
	}
	out.LostSeconds = int64(f.Now().Sub(end).Seconds())
	if p.beside() {
		return nil
	}
	empty, holds, err := f.Archive.Empty(ctx, p.archive())
	if err != nil {
		return err
	}
	if !empty {
		return &recovery.Problem{
			What: "write to server " + p.ArchiveServer, Why: "it is not empty: " + holds + "; CloudNativePG would refuse it (Expected empty archive)",
			Next: "leave --archive-server-name out, or name a server that holds nothing", Err: recovery.ErrConflict,
		}
	}
	return nil
}

// renderManifest makes the manifest that recovers.
func (f *Flip) renderManifest(out *Prepared) error {
	p := out.Params
	if p.Settled == nil {
		return &recovery.Problem{
			What: "find the manifest of Cluster " + p.Namespace + "/" + p.Name, Why: "neither the API nor the GitOps tree has it",
			Next: "give --gitops DIR, or -f FILE", Err: recovery.ErrNotFound,
		}
	}
	manifest, warnings, err := f.Render.Recovery(p.Settled, RenderOptions{
		PlanID: out.ID, SourceServer: p.SourceServer, ArchiveServer: p.ArchiveServer, BackupID: p.Backup.ID, TargetTime: p.TargetTime, NewName: p.NewName,
	})
	out.warn(warnings...)
	p.Manifest = manifest
	return err
}

// render makes the manifest and asks the webhooks.
func (f *Flip) render(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if err := f.renderManifest(out); err != nil {
		return err
	}
	if !p.beside() && p.Git == nil {
		settled, err := f.Render.Settled(p.Settled, p.ArchiveServer)
		if err != nil {
			return err
		}
		p.Settled = settled
	}
	described, err := f.Render.Describe(p.Manifest)
	if err != nil {
		return err
	}
	p.Database = described.Database
	if err := f.checkClasses(ctx, described); err != nil {
		return err
	}
	return f.Cluster.Admit(ctx, p.Manifest)
}

func (f *Flip) checkClasses(ctx context.Context, described Described) error {
	classes, err := f.Cluster.StorageClasses(ctx)
	if err != nil {
		return err
	}
	for _, class := range []string{described.StorageClass, described.WALStorageClass} {
		if class != "" && !slices.Contains(classes, class) {
			return &recovery.Problem{
				What: "storage class " + class + " does not exist", Why: "the recovered volumes would stay Pending; there are: " + strings.Join(classes, ", "),
				Next: "create it, or change the manifest", Err: recovery.ErrNotFound,
			}
		}
	}
	return nil
}

// checkSurroundings looks at what belongs to the Cluster: volumes, passwords, schedules, Backups.
func (f *Flip) checkSurroundings(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if p.beside() {
		return f.refuseLeftovers(ctx, p)
	}
	var err error
	if p.Schedules, err = f.Cluster.Schedules(ctx, p.Namespace, p.Name); err != nil {
		return err
	}
	if p.OldUID == "" {
		return f.refuseLeftovers(ctx, p)
	}
	if p.Volumes, err = f.Cluster.Volumes(ctx, p.Namespace, p.Name); err != nil {
		return err
	}
	if p.Secrets, err = f.Cluster.OwnedSecrets(ctx, p.Namespace, p.Name, p.OldUID); err != nil {
		return err
	}
	for _, volume := range p.Volumes {
		if volume.OwnerUID != p.OldUID {
			return &recovery.Problem{
				What: "claim " + volume.Claim + " is named for Cluster " + p.Name + " and does not belong to it",
				Why:  "it would not go with the Cluster, and the operator would adopt it and recover nothing",
				Next: "look at it: kubectl -n " + p.Namespace + " describe pvc " + volume.Claim, Err: recovery.ErrConflict,
			}
		}
	}
	objects, err := f.Cluster.BackupObjects(ctx, p.Namespace, p.Name)
	for _, object := range objects {
		if !object.Owned && object.Phase != "completed" && object.Phase != "failed" {
			out.warn(fmt.Sprintf("Backup %s is %s and not owned by the Cluster: it would run against the recovered one", object.Name, orUnknown(object.Phase)))
		}
	}
	return err
}

// refuseLeftovers: where nothing is to be deleted, what is left of an earlier Cluster of that name
// would be adopted.
func (f *Flip) refuseLeftovers(ctx context.Context, p *Params) error {
	if live, err := f.Cluster.Find(ctx, p.Namespace, p.cluster()); err != nil || (live != nil && p.beside()) {
		if err != nil {
			return err
		}
		return &recovery.Problem{
			What: "recover as " + p.String(), Why: "a Cluster of that name exists", Next: "give another --new-name", Err: recovery.ErrExists,
		}
	}
	leftovers, err := f.Cluster.Leftovers(ctx, p.Namespace, p.cluster())
	if err != nil {
		return err
	}
	return leftoverProblem(p, leftovers)
}

func (f *Flip) checkOperator(ctx context.Context, _ Options, out *Prepared) error {
	image, err := f.Cluster.Operator(ctx)
	if err != nil {
		return err
	}
	if drops, why := f.Render.DropsTimelines(image); drops {
		out.warn(why)
	}
	return nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// Raw is a manifest as JSON, for printing.
func Raw(manifest json.RawMessage) (map[string]any, error) {
	var object map[string]any
	err := json.Unmarshal(manifest, &object)
	return object, err
}
