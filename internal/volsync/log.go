package volsync

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// The lines that count, as the mover's script and Kopia print them. All are anchored: what VolSync keeps in
// a status may begin in the middle of a line.
//
// VolSync keeps the last 1,024 bytes of a restore's lines that tell of an error, or that no snapshot was
// eligible: which snapshot was selected, and how much was restored, stand only in the Pod's log (older
// versions of the fork keep Kopia's line, too). Of a backup it keeps the last 1,024 bytes of all lines, so
// Kopia's line is often pushed out.
// Source: perfectra1n/volsync mover-kopia/entry.sh; its LogFilter and FilterLogs (MOVER_LOG_MAX_BYTES);
// kopia cli/command_restore.go printRestoreStats, cli/command_snapshot_create.go.
const (
	selectedLine = `^\s*Selected snapshot with id:\s+([0-9a-zA-Z]+)\s*$`
	restoredLine = `^\s*Restored (\d+) files, (\d+) directories and (\d+) symbolic links \(([^)]*)\)(.*)$`
	createdLine  = `^\s*Created( partial)? snapshot with root (\S+) and ID ([0-9a-zA-Z]+) in `
	ignoredText  = `ignored (\d+) errors`
	failureLine  = `(?i)(^|[^a-z-])(errors?|fatal|failed|unable to)([^a-z-]|$)`

	noneEligible = "No eligible snapshots found"
	noData       = "=== No data will be restored ==="
	emptyVolume  = "Directory is empty skipping backup"
)

const (
	// mostErrors and mostErrorBytes bound what is kept of failures.
	mostErrors     = 20
	mostErrorBytes = 400
)

// ParseRestoreLog reads the lines of a mover that restores: of a Pod's log, or what a status keeps of it.
// Where it holds several attempts, the last one counts.
func ParseRestoreLog(text string) recovery.RestoreLog {
	selected, restored, ignored := regexp.MustCompile(selectedLine), regexp.MustCompile(restoredLine), regexp.MustCompile(ignoredText)
	failure := regexp.MustCompile(failureLine)
	var log recovery.RestoreLog
	for line := range lines(text) {
		if match := selected.FindStringSubmatch(line); match != nil {
			log = recovery.RestoreLog{SelectedID: match[1], Errors: log.Errors}
			continue
		}
		if match := restored.FindStringSubmatch(line); match != nil {
			countRestored(&log, match)
			if more := ignored.FindStringSubmatch(match[5]); more != nil {
				log.Errors = addError(log.Errors, "Kopia "+more[0])
			}
			continue
		}
		switch {
		case strings.Contains(line, noneEligible), strings.Contains(line, noData):
			log = recovery.RestoreLog{Nothing: true, Errors: log.Errors}
		case failure.MatchString(line):
			log.Errors = addError(log.Errors, line)
		}
	}
	return log
}

// countRestored takes Kopia's numbers; one that does not fit is no number.
func countRestored(log *recovery.RestoreLog, match []string) {
	var counts [3]int64
	for i := range counts {
		count, err := strconv.ParseInt(match[i+1], 10, 64)
		if err != nil {
			return
		}
		counts[i] = count
	}
	log.Counted, log.Nothing = true, false
	log.FileCount, log.DirCount, log.SymlinkCount, log.SizeBytes = counts[0], counts[1], counts[2], sizeOf(match[4])
}

// ParseBackupLog reads the lines of a mover that backs up. A partial snapshot is none.
func ParseBackupLog(text string) recovery.BackupLog {
	created, failure := regexp.MustCompile(createdLine), regexp.MustCompile(failureLine)
	var log recovery.BackupLog
	for line := range lines(text) {
		match := created.FindStringSubmatch(line)
		switch {
		case match != nil && match[1] != "":
			log.Errors = addError(log.Errors, line)
		case match != nil:
			log.SnapshotID, log.Empty = match[3], false
		case strings.Contains(line, emptyVolume):
			log.SnapshotID, log.Empty = "", true
		case failure.MatchString(line):
			log.Errors = addError(log.Errors, line)
		}
	}
	return log
}

// lines are those of a text, whatever ends them: Kopia overwrites its progress by carriage returns.
func lines(text string) func(yield func(string) bool) {
	return strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' })
}

func addError(errors []string, line string) []string {
	line = strings.ToValidUTF8(cut(strings.TrimSpace(line), mostErrorBytes), "")
	if len(errors) == mostErrors {
		errors = errors[1:] // the last ones say why it ended
	}
	return append(errors, line)
}

// sizeOf reads a size as Kopia rounds it for people ("1.5 MB", "700 B", "2 GiB"); 0 when it is none.
func sizeOf(text string) int64 {
	number, unit, _ := strings.Cut(text, " ")
	value, err := strconv.ParseFloat(number, 64)
	factor := map[string]float64{
		"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50,
	}[unit]
	size := value * factor
	if err != nil || math.IsNaN(size) || size < 0 || size >= math.MaxInt64 {
		return 0
	}
	return int64(size)
}
