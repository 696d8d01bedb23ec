package restore

import (
	"encoding/json"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// The operations whose plans are made here.
const (
	Operation       = "pvc-restore"
	BackupOperation = "pvc-backup"
	// ManyOperation is a plan of plans.
	ManyOperation = "pvc-restore-many"
)

// Params is the plan's own data: everything that another process needs in order to go on.
type Params struct {
	Mode      Mode   `json:"mode,omitempty"`
	Namespace string `json:"namespace"`
	// Name is the claim, NewName the copy's name when it is restored beside it.
	Name    string `json:"name"`
	NewName string `json:"newName,omitempty"`
	// OldUID and OldManifest are those of the claim that is replaced or written into; empty when it was
	// gone. OldVolume is the volume below it.
	OldUID      string          `json:"oldUID,omitempty"`
	OldManifest json.RawMessage `json:"oldManifest,omitempty"`
	OldVolume   recovery.Volume `json:"oldVolume,omitzero"`
	// Manifest is the claim that is created; nil in place.
	Manifest json.RawMessage `json:"manifest,omitempty"`

	Mover Template `json:"mover"`
	// Identity is whom the snapshot belongs to; RestoreAsOf and Previous make the mover select it.
	Identity    recovery.KopiaSource `json:"identity"`
	Snapshot    pvc.SnapshotItem     `json:"snapshot"`
	RestoreAsOf string               `json:"restoreAsOf,omitempty"`
	Previous    int                  `json:"previous,omitempty"`

	StorageClass     string   `json:"storageClass,omitempty"`
	AccessModes      []string `json:"accessModes"`
	CapacityBytes    int64    `json:"capacityBytes"`
	WaitsForConsumer bool     `json:"waitsForConsumer,omitempty"`
	SnapshotClass    string   `json:"snapshotClass,omitempty"`

	// Pods are those that mounted the claim when the plan was made.
	Pods []recovery.MountingPod `json:"pods"`
	// Application owns the claim, and was Synced and Healthy before.
	Application *recovery.Application `json:"application,omitempty"`

	Merge    bool `json:"merge,omitempty"`
	NoSafety bool `json:"noSafety,omitempty"`
	Backup   bool `json:"backup,omitempty"`
	Keep     bool `json:"keep,omitempty"`
	NoFence  bool `json:"noFence,omitempty"`
	// MoverSeconds bounds each wait for a mover.
	MoverSeconds int64 `json:"moverSeconds"`
}

// ParamsOf reads a plan's own data.
func ParamsOf(plan *operation.Plan) (*Params, error) {
	var p Params
	if plan.Operation != Operation && plan.Operation != BackupOperation {
		return nil, &recovery.Problem{What: "plan " + plan.ID + " is a " + plan.Operation, Why: "not a " + Operation, Err: recovery.ErrUsage}
	}
	if err := json.Unmarshal(plan.Params, &p); err != nil {
		return nil, &recovery.Problem{What: "read plan " + plan.ID, Why: err.Error(), Next: "look at the files below drctl's state folder", Err: recovery.ErrDamaged}
	}
	return &p, nil
}

// claim is the name of the claim that has the data in the end.
func (p *Params) claim() string {
	if p.NewName != "" {
		return p.NewName
	}
	return p.Name
}

// String is that claim in messages.
func (p *Params) String() string { return p.Namespace + "/" + p.claim() }

// target is the claim that the plan is about, also when only a copy of it is made.
func (p *Params) target() string { return p.Namespace + "/" + p.Name }

func (p *Params) replaces() bool { return p.Mode == Replace && p.OldUID != "" }

func (p *Params) mover() time.Duration {
	if p.MoverSeconds > 0 {
		return time.Duration(p.MoverSeconds) * time.Second
	}
	return moverTime
}

// destination is drctl's own ReplicationDestination of the plan. Its name is the plan's ID, which leaves
// room for what VolSync puts in front and behind.
func (p *Params) destination(planID string) Destination {
	d := Destination{
		PlanID: planID, Namespace: p.Namespace, Name: planID, Template: p.Mover, Identity: p.Identity,
		RestoreAsOf: p.RestoreAsOf, Previous: p.Previous,
		StorageClass: p.StorageClass, AccessModes: p.AccessModes, CapacityBytes: p.CapacityBytes,
	}
	if p.Mode == InPlace {
		d.Into, d.Exact = p.Name, !p.Merge
	}
	return d
}

// source is drctl's own ReplicationSource, which makes the first backup.
func (p *Params) source(planID string) Source {
	return Source{
		PlanID: planID, Namespace: p.Namespace, Name: sourceName(planID), Claim: p.claim(), Template: p.Mover,
		StorageClass: p.StorageClass, AccessModes: p.AccessModes, CapacityBytes: p.CapacityBytes,
	}
}

func sourceName(planID string) string { return planID + "-b" }

// safety is the VolumeSnapshot of the volume before it is written into.
func safetyName(planID string) string { return planID + "-before" }

// hold is what the fence of the plan holds back.
func (p *Params) hold(planID string, expires time.Time) Hold {
	h := Hold{PlanID: planID, Namespace: p.Namespace, Claim: p.Name, Pods: true, Expires: expires}
	if p.Mode == InPlace {
		h.ExemptJob = moverJob(planID)
		return h
	}
	h.Manifest = p.Manifest
	return h
}

// moverJob is the Job of a ReplicationDestination's mover.
// Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go.
func moverJob(destination string) string { return "volsync-dst-" + destination }

// The facts that steps leave for later ones.
const (
	factFence = "fenceProven"
	// FactUID is the UID of the claim that the plan created.
	FactUID       = "newUID"
	factVolume    = "newVolume"
	factDeletedAt = "deletedAt"
	factProvenAt  = "dataProvenAt"
	factGone      = "claimGoneAt"
	// factProof is the mover's word: snapshot and files.
	factProof = "proof"
	// factDisproved is the trigger of the mover's last run that was not proven.
	factDisproved = "disprovedRun"
	factRetain    = "retain"
	// factBackupBefore is the start of the newest snapshot before the new one was asked for.
	factBackupBefore = "newestSnapshotBefore"
	// FactBackup is the new snapshot of a backup.
	FactBackup    = "backup"
	factRestored  = "restoredAt"
	factStoppedAt = "stoppedAt"
	// factReadyAt is when as many Pods were ready as before.
	factReadyAt = "readyAt"
	// factSuspect are snapshots that were begun while the volume was being written.
	factSuspect = "suspectSnapshots"
)
