package recovery

import (
	"encoding/json"
	"time"
)

// PlanMark is the label and the annotation that drctl puts on what it creates: the ID of the plan.
const PlanMark = "drctl.dev/plan"

// LiveCluster is a CloudNativePG Cluster as it stands on the API server.
type LiveCluster struct {
	Namespace string
	Name      string
	UID       string
	// PlanID is the mark of the drctl plan that created it, empty when it was somebody else.
	PlanID string
	// Deleting is true once the API server accepted its deletion.
	Deleting bool
	// Bootstrap is recovery, initdb or pg_basebackup.
	Bootstrap string
	// WriteServer is the server that it writes backups and WAL to, empty without backups.
	WriteServer string
	Phase       string
	// PhaseReason says more of the phase where the operator does.
	PhaseReason string
	// Ready is the condition Ready. It proves nothing but that some PostgreSQL answers.
	Ready bool
	// Primary is the Pod of the primary, empty before there is one.
	Primary string
	// Archiving is the ContinuousArchiving condition: "true", "false" or "unknown"; ArchivingWhy its
	// message.
	Archiving    string
	ArchivingWhy string
	// StopDelay is how long the operator gives PostgreSQL to stop.
	StopDelay time.Duration
	// Manifest is the whole object as the API server has it.
	Manifest json.RawMessage
}

// Volume is a claim of a Cluster with the volume below it.
type Volume struct {
	Claim    string `json:"claim"`
	ClaimUID string `json:"claimUID"`
	// OwnerUID is the UID of the Cluster that owns the claim, empty for none.
	OwnerUID string `json:"ownerUID,omitempty"`
	// Name is the PersistentVolume's, empty while the claim is not bound.
	Name string `json:"volume"`
	// ReclaimPolicy is Delete or Retain.
	ReclaimPolicy string `json:"reclaimPolicy"`
	// SizeBytes is the volume's capacity.
	SizeBytes    int64    `json:"sizeBytes"`
	StorageClass string   `json:"storageClass"`
	AccessModes  []string `json:"accessModes"`
}

// Leftover is an object of a Cluster that is being waited for.
type Leftover struct {
	Kind, Namespace, Name, UID string
	// Why says what holds it: finalizers, a Pod that uses it, a lost node.
	Why string
}

// ScheduledBackup is a schedule of a Cluster.
type ScheduledBackup struct {
	Name      string `json:"name"`
	UID       string `json:"uid"`
	Suspended bool   `json:"suspended"`
}

// BackupObject is a Backup of the API, which is a request and no proof.
type BackupObject struct {
	Name  string
	Phase string
	Error string
	// Owned: it goes with the Cluster. One that does not would run against the next Cluster.
	Owned bool
}

// OwnedSecret is a Secret that goes with the Cluster and is made anew, with other passwords.
type OwnedSecret struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// Reach is how far recovery from a backup gets without a gap.
type Reach struct {
	Timeline int64 `json:"timeline"`
	// Segment is the last contiguous one.
	Segment string `json:"segment"`
	// EndLSN is the end of that segment, exclusive.
	EndLSN uint64 `json:"endLSN"`
	// RecordsEndLSN is where the last whole record of that segment ends, 0 when nobody looked into it.
	RecordsEndLSN uint64 `json:"recordsEndLSN,omitempty"`
	// ArrivedAt is when that segment arrived: an upper bound of what can be recovered.
	ArrivedAt time.Time `json:"arrivedAt"`
	// SegmentSizeBytes is the size of a WAL segment.
	SegmentSizeBytes int64 `json:"segmentSizeBytes"`
	// Gap is what ends it, nil at the archive's end.
	Gap *WALGap `json:"gap,omitempty"`
}

// Application is an Argo CD Application as far as a recovery is concerned.
type Application struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	RepoURL   string `json:"repoURL"`
	Path      string `json:"path"`
	Revision  string `json:"revision"`
	AutoSync  bool   `json:"autoSync"`
}
