package recovery

// RestoreLog is what a mover's own lines say of a restore. VolSync's result "Successful" says none of it:
// a mover that finds nothing ends well, too.
type RestoreLog struct {
	// SelectedID is the snapshot that the mover chose, empty when no line says so.
	SelectedID string
	// Nothing: the mover found no snapshot and restored nothing.
	Nothing bool
	// Counted is true when Kopia said how much it restored; the numbers mean something only then.
	Counted                 bool
	FileCount, DirCount     int64
	SymlinkCount, SizeBytes int64
	// Errors are lines that tell of a failure.
	Errors []string
}

// BackupLog is what a mover's own lines say of a backup.
type BackupLog struct {
	// Empty: the volume held nothing, and no snapshot was made.
	Empty bool
	// SnapshotID is the snapshot that was made, empty when no line says so.
	SnapshotID string
	Errors     []string
}
