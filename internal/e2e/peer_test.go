package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// snapshotFacts are what drctl and Kopia must agree on.
type snapshotFacts struct {
	ID, Username, Hostname, Path string
	StartTime, EndTime           time.Time
	SizeBytes                    int64
	Incomplete                   string
}

func sortedFacts(facts []snapshotFacts) []snapshotFacts {
	sort.Slice(facts, func(i, j int) bool { return facts[i].ID < facts[j].ID })
	return facts
}

func factsOfDrctl(t *testing.T, out string) []snapshotFacts {
	t.Helper()
	var list struct {
		Items []struct {
			ID                 string
			StartTime, EndTime time.Time
			SizeBytes          int64
			Incomplete         string
			Source             struct{ Username, Hostname, Path string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	facts := make([]snapshotFacts, 0, len(list.Items))
	for _, s := range list.Items {
		facts = append(facts, snapshotFacts{s.ID, s.Source.Username, s.Source.Hostname, s.Source.Path, s.StartTime.UTC(), s.EndTime.UTC(), s.SizeBytes, s.Incomplete})
	}
	return sortedFacts(facts)
}

func factsOfKopia(t *testing.T, out []byte) []snapshotFacts {
	t.Helper()
	var list []struct {
		ID                 string
		StartTime, EndTime time.Time
		Incomplete         string
		Source             struct{ UserName, Host, Path string }
		RootEntry          struct{ Summ struct{ Size int64 } }
	}
	require.NoError(t, json.Unmarshal(out, &list))
	facts := make([]snapshotFacts, 0, len(list))
	for _, s := range list {
		facts = append(facts, snapshotFacts{s.ID, s.Source.UserName, s.Source.Host, s.Source.Path, s.StartTime.UTC(), s.EndTime.UTC(), s.RootEntry.Summ.Size, s.Incomplete})
	}
	return sortedFacts(facts)
}

// TestSnapshotsEqualKopias compares a repository of 5,500 snapshots of 500 sources, and that drctl
// leaves it as it was, to the byte and to the second.
func TestSnapshotsEqualKopias(t *testing.T) {
	const sources, each = 500, 11
	l := shared.Lab(t)
	kopia, err := l.Stack.Kopia(t.Context())
	require.NoError(t, err)
	repository := filepath.Join(t.TempDir(), "repository")
	require.NoError(t, lab.SeedManySnapshots(t.Context(), repository, kopia.Password, sources, each, false))
	before := treeFacts(t, repository)

	ours := run(t, l, []string{"KOPIA_PASSWORD=" + kopia.Password}, "pvc", "snapshots", "-A", "--incomplete", "-o", "json", "--repo", repository)
	require.Zero(t, ours.code, ours.stderr)
	require.Equal(t, before, treeFacts(t, repository), "a listing must not touch the repository")

	_, err = kopia.Run(t.Context(), "repository", "connect", "filesystem", "--readonly", "--path", repository)
	require.NoError(t, err)
	theirs, err := kopia.Run(t.Context(), "snapshot", "list", "--all", "--json", "--incomplete")
	require.NoError(t, err)
	facts := factsOfDrctl(t, ours.stdout)
	require.Len(t, facts, sources*each)
	require.Equal(t, factsOfKopia(t, theirs), facts)
}

// treeFacts are name, size, mode, time and content of everything below dir.
func treeFacts(t *testing.T, dir string) map[string]string {
	t.Helper()
	facts := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := ""
		if !entry.IsDir() {
			bytes, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(bytes)
		}
		facts[path] = fmt.Sprint(info.Size(), info.Mode(), info.ModTime().UnixNano(), content)
		return nil
	}))
	return facts
}

// backupFacts are what drctl and Barman must agree on.
type backupFacts struct {
	ID, Name, Status string
	Begin, End       string
	BeginWAL, EndWAL string
	Timeline         int64
	SystemID         string
	Version          int
}

// TestBackupsEqualBarmans compares every server of the recorded catalogs with what
// barman-cloud-backup-list says, and the WAL archive with what the recording knows of it.
func TestBackupsEqualBarmans(t *testing.T) {
	l := shared.Lab(t)
	servers, err := lab.RecordedServers()
	require.NoError(t, err)
	compared := 0
	for _, recorded := range servers {
		t.Run(recorded.Server, func(t *testing.T) {
			destination := "s3://" + lab.PlatformBucket + "/cnpg/" + recorded.Destination
			ours := run(t, l, l.Environment(), "cnpg", "backups", "--destination-path", destination, "--endpoint-url", l.MinIO.EndpointURL,
				"--server-name", recorded.Server, "-o", "json")
			require.Zero(t, ours.code, ours.stderr)
			theirs, err := l.Stack.BarmanList(t.Context(), l.MinIO, destination, recorded.Server)
			require.NoError(t, err)
			server := onlyServer(t, ours.stdout)
			require.Equal(t, factsOfBarman(t, theirs), server.facts())
			compared += len(server.Backups)

			require.Equal(t, recorded.SegmentCount, server.WAL.SegmentCount)
			require.Equal(t, recorded.Timelines, server.WAL.Timelines)
			require.Equal(t, recorded.SegmentSizeBytes, server.WAL.SegmentSizeBytes)
			require.ElementsMatch(t, recorded.MissingHistory, server.WAL.MissingHistory)
			require.ElementsMatch(t, recorded.Partials, server.WAL.Partials)
			require.Len(t, server.WAL.Gaps, len(recorded.Gaps))
			for i, gap := range recorded.Gaps {
				require.Equal(t, walGap{gap.Timeline, gap.After, gap.Before, gap.Missing}, server.WAL.Gaps[i])
			}
			for _, backup := range recorded.Backups {
				require.Equal(t, backup.Restorable, server.restorable(t, backup.ID), backup.ID+": "+backup.Why)
			}
		})
	}
	require.Greater(t, compared, 5)
}

type walGap struct {
	Timeline      int64
	After, Before string
	Missing       int64
}

type catalogServer struct {
	Name    string
	Backups []struct {
		ID, Name, Status   string
		StartTime, EndTime time.Time
		BeginWAL, EndWAL   string
		Timeline           int64
		SystemID           string
		PostgresVersion    int
		Restorable         bool
		Reasons            []string
	}
	WAL struct {
		SegmentCount     int
		Timelines        []int64
		SegmentSizeBytes int64
		MissingHistory   []string
		Partials         []string
		Gaps             []walGap
	}
}

func onlyServer(t *testing.T, out string) catalogServer {
	t.Helper()
	var catalog struct{ Servers []catalogServer }
	require.NoError(t, json.Unmarshal([]byte(out), &catalog))
	require.Len(t, catalog.Servers, 1)
	return catalog.Servers[0]
}

func (s catalogServer) restorable(t *testing.T, id string) bool {
	t.Helper()
	for _, backup := range s.Backups {
		if backup.ID == id {
			require.Equal(t, backup.Restorable, len(backup.Reasons) == 0)
			return backup.Restorable
		}
	}
	require.Fail(t, "no backup "+id)
	return false
}

func (s catalogServer) facts() map[string]backupFacts {
	facts := map[string]backupFacts{}
	for _, b := range s.Backups {
		facts[b.ID] = backupFacts{b.ID, b.Name, b.Status, second(b.StartTime), second(b.EndTime), b.BeginWAL, b.EndWAL, b.Timeline, b.SystemID, b.PostgresVersion}
	}
	return facts
}

// second is how precise Barman's JSON is.
func second(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

func factsOfBarman(t *testing.T, out []byte) map[string]backupFacts {
	t.Helper()
	var list struct {
		Backups []struct {
			BackupID   string      `json:"backup_id"`
			BackupName string      `json:"backup_name"`
			Status     string      `json:"status"`
			BeginTime  string      `json:"begin_time"`
			EndTime    string      `json:"end_time"`
			BeginWAL   string      `json:"begin_wal"`
			EndWAL     string      `json:"end_wal"`
			Timeline   int64       `json:"timeline"`
			SystemID   json.Number `json:"systemid"`
			Version    int         `json:"version"`
		} `json:"backups_list"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&list), string(out))
	facts := map[string]backupFacts{}
	for _, b := range list.Backups {
		facts[b.BackupID] = backupFacts{
			b.BackupID, b.BackupName, b.Status, ctime(t, b.BeginTime), ctime(t, b.EndTime), b.BeginWAL, b.EndWAL, b.Timeline, strings.Trim(b.SystemID.String(), `"`), b.Version,
		}
	}
	return facts
}

// ctime reads the form that Barman's JSON gives times in, in the local zone of the program.
func ctime(t *testing.T, text string) string {
	t.Helper()
	if text == "" || text == "None" {
		return ""
	}
	moment, err := time.ParseInLocation(time.ANSIC, text, time.UTC)
	require.NoError(t, err)
	return second(moment)
}
