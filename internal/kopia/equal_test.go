package kopia_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/snapshot"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
)

// TestSnapshotsEqualKopia makes one repository of each format, lets it live a little, and compares
// drctl's listing with that of the Kopia program.
func TestSnapshotsEqualKopia(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"default":                      nil,
		"format 1, index of Kopia 0.8": {"--format-version=1"},
		"format 2":                     {"--format-version=2"},
		"format 3, error correction":   {"--format-version=3", "--ecc=REED-SOLOMON-CRC32", "--ecc-overhead-percent=5"},
		"other ciphers":                {"--encryption=CHACHA20-POLY1305-HMAC-SHA256", "--block-hash=BLAKE3-256"},
		"other key derivation":         {"--format-block-key-derivation-algorithm=pbkdf2-sha256-600000", "--block-hash=HMAC-SHA256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, args...)
			require.Empty(t, listing(t, p.Dir, kopia.Options{Password: password(p.Password)}), "a new repository")
			live(t, p)
			p.requireEqual(t, 6)
			p.run(t, "maintenance", "run", "--full", "--safety=none")
			p.requireEqual(t, 6)
			require.NoError(t, p.Snapshot(t.Context(), "last@immich:/data", data(t, "last")))
			p.requireEqual(t, 7)
		})
	}
}

// live makes snapshots of three sources, pins one, deletes two, and leaves two incomplete: six remain.
func live(t *testing.T, p *peer) {
	t.Helper()
	for _, source := range []string{"data-pvc-backup@karakeep:/data", "library-backup@immich:/data", "x@gone:/other/path"} {
		require.NoError(t, p.Snapshot(t.Context(), source, data(t, source)))
		require.NoError(t, p.Snapshot(t.Context(), source, data(t, source, "more")))
	}
	rows := p.list(t)
	p.run(t, "snapshot", "delete", "--delete", rows[0].ID)
	p.run(t, "snapshot", "delete", "--delete", rows[3].ID)
	p.run(t, "snapshot", "pin", "--add=keep", "--add=audit", rows[1].ID)
	r, root := p.open(t), p.manifests(t)[0].RootEntry
	for i, reason := range []string{"checkpoint", "canceled"} {
		start := fs.UTCTimestampFromTime(time.Date(2026, 11, 23, 2, 0, i, 123456789, time.UTC))
		save(t, r, &snapshot.Manifest{
			Source:    snapshot.SourceInfo{Host: "karakeep", UserName: "data-pvc-backup", Path: "/data"},
			StartTime: start, EndTime: start.Add(time.Second), IncompleteReason: reason, RootEntry: root,
		})
	}
}

// readIDs notes which index blobs are read.
type readIDs struct {
	blob.Storage
	mu  *sync.Mutex
	ids *[]string
}

func (s readIDs) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	if strings.HasPrefix(string(id), "x") {
		s.mu.Lock()
		*s.ids = append(*s.ids, string(id))
		s.mu.Unlock()
	}
	return s.Storage.GetBlob(ctx, id, offset, length, output)
}

// TestSnapshotsOverManyEpochs compares through index compactions of one epoch and of ranges of them,
// and checks that what is fetched ahead is what Kopia uses, each blob once.
func TestSnapshotsOverManyEpochs(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.run(t, "repository", "set-parameters", "--epoch-min-duration=10m", "--epoch-refresh-frequency=1m",
		"--epoch-cleanup-safety-margin=30m", "--epoch-advance-on-count=10", "--epoch-checkpoint-frequency=3")
	root := p.rootEntry(t)
	for epoch := range 9 {
		writeSessions(t, p, root, epoch, 11)
		age(t, p.Dir, "x/n"+fmt.Sprint(epoch)+"_", time.Hour)
		p.run(t, "maintenance", "run", "--full", "--safety=none")
		if epoch%2 == 0 {
			p.requireEqual(t, 1+11*(epoch+1))
		}
	}
	p.requireEqual(t, 100)

	active := strings.Fields(string(p.run(t, "index", "list")))
	kinds := map[string]bool{}
	active = slices.DeleteFunc(active, func(field string) bool { return !strings.HasPrefix(field, "x") })
	for _, id := range active {
		kinds[id[:2]] = true
	}
	require.Contains(t, kinds, "xr", "the test means to have a range checkpoint: %v", active)
	require.Contains(t, kinds, "xn")
	var mu sync.Mutex
	var read []string
	listing(t, p.Dir, kopia.Options{Password: password(p.Password), Wrap: func(st blob.Storage) blob.Storage { return readIDs{st, &mu, &read} }})
	require.ElementsMatch(t, active, read)
}

// writeSessions writes count snapshots, each with an index blob of its own.
func writeSessions(t *testing.T, p *peer, root *snapshot.DirEntry, epoch, count int) {
	t.Helper()
	r := p.open(t)
	for i := range count {
		start := fs.UTCTimestampFromTime(time.Date(2026, 11, 1+epoch, i, 0, 0, 1, time.UTC))
		save(t, r, &snapshot.Manifest{
			Source:    snapshot.SourceInfo{Host: fmt.Sprintf("namespace-%d", i%3), UserName: "app-backup", Path: "/data"},
			StartTime: start, EndTime: start.Add(time.Minute), RootEntry: root,
		})
	}
}

// age makes half of the files below a folder older, as if the epoch had lasted that long.
func age(t *testing.T, repository, folder string, by time.Duration) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(repository, folder))
	require.NoError(t, err)
	for _, entry := range entries[:len(entries)/2] {
		name := filepath.Join(repository, folder, entry.Name())
		require.NoError(t, os.Chtimes(name, time.Time{}, time.Now().Add(-by)))
	}
}

// TestSnapshotsAfterUpgrade lists a repository that began with the old index and was upgraded.
func TestSnapshotsAfterUpgrade(t *testing.T) {
	t.Parallel()
	p := newPeer(t, "--format-version=1")
	root := p.rootEntry(t)
	writeSessions(t, p, root, 0, 20)
	p.run(t, "index", "optimize", "--all", "--dangerous-commands=enabled")
	p.requireEqual(t, 21)
	p.run(t, "repository", "set-parameters", "--upgrade")
	writeSessions(t, p, root, 1, 5)
	p.requireEqual(t, 26)
}
