package volsync

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const goodRestore = `=== Starting restore operation ===
Discovery mode enabled - will list available snapshots if restore fails
Selecting snapshot to restore
Looking for snapshots with identity: data-pvc-backup@karakeep:/data
Selected snapshot with id: 8a6f2f0d1c3b4e5a
Executing restore command...
DEBUG Restore command: kopia snapshot restore 8a6f . --write-files-atomically --ignore-permission-errors
Restoring to local filesystem (/restore/data) with parallelism=8...
Processed 3 (1 KB) of 6 (2 KB) 1 MB/s (50%) remaining 0s.` + "\r" + `Processed 9 (2 KB) of 9 (2 KB).
Restored 6 files, 2 directories and 1 symbolic links (1.5 MB).

Snapshot restore completed successfully
`

func TestParseRestoreLog(t *testing.T) {
	tests := map[string]struct {
		text string
		want recovery.RestoreLog
	}{
		"nothing said": {"", recovery.RestoreLog{}},
		"a whole run": {goodRestore, recovery.RestoreLog{
			SelectedID: "8a6f2f0d1c3b4e5a", Counted: true, FileCount: 6, DirCount: 2, SymlinkCount: 1, SizeBytes: 1_500_000,
		}},
		"nothing restored": {
			"No eligible snapshots found\nNo snapshots found for a@b:/data\n=== No data will be restored ===\n", recovery.RestoreLog{Nothing: true},
		},
		"what a status keeps of that": {"No eligible snapshots found", recovery.RestoreLog{Nothing: true}},
		"selected, then failed": {
			"Selected snapshot with id: abc\nERROR: unable to open file\nFailed to restore snapshot: abc\n",
			recovery.RestoreLog{SelectedID: "abc", Errors: []string{"ERROR: unable to open file", "Failed to restore snapshot: abc"}},
		},
		"errors that were ignored": {
			"Selected snapshot with id: abc\nRestored 1 files, 1 directories and 0 symbolic links (0 B), skipped 2 (3 B), ignored 4 errors.",
			recovery.RestoreLog{SelectedID: "abc", Counted: true, FileCount: 1, DirCount: 1, Errors: []string{"Kopia ignored 4 errors"}},
		},
		"a second attempt counts": {
			goodRestore + "Selected snapshot with id: def\n",
			recovery.RestoreLog{SelectedID: "def"},
		},
		"nothing after something": {goodRestore + "=== No data will be restored ===", recovery.RestoreLog{Nothing: true}},
		"begun in the middle of a line": {
			"lected snapshot with id: abc\nred 6 files, 2 directories and 1 symbolic links (1 B).", recovery.RestoreLog{},
		},
		"said by a file's name": {
			"restoring /restore/data/Selected snapshot with id: abc\n'Restored 6 files, 2 directories and 1 symbolic links (1 B).'", recovery.RestoreLog{},
		},
		"no number": {"Restored 99999999999999999999 files, 2 directories and 1 symbolic links (1 B).", recovery.RestoreLog{}},
		"no size":   {"Restored 1 files, 2 directories and 3 symbolic links (much).", recovery.RestoreLog{Counted: true, FileCount: 1, DirCount: 2, SymlinkCount: 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, ParseRestoreLog(test.text))
		})
	}
}

func TestParseBackupLog(t *testing.T) {
	tests := map[string]struct {
		text string
		want recovery.BackupLog
	}{
		"made":    {"Snapshotting a@b:/data ...\nCreated snapshot with root kabc and ID 0123abc in 2s\nMAINTENANCE_STATUS: SUCCESS", recovery.BackupLog{SnapshotID: "0123abc"}},
		"partial": {"Created partial snapshot with root kabc and ID 0123abc in 2s", recovery.BackupLog{Errors: []string{"Created partial snapshot with root kabc and ID 0123abc in 2s"}}},
		"empty":   {"=== Running as SOURCE ====\nDirectory is empty skipping backup\n", recovery.BackupLog{Empty: true}},
		"pushed out": {
			"OPERATION SUMMARY\nOperation end time: 2026-11-24T02:00:00Z", recovery.BackupLog{},
		},
		"failed": {"ERROR error uploading\n", recovery.BackupLog{Errors: []string{"ERROR error uploading"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, ParseBackupLog(test.text))
		})
	}
}

func TestErrorsAreBounded(t *testing.T) {
	log := ParseRestoreLog(strings.Repeat("error: "+strings.Repeat("ü", 1000)+"\n", 100) + "error: the last")
	require.Len(t, log.Errors, mostErrors)
	require.LessOrEqual(t, len(log.Errors[0]), mostErrorBytes)
	require.Equal(t, "error: the last", log.Errors[mostErrors-1])
}

func FuzzMoverLog(f *testing.F) {
	f.Add(goodRestore)
	f.Add("Created partial snapshot with root kabc and ID 0123abc in 2s\nDirectory is empty skipping backup\n")
	f.Add("Restored 1 files, 2 directories and 3 symbolic links (1e400 PB), ignored 4 errors")
	f.Fuzz(func(t *testing.T, text string) {
		restore, backup := ParseRestoreLog(text), ParseBackupLog(text)
		require.False(t, restore.Nothing && (restore.Counted || restore.SelectedID != ""), "either something or nothing")
		require.False(t, backup.Empty && backup.SnapshotID != "")
		require.GreaterOrEqual(t, min(restore.FileCount, restore.DirCount, restore.SymlinkCount, restore.SizeBytes), int64(0))
		for _, line := range append(restore.Errors, backup.Errors...) {
			require.LessOrEqual(t, len(line), mostErrorBytes)
			require.True(t, utf8.ValidString(line))
			require.NotContains(t, line, "\n")
		}
		if restore.SelectedID != "" {
			require.Contains(t, text, "Selected snapshot with id:")
		}
	})
}
