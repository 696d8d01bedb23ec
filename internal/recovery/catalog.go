package recovery

import "time"

// Window is the span of times that a server can be recovered to. From is the end of its oldest
// restorable backup. To is the arrival of the last archived WAL in the unbroken run that begins at a
// restorable backup: an upper bound, the last commit in it may be earlier.
// Source: barman retention and CNPG serverRecoveryWindow, FACTS.md of the platform.
type Window struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// IsZero reports whether nothing can be recovered.
func (w Window) IsZero() bool { return w.From.IsZero() }

// Catalog is everything that a Barman destination holds, over all its servers (the lineage).
type Catalog struct {
	DestinationPath string   `json:"destinationPath"`
	Servers         []Server `json:"servers"`
	Warnings        []string `json:"warnings"`
}

// Server is one folder below the destination: <destination>/<serverName>/{base,wals}.
type Server struct {
	Name           string   `json:"name"`
	Backups        []Backup `json:"backups"`
	WAL            WAL      `json:"wal"`
	RecoveryWindow *Window  `json:"recoveryWindow"`
	Warnings       []string `json:"warnings"`
}

// Backup is one base backup.
type Backup struct {
	// ID is the folder's name, YYYYMMDDTHHMMSS.
	ID string `json:"id"`
	// Name is backup_name, empty when the backup has none.
	Name string `json:"name"`
	// Status is DONE, FAILED, EMPTY, STARTED, …, or UNKNOWN when backup.info could not be read.
	Status    string    `json:"status"`
	StartTime time.Time `json:"startTime,omitzero"`
	EndTime   time.Time `json:"endTime,omitzero"`
	BeginWAL  string    `json:"beginWAL"`
	EndWAL    string    `json:"endWAL"`
	Timeline  int64     `json:"timeline"`
	// SystemID is PostgreSQL's system identifier: a 64-bit number, so a string in JSON.
	SystemID string `json:"systemID"`
	// SizeBytes is the size of the data files as stored (compressed), from the object listing.
	SizeBytes int64 `json:"sizeBytes"`
	// PostgresVersion is server_version_num as Barman writes it: 150018.
	PostgresVersion int `json:"postgresVersion"`
	// Kept is true when the backup carries a keep mark (base/<id>/annotations/keep).
	Kept bool `json:"kept"`
	// KeepTarget is the mark's value: full or standalone.
	KeepTarget string `json:"keepTarget,omitempty"`
	// Restorable: status DONE, its data files are there, and every segment BeginWAL..EndWAL is.
	Restorable bool `json:"restorable"`
	// Reasons say why it is not restorable.
	Reasons []string `json:"reasons"`
	// Compression is the suffix of the data files without the dot; empty for plain tar.
	Compression string `json:"compression,omitempty"`
	// Tablespaces are those of backup.info.
	Tablespaces []Tablespace `json:"tablespaces,omitempty"`
}

// Tablespace is one entry of backup.info's tablespaces list.
type Tablespace struct {
	Name     string `json:"name"`
	OID      int64  `json:"oid"`
	Location string `json:"location"`
}

// WAL is what a server's archive holds. SegmentCount counts whole segment files; .partial, .backup
// and .history files are not segments.
type WAL struct {
	SegmentCount int       `json:"segmentCount"`
	First        string    `json:"first"`
	Last         string    `json:"last"`
	LastTime     time.Time `json:"lastTime,omitzero"`
	SizeBytes    int64     `json:"sizeBytes"`
	Timelines    []int64   `json:"timelines"`
	// TimelineDetails has one entry for each of Timelines, in the same order.
	TimelineDetails  []Timeline `json:"timelineDetails"`
	Gaps             []WALGap   `json:"gaps"`
	MissingHistory   []string   `json:"missingHistory"`
	Partials         []string   `json:"partials"`
	SegmentSizeBytes int64      `json:"segmentSizeBytes"`
}

// Timeline is one PostgreSQL timeline of the archive.
type Timeline struct {
	ID           int64  `json:"id"`
	First        string `json:"first"`
	Last         string `json:"last"`
	SegmentCount int    `json:"segmentCount"`
	// Parent and SwitchLSN come from the .history file; zero and empty on timeline 1 or when the file
	// is missing or was not read.
	Parent    int64  `json:"parent,omitempty"`
	SwitchLSN string `json:"switchLSN,omitempty"`
}

// WALGap is a run of segments that are not in the archive: After is the last segment present ahead of
// it, Before the first one behind it, Missing how many are missing between them.
type WALGap struct {
	Timeline int64  `json:"timeline"`
	After    string `json:"after"`
	Before   string `json:"before"`
	Missing  int64  `json:"missing"`
}
