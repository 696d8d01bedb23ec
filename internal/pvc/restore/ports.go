package restore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Identity says which cluster the API is.
type Identity struct{ ClusterUID, Server, Context string }

// Cluster is what a restore asks of Kubernetes. What is called a look is as the last watched change has
// it: it may be a moment old, and costs no request. Whatever decides over something that cannot be taken
// back is asked of the server itself.
type Cluster interface {
	Identity(ctx context.Context) (Identity, error)
	// Claim is the server's present state, nil when there is none. LookClaim is a look.
	Claim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error)
	LookClaim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error)
	// Claims are all of them in a namespace, or everywhere for "": a look.
	Claims(ctx context.Context, namespace string) ([]recovery.LiveClaim, error)
	// Volume is the server's present state, nil when there is none.
	Volume(ctx context.Context, name string) (*recovery.LiveVolume, error)
	// SetReclaimPolicy sets a volume's policy only while it is Bound to that claim, else
	// recovery.ErrConflict.
	SetReclaimPolicy(ctx context.Context, volume, claimUID, policy string) error
	// Pods are those that mount the claim, in any phase: the server's present state. LookPods is a look.
	Pods(ctx context.Context, namespace, claim string) ([]recovery.MountingPod, error)
	LookPods(ctx context.Context, namespace, claim string) ([]recovery.MountingPod, error)
	// DeletePod deletes that Pod and no successor of its name; one that is gone is no error.
	DeletePod(ctx context.Context, namespace string, pod recovery.MountingPod) error
	// DeleteClaim deletes in the background, with the UID as precondition unless it is empty.
	DeleteClaim(ctx context.Context, namespace, name, uid string) error
	// CreateClaim posts the manifest and gives the new UID; recovery.ErrExists when there is one. AdmitClaim
	// is the same as a dry run under another name, since the claim itself may still be there.
	CreateClaim(ctx context.Context, manifest json.RawMessage) (uid string, err error)
	AdmitClaim(ctx context.Context, manifest json.RawMessage) error
	// ReleaseClaim takes the plan's mark and drctl's ownership of fields off the claim.
	ReleaseClaim(ctx context.Context, namespace, name, uid, planID string) error
	// Generated are Kyverno's objects for the claim of that name: the server's present state.
	Generated(ctx context.Context, namespace, claim string) ([]recovery.GeneratedObject, error)
	// CreateConsumer makes a Pod that mounts the claim and does nothing, so that it is bound; it carries the
	// plan's mark. RemoveConsumer deletes it; one that is gone is no error.
	CreateConsumer(ctx context.Context, namespace, name, claim, planID string) error
	RemoveConsumer(ctx context.Context, namespace, name, planID string) error
	// Touch changes an annotation of the controller, so that it tries again at once.
	Touch(ctx context.Context, namespace string, controller recovery.Controller, planID string) error
	// Classes are the storage classes by name, with the name of the default one.
	Classes(ctx context.Context) (byName map[string]recovery.StorageClass, standard string, err error)
	// Events are the newest warnings about an object, for people.
	Events(ctx context.Context, namespace, kind, name string) (string, error)
	// SnapshotVolume requests a VolumeSnapshot of the claim; one of that name and plan is no error.
	SnapshotVolume(ctx context.Context, namespace, claim, name, class, planID string) error
	// VolumeSnapshot is a look, nil when there is none. RemoveVolumeSnapshot removes the plan's own.
	VolumeSnapshot(ctx context.Context, namespace, name string) (*recovery.VolumeSnapshot, error)
	RemoveVolumeSnapshot(ctx context.Context, namespace, name, planID string) error
	// Requirements names what VolSync and Kopia need and the cluster does not have, empty when all is there.
	Requirements(ctx context.Context) ([]string, error)
}

// Movers are VolSync's ReplicationDestinations and ReplicationSources with the Kopia block.
type Movers interface {
	// Template is what the claim's own ReplicationSource, ReplicationDestination and Secret say, from the
	// cluster, or what the platform's policy would generate where there are none.
	Template(ctx context.Context, namespace, claim string) (Template, error)
	// CreateDestination makes the Secret's copy and the ReplicationDestination, marked with the plan; what
	// is there already and is the plan's own is no error, anything else of that name recovery.ErrExists.
	CreateDestination(ctx context.Context, d Destination) error
	// Destination is a look, nil when there is none. DestinationNow is the server's present state.
	Destination(ctx context.Context, namespace, name string) (*recovery.MoverRun, error)
	DestinationNow(ctx context.Context, namespace, name string) (*recovery.MoverRun, error)
	// Rerun has the plan's own destination run once more, under another trigger.
	Rerun(ctx context.Context, namespace, name, planID, trigger string) error
	// Remove deletes what CreateDestination or CreateSource made for the plan: the object, its Secret. What
	// is gone is no error.
	Remove(ctx context.Context, namespace, name, planID string) error
	// Left are the objects of the plan that are still there, by kind and name.
	Left(ctx context.Context, namespace, planID string) ([]string, error)
	// CreateSource makes a ReplicationSource that runs once, in the same manner.
	CreateSource(ctx context.Context, s Source) error
	Source(ctx context.Context, namespace, name string) (*recovery.MoverRun, error)
	// Running are ReplicationSources of the claim that are synchronizing right now, by name.
	Running(ctx context.Context, namespace, claim string) ([]string, error)
	// MoverLog is what the Job's newest Pod said, as far as this process was there to hear it, also when the
	// Pod is gone: VolSync deletes the Job once a run is complete, and keeps neither the snapshot's ID nor the
	// count in the status. A destination or source of drctl's own is listened to from its creation or first
	// look on. It is empty when nothing was heard: then only another run can prove anything. It waits a
	// moment for the log's end.
	MoverLog(ctx context.Context, namespace, job string) (string, error)
	// ReadRestore and ReadBackup read a mover's lines, from the status or from the Pod.
	ReadRestore(lines string) recovery.RestoreLog
	ReadBackup(lines string) recovery.BackupLog
}

// Repository is the Kopia repository that all claims share.
type Repository interface {
	// Snapshots lists every snapshot, incomplete ones included.
	Snapshots(ctx context.Context) ([]recovery.Snapshot, recovery.Gaps, error)
}

// Fence holds back, for everybody but the plan, the creation of a claim and of Pods that mount it.
type Fence interface {
	Up(ctx context.Context, f Hold) error
	// Prove returns once everything was refused for five seconds running.
	Prove(ctx context.Context, f Hold) error
	Standing(ctx context.Context, f Hold) (bool, error)
	// Left reports whether any part of the plan's fence is there.
	Left(ctx context.Context, planID string) (bool, error)
	Down(ctx context.Context, f Hold) error
}

// Hold is what a fence holds back.
type Hold struct {
	PlanID    string
	Namespace string
	Claim     string
	// Manifest is a claim as somebody else would create it, for the proof; nil when only Pods are held.
	Manifest json.RawMessage
	// Pods holds back Pods that mount the claim. ExemptJob is the mover's Job that may, empty for none.
	Pods      bool
	ExemptJob string
	Expires   time.Time
}

// Argo is Argo CD.
type Argo interface {
	// Owner is the Application that owns the claim, nil for none.
	Owner(ctx context.Context, namespace, claim string) (*recovery.Application, error)
	// Settled reports whether the Application is Synced and Healthy, and else why not; stuck is true when it
	// will not try again by itself.
	Settled(ctx context.Context, app recovery.Application) (done, stuck bool, why string, err error)
	// Sync asks for the revision that it compares with.
	Sync(ctx context.Context, app recovery.Application) error
}

// Tree finds manifests in the GitOps tree.
type Tree interface {
	// Claim is a PersistentVolumeClaim as the tree has it, without UID and status; nil when there is none.
	Claim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error)
}

// Template is what a mover of the claim looks like.
type Template struct {
	// Identity is where the claim's own backups are.
	Identity recovery.KopiaSource `json:"identity"`
	// Secret is the Secret that opens the repository, in the claim's namespace; when it is not there,
	// Fallback is the platform's own (NAMESPACE/NAME) with the password.
	Secret   string `json:"secret"`
	Fallback string `json:"fallback,omitempty"`
	// Kopia is the Kopia block to copy: mover fields, compression, retention, cache. It holds no secret.
	Kopia json.RawMessage `json:"kopia"`
	// SourceName is the ReplicationSource that it was taken from, empty when the policy stands in for it.
	SourceName string `json:"sourceName,omitempty"`
	// SnapshotClass is the VolumeSnapshotClass that it names.
	SnapshotClass string `json:"snapshotClass,omitempty"`
	// Paused: the claim's ReplicationSource is paused, and makes no backups.
	Paused bool `json:"paused,omitempty"`
	// Schedule of that source.
	Schedule string `json:"schedule,omitempty"`
}

// Destination is a ReplicationDestination of drctl's own.
type Destination struct {
	PlanID    string
	Namespace string
	Name      string
	Template  Template
	// Identity is whom to restore from: another claim's with --from.
	Identity recovery.KopiaSource
	// RestoreAsOf and Previous make the mover select the one snapshot.
	RestoreAsOf string
	Previous    int
	// Into is the claim to write into (copyMethod Direct); empty for a VolumeSnapshot that a new claim is
	// populated from.
	Into string
	// Exact removes what the snapshot does not have.
	Exact         bool
	StorageClass  string
	AccessModes   []string
	CapacityBytes int64
}

// Source is a ReplicationSource of drctl's own, which runs once.
type Source struct {
	PlanID        string
	Namespace     string
	Name          string
	Claim         string
	Template      Template
	StorageClass  string
	AccessModes   []string
	CapacityBytes int64
}
