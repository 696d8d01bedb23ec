package barman

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// serverWarnings says what an operator should know of one server before trusting it.
func (r *reading) serverWarnings(a *archive, server recovery.Server, ends map[string]end) []string {
	warnings := []string{}
	if r.nothing() && r.baseErr == nil && r.walErr == nil {
		return append(warnings, "nothing is stored under "+r.url+": no backup and no WAL")
	}
	warnings = append(warnings, unrestorable(server.Backups)...)
	warnings = append(warnings, r.segmentSizes(a)...)
	if r.walErr != nil {
		return append(warnings, "the WAL archive could not be listed to its end: gaps, and what can be restored, are unknown")
	}
	warnings = append(warnings, r.lostBehindGaps(a, server, ends)...)
	for _, name := range server.WAL.MissingHistory {
		warnings = append(warnings, fmt.Sprintf("%s is missing: recovery cannot follow from an older timeline into timeline %d", name, historyTimeline(name)))
	}
	if n := len(r.wal.misplaced); n > 0 {
		warnings = append(warnings, fmt.Sprintf("%d WAL files stand in a folder where recovery does not look for them, for example %s", n, slices.Min(r.wal.misplaced)))
	}
	return warnings
}

// unrestorable names backups that failed, run, are incomplete or cannot be read; those with the same
// reasons together.
func unrestorable(backups []recovery.Backup) []string {
	var order []string
	alike := map[string][]recovery.Backup{}
	for _, b := range backups {
		if b.Restorable {
			continue
		}
		why := strings.Join(b.Reasons, "; ")
		if alike[why] == nil {
			order = append(order, why)
		}
		alike[why] = append(alike[why], b)
	}
	var warnings []string
	for _, why := range order {
		is := " is"
		if len(alike[why]) > 1 {
			is = " are"
		}
		warnings = append(warnings, naming(alike[why])+is+" not restorable: "+why)
	}
	return warnings
}

func (r *reading) segmentSizes(a *archive) []string {
	var warnings []string
	for _, folder := range r.folders {
		if info, read := r.infos[folder.id]; read && info.Status == statusDone && info.SegmentSize != a.size {
			warnings = append(warnings, fmt.Sprintf("backup %s has WAL segments of %d bytes, the newest one of %d: another database wrote into the same server; WAL continuity is checked for the newest",
				folder.id, info.SegmentSize, a.size))
		}
	}
	if a.impossible > 0 {
		warnings = append(warnings, fmt.Sprintf("%d WAL files have names that do not exist with segments of %d bytes", a.impossible, a.size))
	}
	return warnings
}

// lostBehindGaps names the backups from which recovery stops early, once for each place where it stops.
func (r *reading) lostBehindGaps(a *archive, server recovery.Server, ends map[string]end) []string {
	var order []end
	stopped := map[end][]recovery.Backup{}
	for _, b := range server.Backups {
		e, ok := ends[b.ID]
		if !ok || !a.stopsAt(e) {
			continue
		}
		if stopped[e] == nil {
			order = append(order, e)
		}
		stopped[e] = append(stopped[e], b)
	}
	var warnings []string
	for _, e := range order {
		until := a.arrivedAt(e.timeline, e.number).Format(time.RFC3339)
		text := fmt.Sprintf("WAL is missing behind %s: %s can be recovered to about %s, not later, and recovery says nothing of it",
			a.size.Name(e.timeline, e.number), naming(stopped[e]), until)
		if standalone(stopped[e]) {
			text += " (kept as standalone: only the WAL for its own consistency is kept, on purpose)"
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// stopsAt reports whether recovery ends there though the archive holds later segments that belong to
// it: a gap, not the archive's end.
func (a *archive) stopsAt(e end) bool {
	if _, later := a.lines[e.timeline].oldestFrom(e.number + 1); later && !a.leftAt(e) {
		return true
	}
	for _, g := range a.gaps() {
		if g.afterTimeline == e.timeline && g.after == e.number {
			return true
		}
	}
	return false
}

// leftAt reports whether the timeline was left for a child right behind that segment.
func (a *archive) leftAt(e end) bool {
	for _, fork := range a.forks {
		if fork.Parent == e.timeline && a.size.At(fork.At) == e.number+1 {
			return true
		}
	}
	return false
}

func naming(backups []recovery.Backup) string {
	if len(backups) == 1 {
		return "backup " + backups[0].ID
	}
	return fmt.Sprintf("%d backups (%s to %s)", len(backups), backups[0].ID, backups[len(backups)-1].ID)
}

func standalone(backups []recovery.Backup) bool {
	return len(backups) == 1 && backups[0].KeepTarget == "standalone"
}

func historyTimeline(name string) uint32 {
	parsed, _ := ParseWALName(name)
	return parsed.Timeline
}
