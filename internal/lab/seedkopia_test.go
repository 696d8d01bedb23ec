package lab_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// kopiaListed is what the tests read of `kopia snapshot list --all --json`.
type kopiaListed struct {
	ID     string `json:"id"`
	Source struct {
		Host     string `json:"host"`
		UserName string `json:"userName"`
		Path     string `json:"path"`
	} `json:"source"`
	StartTime  time.Time `json:"startTime"`
	EndTime    time.Time `json:"endTime"`
	Incomplete string    `json:"incomplete"`
	Pins       []string  `json:"pins"`
	RootEntry  struct {
		Summary struct {
			Size  int64 `json:"size"`
			Files int   `json:"files"`
		} `json:"summ"`
	} `json:"rootEntry"`
}

func (k kopiaListed) snapshot() lab.KopiaSnapshot {
	return lab.KopiaSnapshot{
		Source:    recovery.KopiaSource{Username: k.Source.UserName, Hostname: k.Source.Host, Path: k.Source.Path},
		StartTime: k.StartTime, EndTime: k.EndTime, SizeBytes: k.RootEntry.Summary.Size, Files: k.RootEntry.Summary.Files,
		Incomplete: k.Incomplete, Pins: k.Pins,
	}
}

// listWithKopia asks the real command line what a repository holds.
func listWithKopia(t *testing.T, k *lab.Kopia, dir string) []kopiaListed {
	t.Helper()
	_, err := k.Run(t.Context(), "repository", "connect", "filesystem", "--path", dir)
	require.NoError(t, err)
	out, err := k.Run(t.Context(), "snapshot", "list", "--all", "--incomplete", "--json", "--no-retention")
	require.NoError(t, err)
	var listed []kopiaListed
	require.NoError(t, json.Unmarshal(out, &listed))
	return listed
}

func TestSeededRepositoryHoldsThePlatformsSnapshots(t *testing.T) {
	s := lab.ForTest(t)
	k, err := s.Kopia(t.Context())
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "repository")
	now := time.Now().UTC()
	require.NoError(t, lab.SeedKopia(t.Context(), dir, k.Password, now, lab.PlatformClaims()))

	var want, got []lab.KopiaSnapshot
	for _, claim := range lab.PlatformClaims() {
		if claim.SharesIdentity {
			continue
		}
		for _, snapshot := range claim.Snapshots {
			start := now.Add(-snapshot.Age)
			want = append(want, lab.KopiaSnapshot{
				Source: claim.Identity, StartTime: start, EndTime: start.Add(7 * time.Second), SizeBytes: snapshot.SizeBytes,
				Files: snapshot.Files, Incomplete: snapshot.Incomplete,
			})
		}
	}
	for _, listed := range listWithKopia(t, k, dir) {
		got = append(got, listed.snapshot())
	}
	require.NotEmpty(t, want)
	require.ElementsMatch(t, want, got)
	_, err = k.Run(t.Context(), "snapshot", "verify", "--verify-files-percent", "100")
	require.NoError(t, err)
}

func TestSeededSnapshotsRestoreTheirOwnFiles(t *testing.T) {
	s := lab.ForTest(t)
	k, err := s.Kopia(t.Context())
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "repository")
	source := recovery.KopiaSource{Username: "data-pvc-backup", Hostname: "karakeep", Path: "/data"}
	start := time.Date(2026, 3, 1, 2, 0, 0, 987654321, time.UTC)
	seeded := []lab.KopiaSnapshot{
		{Source: source, StartTime: start, EndTime: start.Add(time.Second), SizeBytes: 10007, Files: 6, Pins: []string{"before-the-move"}},
		{Source: source, StartTime: start.Add(time.Hour), EndTime: start.Add(time.Hour + time.Second), SizeBytes: 100, Files: 1},
	}
	require.NoError(t, lab.SeedSnapshots(t.Context(), dir, k.Password, seeded))

	listed := listWithKopia(t, k, dir)
	require.Len(t, listed, 2)
	require.Equal(t, seeded, []lab.KopiaSnapshot{listed[0].snapshot(), listed[1].snapshot()})
	target := filepath.Join(t.TempDir(), "restored")
	_, err = k.Run(t.Context(), "snapshot", "restore", listed[0].ID, target)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(target, "*", "*"))
	require.NoError(t, err)
	require.Len(t, files, 6)
	var size int64
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(content), source.String())
		size += int64(len(content))
	}
	require.Equal(t, int64(10007), size)
}

func TestManySnapshots(t *testing.T) {
	for name, tt := range map[string]struct {
		perSession      bool
		atLeast, atMost int // index blobs
	}{
		"one session for all":      {false, 1, 6},
		"a session for a snapshot": {true, 100, 110},
	} {
		t.Run(name, func(t *testing.T) {
			s := lab.ForTest(t)
			k, err := s.Kopia(t.Context())
			require.NoError(t, err)
			dir := filepath.Join(t.TempDir(), "repository")
			require.NoError(t, lab.SeedManySnapshots(t.Context(), dir, k.Password, 50, 2, tt.perSession))

			listed := listWithKopia(t, k, dir)
			require.Len(t, listed, 100)
			sources := map[recovery.KopiaSource]int{}
			incomplete := 0
			for _, one := range listed {
				sources[one.snapshot().Source]++
				if one.Incomplete != "" {
					incomplete++
				}
			}
			require.Len(t, sources, 50)
			require.Equal(t, 2, sources[lab.ManySource(49)])
			require.Equal(t, 2, incomplete)
			blobs, err := k.Run(t.Context(), "index", "list", "--json")
			require.NoError(t, err)
			var indexes []struct{}
			require.NoError(t, json.Unmarshal(blobs, &indexes))
			require.GreaterOrEqual(t, len(indexes), tt.atLeast)
			require.LessOrEqual(t, len(indexes), tt.atMost)
		})
	}
}
