package flip

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// The operations whose plans are made here.
const (
	Operation       = "cnpg-recover"
	RevertOperation = "cnpg-revert"
)

// Params is the plan's own data: everything that another process needs in order to go on.
type Params struct {
	Namespace string `json:"namespace"`
	// Name is the Cluster that is recovered, NewName the copy's name when it is recovered beside it.
	Name    string `json:"name"`
	NewName string `json:"newName,omitempty"`
	// OldUID and OldManifest are those of the Cluster that is replaced; empty when it was gone.
	OldUID      string          `json:"oldUID,omitempty"`
	OldManifest json.RawMessage `json:"oldManifest,omitempty"`
	OldPhase    string          `json:"oldPhase,omitempty"`
	// StopDelaySeconds is how long PostgreSQL may take to stop.
	StopDelaySeconds int64 `json:"stopDelaySeconds,omitempty"`
	// Manifest is the Cluster that recovers; Settled is what Git says of it once all is done.
	Manifest json.RawMessage `json:"manifest"`
	Settled  json.RawMessage `json:"settled,omitempty"`
	Database string          `json:"database"`

	Store recovery.ObjectStore `json:"store"`
	// WriteServer is the one that Git names before the plan; SourceServer the one that is recovered from,
	// nearly always the same; ArchiveServer the clean one that is written to afterwards.
	WriteServer   string          `json:"writeServer"`
	SourceServer  string          `json:"sourceServer"`
	ArchiveServer string          `json:"archiveServer,omitempty"`
	Backup        recovery.Backup `json:"backup"`
	TargetTime    time.Time       `json:"targetTime,omitzero"`
	Reach         recovery.Reach  `json:"reach"`
	// SourceSizeBytes is what the old server's archive holds: nothing expires it any more.
	SourceSizeBytes int64 `json:"sourceSizeBytes"`

	Volumes   []recovery.Volume          `json:"volumes"`
	Secrets   []recovery.OwnedSecret     `json:"secrets"`
	Schedules []recovery.ScheduledBackup `json:"schedules"`

	Git         *GitState             `json:"git,omitempty"`
	Push        bool                  `json:"push,omitempty"`
	Application *recovery.Application `json:"application,omitempty"`

	VerifySQL   string `json:"verifySQL,omitempty"`
	FinalBackup bool   `json:"finalBackup,omitempty"`
	NoFence     bool   `json:"noFence,omitempty"`
}

// ParamsOf reads a plan's own data.
func ParamsOf(plan *operation.Plan) (*Params, error) {
	var p Params
	if plan.Operation != Operation && plan.Operation != RevertOperation {
		return nil, &recovery.Problem{What: "plan " + plan.ID + " is a " + plan.Operation, Why: "not a " + Operation, Err: recovery.ErrUsage}
	}
	if err := json.Unmarshal(plan.Params, &p); err != nil {
		return nil, &recovery.Problem{What: "read plan " + plan.ID, Why: err.Error(), Next: "look at the files below drctl's state folder", Err: recovery.ErrDamaged}
	}
	return &p, nil
}

// cluster is the name of the Cluster that the plan makes.
func (p *Params) cluster() string {
	if p.NewName != "" {
		return p.NewName
	}
	return p.Name
}

// beside: the live database is not touched.
func (p *Params) beside() bool { return p.NewName != "" }

func (p *Params) source() Place {
	return Place{Namespace: p.Namespace, Store: p.Store, Server: p.SourceServer}
}

func (p *Params) archive() Place {
	return Place{Namespace: p.Namespace, Store: p.Store, Server: p.ArchiveServer}
}

func (p *Params) String() string { return fmt.Sprintf("%s/%s", p.Namespace, p.cluster()) }

// The facts that steps leave for later ones.
const (
	factCommit       = "commit"
	factRemoteCommit = "remoteCommit"
	// factCheckout is the checkout of whoever took the plan over.
	factCheckout = "checkout"
	factKeep     = "keep"
	factFence    = "fenceProven"
	// FactUID is the UID of the Cluster that the plan created.
	FactUID       = "newUID"
	factDeletedAt = "deletedAt"
	factProvenAt  = "rowsProvenAt"
	factRetain    = "retain/"
	factSchedules = "schedulesSuspended"
	factRows      = "rows"
)
