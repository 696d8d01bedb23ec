package recovery

import "time"

// KopiaSource is whom a snapshot belongs to, in Kopia's words: username@hostname:path.
type KopiaSource struct {
	Username string `json:"username"`
	Hostname string `json:"hostname"`
	Path     string `json:"path"`
}

// String gives Kopia's own notation, user@host:path.
func (s KopiaSource) String() string { return s.Username + "@" + s.Hostname + ":" + s.Path }

// Snapshot is one Kopia snapshot manifest. An incomplete one is a checkpoint of an unfinished upload:
// it is not a recovery point.
type Snapshot struct {
	// ID is the manifest ID, as `kopia snapshot list --json` gives it in "id".
	ID     string
	Source KopiaSource
	// StartTime keeps the manifest's nanoseconds: VolSync compares restoreAsOf with it as a string.
	StartTime time.Time
	EndTime   time.Time
	// SizeBytes, FileCount, DirCount, ErrorCount come from rootEntry.summ (size, files, dirs,
	// numFailed); zero when the manifest has no summary.
	SizeBytes  int64
	FileCount  int64
	DirCount   int64
	ErrorCount int64
	// Incomplete is Kopia's reason ("checkpoint", "canceled", …), empty for a complete snapshot.
	Incomplete string
	Pins       []string
	// RootID is the object ID of the root entry, empty when there is none.
	RootID string
}

// Complete reports whether the snapshot can be restored as a whole.
func (s Snapshot) Complete() bool { return s.Incomplete == "" }

// A snapshot with less than half of its predecessor's bytes or files is called a collapse: freshly initialised
// files of an application become the newest snapshot just like real ones. Below these sizes a change of that kind
// is everyday.
const (
	collapseFraction = 2
	collapseMinBytes = 1 << 20
	collapseMinFiles = 10
)

// CollapsedSince reports whether the snapshot holds far fewer bytes, and far fewer files, than an earlier one of
// its source.
func (s Snapshot) CollapsedSince(before Snapshot) (inBytes, inFiles bool) {
	inBytes = before.SizeBytes >= collapseMinBytes && s.SizeBytes < before.SizeBytes/collapseFraction
	inFiles = before.FileCount >= collapseMinFiles && s.FileCount < before.FileCount/collapseFraction
	return inBytes, inFiles
}
