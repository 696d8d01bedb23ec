package recovery

import (
	"encoding/json"
	"time"
)

// LiveClaim is a PersistentVolumeClaim as it stands on the API server.
type LiveClaim struct {
	Namespace string
	Name      string
	UID       string
	// PlanID is the mark of the drctl plan that created it, empty when it was somebody else.
	PlanID string
	// Deleting is true once the API server accepted its deletion; Holding are the finalizers that keep it.
	Deleting bool
	Holding  []string
	// Phase is Pending, Bound or Lost.
	Phase string
	// Backup is the value of the label "backup", empty without it.
	Backup string
	// CNPGCluster is the CloudNativePG Cluster that the claim belongs to, empty for none.
	CNPGCluster string
	// Source is the ReplicationDestination in its dataSourceRef, empty for none.
	Source string
	// Volume is the PersistentVolume below it, empty while it is not bound.
	Volume       string
	StorageClass string
	AccessModes  []string
	// RequestBytes is what it asks for.
	RequestBytes int64
	// Wave is Argo CD's sync wave, 0 without one.
	Wave int
	// Manifest is the whole object as the API server has it.
	Manifest json.RawMessage
}

// LiveVolume is a PersistentVolume.
type LiveVolume struct {
	Name          string
	Phase         string
	ReclaimPolicy string
	// ClaimUID is the UID of the claim that it is or was bound to.
	ClaimUID string
	// SizeBytes is its capacity.
	SizeBytes int64
}

// MountingPod is a Pod that mounts a claim, in whatever phase.
type MountingPod struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
	// Phase is Pending, Running, Succeeded or Failed: a Pod that is done still holds its claim.
	Phase string `json:"phase"`
	Ready bool   `json:"ready"`
	// Deleting is true once its deletion was accepted.
	Deleting bool `json:"deleting,omitempty"`
	// Controller made it and will make another; nil for a Pod that nobody would bring back.
	Controller *Controller `json:"controller,omitempty"`
	// Mover: it is one of VolSync's. Job is the Job that it belongs to, empty for none.
	Mover bool   `json:"mover,omitempty"`
	Job   string `json:"job,omitempty"`
	// PlanID is the mark of the drctl plan that created it.
	PlanID string `json:"planID,omitempty"`
	// Node is where it runs; NodeLost: that node does not answer, and only a person can decide.
	Node     string `json:"node,omitempty"`
	NodeLost bool   `json:"nodeLost,omitempty"`
}

// Finished reports that it runs nothing any more and will not again.
func (p MountingPod) Finished() bool { return p.Phase == "Succeeded" || p.Phase == "Failed" }

// Controller is what makes Pods: a ReplicaSet, StatefulSet, DaemonSet, Job or any other.
type Controller struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	UID     string `json:"uid"`
}

// GeneratedObject is an object that Kyverno generated for a claim.
type GeneratedObject struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
	// ClaimUID is the claim that triggered it, empty when that cannot be told.
	ClaimUID string `json:"claimUID,omitempty"`
}

// StorageClass is a class as far as a restore is concerned.
type StorageClass struct {
	Name string
	// Provisioner is the driver.
	Provisioner string
	// WaitsForConsumer: a claim is bound only once a Pod that mounts it is scheduled.
	WaitsForConsumer bool
	// SnapshotClass is a VolumeSnapshotClass of the same driver, empty for none.
	SnapshotClass string
}

// VolumeSnapshot is a snapshot of a volume in the cluster.
type VolumeSnapshot struct {
	Name  string
	UID   string
	Ready bool
	// Error is what the snapshotter says of a failure.
	Error  string
	PlanID string
}

// MoverRun is what VolSync says of a ReplicationSource or ReplicationDestination.
type MoverRun struct {
	Name string
	UID  string
	// PlanID is the mark of the drctl plan that created it.
	PlanID string
	// Trigger is spec.trigger.manual, Completed is status.lastManualSync: equal once that run ended.
	Trigger, Completed string
	// Result is status.latestMoverStatus.result: Successful, Failed, or empty. Neither proves anything.
	Result string
	// Logs are the lines of the mover that VolSync keeps in status.latestMoverStatus.logs.
	Logs string
	// StartedAt and EndedAt are lastSyncStartTime and lastSyncTime.
	StartedAt, EndedAt time.Time
	// Image is the VolumeSnapshot in status.latestImage, empty without one.
	Image string
	// Condition is the message of the condition Synchronizing, and its reason.
	Condition string
	Paused    bool
	// Job is the mover's Job.
	Job string
}
