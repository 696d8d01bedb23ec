package flip

import (
	"encoding/json"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Options is what the operator asked for.
type Options struct {
	// Name is a database as the operator named it; Namespace narrows the search.
	Name, Namespace string
	// Manifest is a Cluster from a file, for when neither Git nor the API has it.
	Manifest json.RawMessage
	// BackupID, SourceServer and ArchiveServer are chosen when empty.
	BackupID, SourceServer, ArchiveServer string
	// TargetTime is the moment to recover to; zero for the end of the archive.
	TargetTime time.Time
	// NewName recovers beside the live database, under this name.
	NewName string
	// VerifySQL must give rows, and neither 0 nor f, for the recovery to count.
	VerifySQL   string
	Push        bool
	FinalBackup bool
	NoFence     bool
	// AcceptGap recovers to the gap in the WAL behind the backup, and loses what is behind it.
	AcceptGap bool
	// RenderOnly is for printing a manifest: no cluster, Git or write server is looked at.
	RenderOnly bool
}

// Validate checks what needs no cluster.
func (o Options) Validate() error {
	problem := func(what, next string) error {
		return &recovery.Problem{What: what, Next: next, Err: recovery.ErrUsage}
	}
	switch {
	case o.Name == "" && o.Manifest == nil:
		return problem("no database is named", "give NAME (drctl cnpg list shows them), or -f FILE")
	case o.NewName != "" && (o.Push || o.FinalBackup || o.ArchiveServer != ""):
		return problem("--new-name touches neither Git nor the live database", "leave out --push, --final-backup and --archive-server-name")
	case o.NewName != "" && o.NewName == o.Name:
		return problem("the copy must not have the name of the database", "give another --new-name")
	}
	return nil
}

// Finding is something that the preflight saw. Only what is no finding is fine.
type Finding struct {
	// Level is note or warning.
	Level string `json:"level"`
	Text  string `json:"text"`
}

// Prepared is a plan that has not begun, with what a person must know before.
type Prepared struct {
	// ID is the plan's.
	ID       string
	Params   *Params
	Findings []Finding
	// Diff is the change of the GitOps tree, empty without one.
	Diff string
	// LostSeconds is how much of the past is not in the archive: now minus the last archived WAL, or
	// minus the target.
	LostSeconds int64
	// Identity is the cluster that will be changed.
	Identity Identity
}

func (p *Prepared) warn(texts ...string) {
	for _, text := range texts {
		p.Findings = append(p.Findings, Finding{"warning", text})
	}
}

func (p *Prepared) note(texts ...string) {
	for _, text := range texts {
		p.Findings = append(p.Findings, Finding{"note", text})
	}
}
