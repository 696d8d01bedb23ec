package lab_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

const recordedBucket, recordedPrefix = "postgres-backups", "cnpg"

func TestRecordingGivesBackWhatWasRecorded(t *testing.T) {
	content := bytes.Repeat([]byte("a page of a database\n"), 5000)
	var packed, squeezed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, err := zip.Write(content)
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	snap := snappy.NewBufferedWriter(&squeezed)
	_, err = snap.Write(content)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	var recording bytes.Buffer
	require.NoError(t, lab.WriteRecording(&recording, []lab.RecordedObject{
		{Key: "a/data.tar.gz", Body: packed.Bytes()}, {Key: "a/data.tar.snappy", Body: squeezed.Bytes()},
		{Key: "a/data.tar", Body: content}, {Key: "a/empty", Body: nil},
		{Key: "a/segment", Body: append([]byte("wal"), make([]byte, 5000)...)}, {Key: "a/unwanted", Body: content}, {Key: "b/data.tar", Body: content},
	}))

	plain := map[string]string{}
	choose := func(key string) (take, more bool) { return key != "a/unwanted", path.Dir(key) == "a" }
	require.NoError(t, lab.ReadRecording(&recording, choose, func(key string, stored func() ([]byte, error)) error {
		body, err := stored()
		require.NoError(t, err)
		var reader io.Reader = bytes.NewReader(body)
		switch path.Ext(key) {
		case ".gz":
			reader, err = gzip.NewReader(reader)
			require.NoError(t, err)
		case ".snappy":
			reader = snappy.NewReader(reader)
		}
		text, err := io.ReadAll(reader)
		require.NoError(t, err)
		plain[key] = string(text)
		return nil
	}))
	require.Equal(t, map[string]string{"a/data.tar.gz": string(content), "a/data.tar.snappy": string(content), "a/data.tar": string(content), "a/empty": "", "a/segment": "wal" + string(make([]byte, 5000))}, plain)
}

func TestRecordingThatIsCutOffIsAnError(t *testing.T) {
	var recording bytes.Buffer
	require.NoError(t, lab.WriteRecording(&recording, []lab.RecordedObject{{Key: "a/data.tar", Body: bytes.Repeat([]byte("x"), 1<<20)}}))
	half := bytes.NewReader(recording.Bytes()[:recording.Len()/2])
	err := lab.ReadRecording(half, func(string) (bool, bool) { return true, true }, func(string, func() ([]byte, error)) error { return nil })
	require.Error(t, err)
}

func TestRecordingsStaySmall(t *testing.T) {
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(root, lab.BarmanRecordingFile))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(6<<20))
}

func loadRecording(t *testing.T, destinations ...string) (*lab.Stack, *lab.MinIO) {
	t.Helper()
	s := lab.ForTest(t)
	m, err := s.MinIO(t.Context())
	require.NoError(t, err)
	require.NoError(t, lab.LoadBarmanRecording(t.Context(), m, recordedBucket, recordedPrefix, destinations...))
	return s, m
}

func TestRecordedCatalogsAreWhatTheirFactsSay(t *testing.T) {
	s, m := loadRecording(t)
	servers, err := lab.RecordedServers()
	require.NoError(t, err)
	require.Len(t, servers, 5)
	segment := regexp.MustCompile(`/([0-9A-F]{24})(\.[a-z0-9]+)?$`)
	for _, server := range servers {
		t.Run(server.Server, func(t *testing.T) {
			var facts, listed []lab.RecordedBackup
			for _, backup := range server.Backups {
				facts = append(facts, lab.RecordedBackup{ID: backup.ID, Name: backup.Name, Status: backup.Status, Timeline: backup.Timeline})
			}
			destination := "s3://" + path.Join(recordedBucket, recordedPrefix, server.Destination)
			for _, backup := range listBackups(t, s, m, destination, server.Server).Backups {
				listed = append(listed, lab.RecordedBackup{ID: backup.ID, Name: backup.Name, Status: backup.Status, Timeline: int64(backup.Timeline)})
				require.Equal(t, server.SystemID, backup.SystemID)
			}
			require.ElementsMatch(t, facts, listed)

			keys, err := m.Keys(t.Context(), recordedBucket, path.Join(recordedPrefix, server.Destination, server.Server)+"/wals/")
			require.NoError(t, err)
			present := map[string]bool{}
			for _, key := range keys {
				if match := segment.FindStringSubmatch(key); match != nil && match[2] != ".partial" {
					present[match[1]] = true
				}
			}
			require.Len(t, present, server.SegmentCount)
			for _, gap := range server.Gaps {
				require.True(t, present[gap.After] && present[gap.Before], "the sides of %+v", gap)
				require.Equal(t, gap.Missing, number(t, gap.Before)-number(t, gap.After)-1)
			}
		})
	}
}

// number is a segment's place in its log file; the recorded gaps do not span log files.
func number(t *testing.T, segment string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(segment[16:], 16, 64)
	require.NoError(t, err)
	return n
}

// TestRecordedBackupsRestore proves that the recordings are backups: what comes out of PostgreSQL after
// barman-cloud-restore and the archived WAL is what went in. The backup in snappy is left to Barman's
// readers elsewhere: the python3-snappy of Debian 12 cannot read it either.
func TestRecordedBackupsRestore(t *testing.T) {
	s, m := loadRecording(t)
	servers, err := lab.RecordedServers()
	require.NoError(t, err)
	for _, tt := range []struct{ server, compression string }{
		{"immich-database-v2", "gzip"}, {"forgejo-database-v1", "gzip"}, {"wiki-database", "bzip2"},
	} {
		t.Run(tt.server, func(t *testing.T) {
			server, backup := newestRecorded(t, servers, tt.server, tt.compression)
			destination := "s3://" + path.Join(recordedBucket, recordedPrefix, server.Destination)
			pg, err := s.RecoverPostgres(t.Context(), lab.PostgresRecovery{From: m.Barman(destination, server.Server), BackupID: backup})
			require.NoError(t, err)
			rows, err := pg.Exec(t.Context(), server.Database, server.SQL)
			require.NoError(t, err)
			require.Equal(t, server.Rows, rows)
			identifier, err := pg.Exec(t.Context(), "postgres", "select system_identifier from pg_control_system()")
			require.NoError(t, err)
			require.Equal(t, server.SystemID, identifier)
			require.NoError(t, pg.Stop())
		})
	}
}

func newestRecorded(t *testing.T, servers []lab.RecordedServer, name, compression string) (lab.RecordedServer, string) {
	t.Helper()
	for _, server := range servers {
		newest := ""
		for _, backup := range server.Backups {
			if server.Server == name && backup.Restorable && backup.Compression == compression {
				newest = max(newest, backup.ID)
			}
		}
		if newest != "" {
			return server, newest
		}
	}
	require.FailNow(t, "no such recorded backup", "%s in %s", name, compression)
	return lab.RecordedServer{}, ""
}
