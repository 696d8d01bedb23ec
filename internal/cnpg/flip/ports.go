package flip

import (
	"context"
	"encoding/json"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Identity says which cluster the API is.
type Identity struct{ ClusterUID, Server, Context string }

// Cluster is what the flip asks of Kubernetes. All reads see the server's present state.
type Cluster interface {
	Identity(ctx context.Context) (Identity, error)
	// Find gives the Cluster, nil when there is none.
	Find(ctx context.Context, namespace, name string) (*recovery.LiveCluster, error)
	// Volumes are the claims named for, labelled for or owned by the Cluster.
	Volumes(ctx context.Context, namespace, name string) ([]recovery.Volume, error)
	// SetReclaimPolicy sets a volume's policy; with claimUID only while the volume is Bound to that
	// claim, else recovery.ErrConflict.
	SetReclaimPolicy(ctx context.Context, volume, claimUID, policy string) error
	// OwnedSecrets are the generated ones with passwords (-app, -superuser) that clusterUID owns.
	OwnedSecrets(ctx context.Context, namespace, name, clusterUID string) ([]recovery.OwnedSecret, error)
	// DisownSecret drops the Cluster's ownerRef; OwnSecret puts it back.
	DisownSecret(ctx context.Context, namespace string, secret recovery.OwnedSecret, clusterUID string) error
	OwnSecret(ctx context.Context, namespace string, secret recovery.OwnedSecret, clusterName, clusterUID string) error
	Schedules(ctx context.Context, namespace, name string) ([]recovery.ScheduledBackup, error)
	Suspend(ctx context.Context, namespace string, schedule recovery.ScheduledBackup, suspended bool) error
	BackupObjects(ctx context.Context, namespace, name string) ([]recovery.BackupObject, error)
	// RequestBackup creates a Backup object of that name unless it is there.
	RequestBackup(ctx context.Context, namespace, cluster, name, planID string) error
	// Delete deletes in the background, with the UID as precondition unless it is empty.
	Delete(ctx context.Context, namespace, name, uid string) error
	// Leftovers are Pods, Jobs and claims named for, labelled for or owned by that name.
	Leftovers(ctx context.Context, namespace, name string) ([]recovery.Leftover, error)
	// Create posts the manifest and gives the new UID. Admit is the same as a dry-run: what the
	// webhooks say; a Cluster that is still there is no objection.
	Create(ctx context.Context, manifest json.RawMessage) (uid string, err error)
	Admit(ctx context.Context, manifest json.RawMessage) error
	// RecoveryLog is the end of the newest recovery Job's log, and the newest warning event.
	RecoveryLog(ctx context.Context, namespace, name string) (string, error)
	// SQL runs a query in the Pod as the superuser: unaligned rows, "|" between columns.
	SQL(ctx context.Context, namespace, pod, database, query string) (string, error)
	// HandBack makes the live bootstrap and externalClusters those of Git's manifest; false when they
	// were already.
	HandBack(ctx context.Context, git json.RawMessage) (changed bool, err error)
	// HandedBack reports whether there is nothing left to hand back.
	HandedBack(ctx context.Context, git json.RawMessage) (bool, error)
	// AdmitAsGitOps is a dry-run of what Argo CD will apply.
	AdmitAsGitOps(ctx context.Context, git json.RawMessage) error
	// ReleaseFields drops drctl's own entry of managedFields.
	ReleaseFields(ctx context.Context, namespace, name string) error
	FieldsReleased(ctx context.Context, namespace, name string) (bool, error)
	// Operator names the operator's image, empty when it was not found; StorageClasses are those there.
	Operator(ctx context.Context) (string, error)
	StorageClasses(ctx context.Context) ([]string, error)
}

// Fence holds creation of one Cluster back.
type Fence interface {
	// Up builds or renews the fence; Prove returns once it has held for some seconds without a hole.
	Up(ctx context.Context, planID, namespace, name string, expires time.Time) error
	Prove(ctx context.Context, planID, namespace, name string, sample json.RawMessage) error
	Standing(ctx context.Context, planID, namespace, name string) (bool, error)
	// Left reports whether any part of it is there: half a fence holds nothing back, and is left over.
	Left(ctx context.Context, planID string) (bool, error)
	Down(ctx context.Context, planID, namespace, name string) error
}

// Place is a Barman server in S3; Namespace is where the store's Secrets stand.
type Place struct {
	Namespace string
	Store     recovery.ObjectStore
	Server    string
}

// Archive reads and marks Barman's catalog.
type Archive interface {
	// Choose reads the whole lineage and picks the backup. An unread part that matters is an error.
	Choose(ctx context.Context, place Place, query BackupChoice) (Chosen, recovery.Gaps, error)
	// Empty reports whether the server holds neither WAL nor backups, and else what it holds.
	Empty(ctx context.Context, place Place) (empty bool, holds string, err error)
	Kept(ctx context.Context, place Place, backupID string) (bool, error)
	Keep(ctx context.Context, place Place, backupID string) error
	Unkeep(ctx context.Context, place Place, backupID string) error
	// Judge says whether a timeline's .history shows that everything of reach (or the target) was
	// replayed.
	Judge(reach recovery.Reach, target time.Time, history string) (Result, string)
	// NewestDone is the newest DONE backup of the server, nil when there is none.
	NewestDone(ctx context.Context, place Place) (*recovery.Backup, error)
}

// BackupChoice says which backup is wanted.
type BackupChoice struct {
	BackupID   string
	TargetTime time.Time
	// AcceptGap takes a backup though WAL is missing behind it.
	AcceptGap bool
	// Readable reads the first bytes of every file that the recovery needs: some stores list what they
	// cannot serve.
	Readable bool
}

// Chosen is the backup, how far recovery gets from it, and what to know of it.
type Chosen struct {
	Backup   recovery.Backup
	Reach    recovery.Reach
	Warnings []string
	Servers  []recovery.Server
}

// Renderer knows CloudNativePG's manifests.
type Renderer interface {
	// Recovery makes the Cluster that recovers out of a manifest; the warnings name what was left out.
	Recovery(manifest json.RawMessage, o RenderOptions) (json.RawMessage, []string, error)
	// Settled is the manifest with another write server, as Git will say it.
	Settled(manifest json.RawMessage, server string) (json.RawMessage, error)
	// Describe gives what of a manifest a recovery needs.
	Describe(manifest json.RawMessage) (Described, error)
	NextServer(current string, taken []string) string
	// Explain decodes a recovery log's error; ok is false when there is none that is known.
	Explain(log string) (cause, fix string, ok bool)
	Progress(log string) string
	DropsTimelines(operatorImage string) (bool, string)
}

// RenderOptions say what to recover and how the result is called.
type RenderOptions struct {
	PlanID, SourceServer, ArchiveServer, BackupID, NewName string
	TargetTime                                             time.Time
}

// Described is what a Cluster's manifest says.
type Described struct {
	Namespace, Name, WriteServer, Database, Bootstrap, StorageClass, WALStorageClass string
	// RecoveredServer, RecoveredBackup and RecoveredTarget are what bootstrap.recovery reads.
	RecoveredServer, RecoveredBackup, RecoveredTarget string
	Plugin                                            bool
}

// Git is the GitOps tree as a checkout.
type Git interface {
	// Check fetches, and fails unless the tree is clean, on a branch with an upstream and not behind it.
	Check(ctx context.Context) (GitState, error)
	// Preview gives the Cluster as the tree would build it with the new server, and the change.
	Preview(ctx context.Context, namespace, name, from, to string) (manifest json.RawMessage, diff string, err error)
	// Commit makes the change; Committed finds a plan's commit, empty when there is none.
	Commit(ctx context.Context, planID, namespace, name, from, to string) (commit string, err error)
	Committed(ctx context.Context, planID string) (commit string, err error)
	// Undo takes the commit back while nothing stands on it and the remote does not have it.
	Undo(ctx context.Context, commit string) error
	Push(ctx context.Context, commit string) error
	// Pushed reports whether the remote's branch holds the commit now: recovery.ErrNotFound when it does
	// not, and this checkout neither.
	Pushed(ctx context.Context, commit string) (bool, error)
	// Remote gives the remote's newest commit and the Cluster that it builds, nil without one.
	Remote(ctx context.Context, namespace, name string) (commit string, manifest json.RawMessage, err error)
}

// GitState is where a checkout stands.
type GitState struct {
	Directory string `json:"directory"`
	Branch    string `json:"branch"`
	Remote    string `json:"remote"`
	Head      string `json:"head"`
	// Ahead counts commits that the remote does not have: they would be pushed along.
	Ahead int `json:"ahead"`
}

// Argo is Argo CD.
type Argo interface {
	// Owner is the Application that owns the Cluster, nil for none.
	Owner(ctx context.Context, namespace, name string) (*recovery.Application, error)
	// Busy says that an operation at another revision than this one runs.
	Busy(ctx context.Context, app recovery.Application, revision string) (bool, error)
	Terminate(ctx context.Context, app recovery.Application, revision string) error
	Sync(ctx context.Context, app recovery.Application, revision string) error
	// Synced reports whether the Application is Synced and Healthy at the revision, and else why not;
	// asked is true when a sync of that revision runs or ended well.
	Synced(ctx context.Context, app recovery.Application, revision string) (done, asked bool, why string, err error)
}
