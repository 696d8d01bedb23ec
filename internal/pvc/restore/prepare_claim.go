package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// findClaim finds the claim: on the API server, in the GitOps tree, or in the flags.
func (r *Restore) findClaim(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	live, err := r.Cluster.Claim(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	if live == nil {
		return r.findManifest(ctx, o, out)
	}
	if err := r.refuseClaim(ctx, p, live); err != nil {
		return err
	}
	out.Wave = live.Wave
	p.OldUID, p.OldManifest = live.UID, live.Manifest
	p.StorageClass, p.AccessModes, p.CapacityBytes = live.StorageClass, live.AccessModes, live.RequestBytes
	p.Backup = !o.NoBackup && live.Backup != "" && p.Mode != Beside
	if live.Volume == "" {
		out.warn("claim %s is not bound: there is no old volume to keep", p.target())
		return nil
	}
	volume, err := r.Cluster.Volume(ctx, live.Volume)
	if err != nil {
		return err
	}
	if volume == nil || volume.ClaimUID != live.UID {
		return &recovery.Problem{
			What: "find volume " + live.Volume + " of claim " + p.target(), Why: "it is gone, or bound to another claim",
			Next: "look at it: kubectl get pv " + live.Volume, Err: recovery.ErrConflict,
		}
	}
	// What is restored beside becomes the claim's by a VolumeSnapshot, which must not be larger than what the
	// claim asks for: a provisioner refuses that, with the old claim gone by then.
	// Source: kubernetes-csi/external-provisioner pkg/controller/controller.go, getSnapshotSource.
	switch {
	case p.Mode == InPlace:
		p.CapacityBytes = max(p.CapacityBytes, volume.SizeBytes)
	case volume.SizeBytes > live.RequestBytes:
		out.warn("claim %s asks for %d bytes and has a volume of %d: the new one has what it asks for", p.target(), live.RequestBytes, volume.SizeBytes)
	}
	p.OldVolume = recovery.Volume{
		Claim: p.Name, ClaimUID: live.UID, Name: volume.Name, ReclaimPolicy: volume.ReclaimPolicy, SizeBytes: volume.SizeBytes,
		StorageClass: live.StorageClass, AccessModes: live.AccessModes,
	}
	return nil
}

// refuseClaim: claims that must not be restored this way.
func (r *Restore) refuseClaim(ctx context.Context, p *Params, live *recovery.LiveClaim) error {
	problem := func(why, next string, kind error) error {
		return &recovery.Problem{What: "restore claim " + p.target(), Why: why, Next: next, Err: kind}
	}
	switch {
	case live.CNPGCluster != "":
		return problem("it belongs to the CloudNativePG Cluster "+live.CNPGCluster+": a file copy of a running database is no backup",
			"drctl cnpg recover "+live.CNPGCluster, recovery.ErrUnsupported)
	case live.Deleting:
		pods, err := r.Cluster.Pods(ctx, p.Namespace, p.Name)
		if err != nil {
			return err
		}
		why := "it is being deleted already, and that can't be taken back; held by " + strings.Join(live.Holding, ", ")
		if len(pods) > 0 {
			why += "; " + describePods(pods)
		}
		return problem(why, "first keep its data: kubectl patch pv "+orNone(live.Volume)+` -p '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'`+
			"; once it is gone, restore it again", recovery.ErrConflict)
	case live.Phase == "Lost":
		return problem("its volume is lost", "kubectl -n "+p.Namespace+" delete pvc "+p.Name+", then restore it again", recovery.ErrConflict)
	}
	return nil
}

// findManifest: the claim is gone.
func (r *Restore) findManifest(ctx context.Context, o Options, out *Prepared) error {
	p := out.Params
	if p.Mode == InPlace {
		return &recovery.Problem{
			What: "restore into claim " + p.target(), Why: "there is no such claim", Next: "leave --mode in-place out: it is created anew", Err: recovery.ErrNotFound,
		}
	}
	var found *recovery.LiveClaim
	var err error
	if r.Tree != nil {
		if found, err = r.Tree.Claim(ctx, p.Namespace, p.Name); err != nil {
			return err
		}
	}
	if found != nil {
		out.note("there is no claim %s: it is created from the GitOps tree", p.target())
	} else if found, err = describedClaim(o); err != nil {
		return err
	}
	out.Wave = found.Wave
	p.OldManifest, p.StorageClass, p.AccessModes, p.CapacityBytes = found.Manifest, found.StorageClass, found.AccessModes, found.RequestBytes
	p.Backup = !o.NoBackup && found.Backup != "" && p.Mode != Beside
	return nil
}

// checkStorage sees that there is a class for the new volume, that its snapshots can be taken, and that the
// data fit.
func (r *Restore) checkStorage(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	classes, standard, err := r.Cluster.Classes(ctx)
	if err != nil {
		return err
	}
	name := p.StorageClass
	if name == "" {
		name = standard
	}
	class, found := classes[name]
	if !found {
		var names []string
		for known := range classes {
			names = append(names, known)
		}
		slices.Sort(names)
		return &recovery.Problem{
			What: "storage class " + orNone(name) + " does not exist", Why: "the restored volume would stay Pending; there are: " + strings.Join(names, ", "),
			Next: "create it, or give --storage-class for a claim that is gone", Err: recovery.ErrNotFound,
		}
	}
	p.StorageClass, p.WaitsForConsumer, p.SnapshotClass = class.Name, class.WaitsForConsumer, class.SnapshotClass
	if p.Mover.SnapshotClass == "" {
		p.Mover.SnapshotClass = class.SnapshotClass
	}
	if p.SnapshotClass == "" && p.snapshots() {
		return &recovery.Problem{
			What: "take VolumeSnapshots of class " + class.Name, Why: "no VolumeSnapshotClass is of its driver " + class.Provisioner,
			Next: "create one" + p.withoutSnapshots(), Err: recovery.ErrNotFound,
		}
	}
	if p.Snapshot.SizeBytes > p.CapacityBytes {
		return &recovery.Problem{
			What: "restore " + p.target(), Why: fmt.Sprintf("the snapshot holds %d bytes, and the volume %d", p.Snapshot.SizeBytes, p.CapacityBytes),
			Next: "enlarge the claim first", Err: recovery.ErrConflict,
		}
	}
	return nil
}

// snapshots reports whether the plan needs VolumeSnapshots: of the restored volume, of the one that is written
// into, or of the one that is backed up.
func (p *Params) snapshots() bool {
	if p.Snapshot.ID != "" {
		return p.Mode != InPlace || !p.NoSafety
	}
	var block struct {
		CopyMethod string `json:"copyMethod"`
	}
	// A block that can't be read is VolSync's to refuse.
	_ = json.Unmarshal(p.Mover.Kopia, &block)
	return block.CopyMethod == "" || block.CopyMethod == "Snapshot"
}

func (p *Params) withoutSnapshots() string {
	if p.Snapshot.ID == "" {
		return "; or set copyMethod of the claim's ReplicationSource to Clone or Direct"
	}
	return "; or restore with --mode in-place --no-safety"
}

// checkPods looks at who uses the claim.
func (r *Restore) checkPods(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if p.OldUID == "" || p.Mode == Beside {
		return nil
	}
	pods, err := r.Cluster.Pods(ctx, p.Namespace, p.Name)
	if err != nil {
		return err
	}
	p.Pods = append(p.Pods, pods...)
	for _, pod := range pods {
		switch {
		case pod.Finished():
			out.note("Pod %s is done and holds the claim: it is deleted, its log with it", pod.Name)
		case pod.Mover:
			return busyMover(p, "Pod "+pod.Name)
		case pod.Controller == nil:
			return &recovery.Problem{
				What: "stop Pod " + p.Namespace + "/" + pod.Name + ", which mounts the claim", Why: "no controller made it, so nobody would bring it back",
				Next: "keep its manifest and delete it yourself: kubectl -n " + p.Namespace + " get pod " + pod.Name + " -o yaml", Err: recovery.ErrConflict,
			}
		}
	}
	return nil
}

// checkMovers: a mover that reads the volume meanwhile would back up half of each.
func (r *Restore) checkMovers(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if p.OldUID == "" || p.Mode == Beside {
		return nil
	}
	running, err := r.Movers.Running(ctx, p.Namespace, p.Name)
	if err != nil || len(running) == 0 {
		return err
	}
	return busyMover(p, "ReplicationSource "+strings.Join(running, ", "))
}

func busyMover(p *Params, who string) error {
	what := "restore claim "
	if p.Snapshot.ID == "" {
		what = "back up claim "
	}
	return &recovery.Problem{
		What: what + p.target(), Why: who + " is backing it up right now", Next: "wait until it is done: see drctl pvc snapshots " + p.target(), Err: recovery.ErrConflict,
	}
}

// render makes the new claim's manifest and asks admission.
func (r *Restore) render(ctx context.Context, _ Options, out *Prepared) error {
	p := out.Params
	if p.Mode == InPlace {
		return nil
	}
	if p.Mode == Beside {
		taken, err := r.Cluster.Claim(ctx, p.Namespace, p.NewName)
		if err != nil {
			return err
		}
		if taken != nil {
			return &recovery.Problem{What: "restore as " + p.String(), Why: "a claim of that name exists", Next: "give another --new-name", Err: recovery.ErrExists}
		}
	}
	manifest, err := claimManifest(p.OldManifest, out.ID, out.ID, p.NewName)
	if err != nil {
		return err
	}
	p.Manifest = manifest
	return closedGate(r.Cluster.AdmitClaim(ctx, manifest))
}

// closedGate names the platform's fail-closed gate where it is what refuses a claim: Kyverno's own words name
// a variable that it could not resolve.
func closedGate(err error) error {
	if err == nil {
		return nil
	}
	for _, words := range []string{"failed to fetch data for APICall", "PVC Plumber is not available"} {
		if strings.Contains(err.Error(), words) {
			return &recovery.Problem{
				What: "create a claim", Why: "PVC Plumber does not answer, and the platform's policy admits no claim without it: " + err.Error(),
				Next: "bring PVC Plumber back first (is the Kopia repository there?), then try again", Err: err,
			}
		}
	}
	return err
}
