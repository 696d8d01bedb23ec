package restore

import (
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// Mode is how the data come back.
type Mode string

// The modes.
const (
	// Replace puts a new volume in the place of the old one, which is kept.
	Replace Mode = "replace"
	// InPlace writes into the volume that is there.
	InPlace Mode = "in-place"
	// Beside makes a new claim, and touches nothing else.
	Beside Mode = "beside"
)

// Options is what the operator asked for.
type Options struct {
	// Namespace and Name are the claim's.
	Namespace, Name string
	pvc.Choice
	Mode Mode
	// NewName is the claim that is made beside it; it makes the mode Beside.
	NewName string
	// FromNamespace and FromName are another claim, whose backups are taken.
	FromNamespace, FromName string
	// Merge keeps files that the snapshot does not have, in place.
	Merge bool
	// NoSafety takes no VolumeSnapshot before writing in place.
	NoSafety bool
	// NoBackup takes no first backup of the new volume.
	NoBackup bool
	// Keep leaves drctl's own ReplicationDestination for a person to look at.
	Keep    bool
	NoFence bool
	// SizeBytes, StorageClass and AccessMode describe a claim of which no manifest is left.
	SizeBytes    int64
	StorageClass string
	AccessMode   string
	// Timeout bounds each wait for a mover; zero means a day.
	Timeout time.Duration
}

// Validate checks what needs no cluster.
func (o Options) Validate() error {
	problem := func(what, next string) error {
		return &recovery.Problem{What: what, Next: next, Err: recovery.ErrUsage}
	}
	switch {
	case o.Namespace == "" || o.Name == "":
		return problem("no claim is named", "give NAMESPACE/PVC (drctl pvc list shows them)")
	case o.Mode != Replace && o.Mode != InPlace && o.Mode != "" && o.Mode != Beside:
		return problem(fmt.Sprintf("--mode %s is not known", o.Mode), "give replace or in-place")
	case o.NewName != "" && o.Mode == InPlace:
		return problem("--new-name makes a claim beside the live one, and --mode in-place writes into it", "give one of them")
	case o.NewName == o.Name && o.NewName != "":
		return problem("the copy must not have the name of the claim", "give another --new-name")
	case (o.Merge || o.NoSafety) && o.Mode != InPlace:
		return problem("--merge and --no-safety are for --mode in-place", "leave them out, or give --mode in-place")
	case o.SizeBytes < 0 || o.Timeout < 0:
		return problem("--size and --timeout can't be negative", "give another value")
	}
	return o.Choice.Validate()
}

// mode is the mode that is meant.
func (o Options) mode() Mode {
	switch {
	case o.NewName != "":
		return Beside
	case o.Mode == "":
		return Replace
	}
	return o.Mode
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
	// LostSeconds is the age of the snapshot: what was written since is not in it.
	LostSeconds int64
	// Identity is the cluster that will be changed.
	Identity Identity
	// Wave is Argo CD's sync wave of the claim.
	Wave int
}

func (p *Prepared) warn(format string, args ...any) {
	p.Findings = append(p.Findings, Finding{"warning", fmt.Sprintf(format, args...)})
}

func (p *Prepared) note(format string, args ...any) {
	p.Findings = append(p.Findings, Finding{"note", fmt.Sprintf(format, args...)})
}

func (p *Prepared) gaps(gaps recovery.Gaps) {
	for _, gap := range gaps {
		p.warn("%s", gap.Error())
	}
}
