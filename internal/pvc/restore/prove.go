package restore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Result of a check.
type Result string

// The results. Unknown is never success.
const (
	Proven    Result = "proven"
	Disproved Result = "disproved"
	Unknown   Result = "unknown"
)

// ErrUnproven ends a restore whose data could not be proven to be those of the snapshot.
var ErrUnproven = errors.New("not proven")

// Verdict is what the mover's lines say of the data.
type Verdict struct {
	Result   Result
	Observed string
	Expected string
	// next is what to do about it.
	next string
}

// judge compares the mover's own words with the plan: the snapshot's ID, and the number of its files.
func judge(p *Params, log recovery.RestoreLog) Verdict {
	v := Verdict{Expected: fmt.Sprintf("snapshot %s with %d files", p.Snapshot.ID, p.Snapshot.FileCount)}
	switch {
	case log.Nothing:
		v.Result, v.Observed = Disproved, "the mover found no snapshot of "+p.Identity.String()+", and restored nothing"
		v.next = "compare the identities: drctl pvc snapshots " + p.target()
	case log.SelectedID != "" && log.SelectedID != p.Snapshot.ID:
		v.Result, v.Observed = Disproved, "the mover restored another snapshot: "+log.SelectedID
		v.next = "see which ones there are: drctl pvc snapshots " + p.target() + " --incomplete"
	case len(log.Errors) > 0 && !log.Counted:
		v.Result, v.Observed = Disproved, "the mover said: "+log.Errors[0]
		v.next = "mend that and try again"
	case ignored(log) != "":
		// Kopia counts a file before it writes it, so the number says nothing here.
		// Source: kopia snapshot/restore/restore.go, copyEntryInternal.
		v.Result, v.Observed = Disproved, "files could not be written: "+ignored(log)
		v.next = "see its log, or take the files out without VolSync: drctl pvc extract " + p.target()
	case log.Counted && log.FileCount != p.Snapshot.FileCount:
		v.Result, v.Observed = Disproved, fmt.Sprintf("the mover restored %d files", log.FileCount)
		v.next = "try again, or take the files out without VolSync: drctl pvc extract " + p.target()
	case log.SelectedID == "":
		v.Result, v.Observed = Unknown, "no line of the mover names the snapshot that it restored"
		v.next = "see its log, or take the files out without VolSync: drctl pvc extract " + p.target()
	case !log.Counted:
		v.Result, v.Observed = Unknown, "no line of the mover says how many files it restored"
		v.next = "see its log, or take the files out without VolSync: drctl pvc extract " + p.target()
	default:
		v.Result, v.Observed = Proven, fmt.Sprintf("snapshot %s, %d files restored", log.SelectedID, log.FileCount)
	}
	return v
}

// ignored is the line that says that Kopia went on over failures, empty for none.
func ignored(log recovery.RestoreLog) string {
	for _, line := range log.Errors {
		if strings.Contains(line, "ignored ") {
			return line
		}
	}
	return ""
}

// problem is the error of a verdict that is not good.
func (v Verdict) problem(run *operation.Run, p *Params) error {
	next := v.next
	if p.Mode == InPlace {
		next = "to give up, drctl abort " + run.Plan.ID + " --give-up (the Pods start on the volume as it is); to try again, " + v.next
		if !p.NoSafety {
			next = "the volume as it was is VolumeSnapshot " + safetyName(run.Plan.ID) + ", and comes back as claim " + p.rescue() + " by: " +
				strings.Join(p.oldVolume(run.Plan.ID).BringBack, " && ") + "; " + next
		}
	}
	return &recovery.Problem{
		What: run.Step.Title, Why: v.Observed + "; expected " + v.Expected, Next: next, Err: errors.Join(operation.ErrNotVerified, ErrUnproven),
	}
}

// lastLine is the last line that says something, of the first text that has one.
func lastLine(texts ...string) string {
	for _, text := range texts {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if line := strings.TrimSpace(lines[len(lines)-1]); line != "" {
			return line
		}
	}
	return ""
}

// after is a text behind its lead, or nothing.
func after(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}
