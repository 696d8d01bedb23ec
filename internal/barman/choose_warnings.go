package barman

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// shrunk is how many times smaller than the median of its predecessors a backup must be to be
	// suspicious.
	shrunk = 4
	// predecessors is how many of them are looked at.
	predecessors = 7
)

// emptyDatabaseBytes is an upper bound of what Barman stores for a database cluster without any table
// of its own, by suffix of the data files.
// Source: measured with PostgreSQL 15, initdb and nothing else: 22.5 MiB plain, and 2.9 MiB as Barman 3.4.0
// stores it with gzip.
func emptyDatabaseBytes(compression string) int64 {
	if compression == "" {
		return 40 << 20
	}
	return 6 << 20
}

// choiceWarnings says what is odd about the chosen backup, seen from those before it along the lineage.
func choiceWarnings(catalog recovery.Catalog, server recovery.Server, b recovery.Backup, o ChooseOptions) []string {
	warnings := passedOver(server, b, o)
	before := predecessorsOf(catalog, server, b)
	if len(before) == 0 {
		return warnings
	}
	last := before[len(before)-1]
	if last.SystemID != b.SystemID && last.SystemID != "" && b.SystemID != "" {
		text := fmt.Sprintf("backup %s has the PostgreSQL system identifier %s, the one before it (%s/%s) has %s: that is another database, not a continuation", b.ID, b.SystemID, last.server, last.ID, last.SystemID)
		if b.SizeBytes < emptyDatabaseBytes(b.Compression) {
			text += fmt.Sprintf("; with %s it has the size of an EMPTY one", humanize.IBytes(uint64(b.SizeBytes)))
		}
		warnings = append(warnings, text)
	}
	if median, ok := medianBytes(before, b.Compression); ok && b.SizeBytes*shrunk < median {
		warnings = append(warnings, fmt.Sprintf("backup %s has %s, less than a quarter of the %s of those before it: look whether data is missing",
			b.ID, humanize.IBytes(uint64(b.SizeBytes)), humanize.IBytes(uint64(median))))
	}
	if major(last.PostgresVersion) != major(b.PostgresVersion) && last.PostgresVersion != 0 {
		warnings = append(warnings, fmt.Sprintf("PostgreSQL changes from %d (%s/%s) to %d (%s): recovery needs an image of version %d",
			major(last.PostgresVersion), last.server, last.ID, major(b.PostgresVersion), b.ID, major(b.PostgresVersion)))
	}
	return warnings
}

// passedOver names newer backups that would have been taken, were they restorable.
func passedOver(server recovery.Server, b recovery.Backup, o ChooseOptions) []string {
	warnings := []string{}
	if o.BackupID != "" {
		return warnings
	}
	at := slices.IndexFunc(server.Backups, func(other recovery.Backup) bool { return other.ID == b.ID })
	for _, newer := range slices.Backward(server.Backups[at+1:]) {
		tooLate := !o.TargetTime.IsZero() && (newer.EndTime.After(o.TargetTime) || newer.StartTime.After(o.TargetTime))
		if newer.Restorable || tooLate {
			continue
		}
		return append(warnings, fmt.Sprintf("backup %s is taken, because the newer %s is not restorable: %s", b.ID, newer.ID, strings.Join(newer.Reasons, "; ")))
	}
	return warnings
}

// predecessor is a backup before the chosen one.
type predecessor struct {
	recovery.Backup
	server string
}

// predecessorsOf are the finished backups before one, along the lineage, oldest first.
func predecessorsOf(catalog recovery.Catalog, server recovery.Server, b recovery.Backup) []predecessor {
	var before []predecessor
	for _, s := range catalog.Servers {
		for _, other := range s.Backups {
			if s.Name == server.Name && other.ID == b.ID {
				return before
			}
			if other.Status == statusDone {
				before = append(before, predecessor{other, s.Name})
			}
		}
	}
	return before
}

// medianBytes is the median size of the last predecessors that are compressed alike; ok is false when
// there is none.
func medianBytes(before []predecessor, compression string) (median int64, ok bool) {
	var sizes []int64
	for _, p := range slices.Backward(before) {
		if p.Compression == compression && p.Restorable && len(sizes) < predecessors {
			sizes = append(sizes, p.SizeBytes)
		}
	}
	if len(sizes) == 0 {
		return 0, false
	}
	slices.Sort(sizes)
	return sizes[len(sizes)/2], true
}

// major is the 15 in 150018.
func major(version int) int { return version / 10000 }
