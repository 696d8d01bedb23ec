package kopia_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	kopiafs "github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// TestExtractWithDamage flips one byte of a pack at many places: the command fails, names the file, no
// such file is there, and all others are as they were. A byte that belongs to nothing harms nobody.
func TestExtractWithDamage(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for i := range 30 {
		require.NoError(t, os.WriteFile(filepath.Join(data, fmt.Sprintf("%02d", i)), random(uint64(i), 20_000+i), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(data, "large"), random(99, 12<<20), 0o600))
	p := newPeer(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, data))
	packs := files(t, p.Dir, "p")
	damaged := 0
	for round := range 12 {
		pack := packs[round%len(packs)]
		whole, err := os.ReadFile(pack)
		require.NoError(t, err)
		spoilt := append([]byte(nil), whole...)
		spoilt[rand.N(len(spoilt))] ^= 1
		require.NoError(t, os.WriteFile(pack, spoilt, 0o600))
		into := t.TempDir()
		report, gaps, err := extract(t.Context(), p.source(), into)
		require.NoError(t, err)
		require.Len(t, gaps, len(report.Failed))
		require.Equal(t, 31, report.FileCount+len(report.Failed))
		for i, failed := range report.Failed {
			damaged++
			require.NoFileExists(t, filepath.Join(into, failed.Path))
			require.ErrorIs(t, gaps[i], recovery.ErrDamaged)
			require.Contains(t, gaps[i].What, failed.Path)
		}
		requireOnlyWhole(t, data, into)
		require.NoError(t, os.WriteFile(pack, whole, 0o600))
	}
	require.Positive(t, damaged, "the damage was never seen")

	for what, spoil := range map[string]func(string) error{"truncated": truncate, "missing": os.Remove} {
		whole, err := os.ReadFile(packs[0])
		require.NoError(t, err)
		require.NoError(t, spoil(packs[0]))
		into := t.TempDir()
		report, gaps, err := extract(t.Context(), p.source(), into)
		require.True(t, err != nil || len(gaps) > 0, what)
		require.NotEmpty(t, report.Failed, what)
		requireOnlyWhole(t, data, into)
		require.NoError(t, os.WriteFile(packs[0], whole, 0o600))
	}
}

// TestExtractWhenTheServerGoes cuts the connection after each number of reads of packs: never success,
// and never a file that is not whole.
func TestExtractWhenTheServerGoes(t *testing.T) {
	t.Parallel()
	data := makeVolume(t)
	p := newPeer(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, data))
	gone := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	for after := int64(0); ; after++ {
		require.Less(t, after, int64(50))
		var reads atomic.Int64
		s := p.source()
		s.options.Wrap = func(st blob.Storage) blob.Storage {
			return faulty{Storage: st, get: func(id blob.ID) error {
				if strings.HasPrefix(string(id), "p") && reads.Add(1) > after {
					return gone
				}
				return nil
			}}
		}
		into := t.TempDir()
		report, gaps, err := extract(t.Context(), s, into)
		requireOnlyWhole(t, data, into)
		if err == nil && len(gaps) == 0 {
			require.Equal(t, 49, report.FileCount)
			return
		}
		if err != nil {
			require.ErrorIs(t, err, recovery.ErrUnreachable)
		}
	}
}

// craft writes a snapshot of the volume whose folders hold what Kopia itself would never write.
func (p *peer) craft(t *testing.T, root func(file, link object.ID, folder func(...*snapshot.DirEntry) object.ID) []*snapshot.DirEntry) {
	t.Helper()
	require.NoError(t, repo.WriteSession(t.Context(), p.open(t), repo.WriteSessionOptions{Purpose: "test"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		put := func(prefix string, plain []byte) object.ID {
			writer := w.NewObjectWriter(ctx, object.WriterOptions{Prefix: content.IDPrefix(prefix)})
			defer func() { require.NoError(t, writer.Close()) }()
			_, err := writer.Write(plain)
			require.NoError(t, err)
			id, err := writer.Result()
			require.NoError(t, err)
			return id
		}
		folder := func(entries ...*snapshot.DirEntry) object.ID {
			manifest, err := json.Marshal(snapshot.DirManifest{StreamType: "kopia:directory", Entries: entries})
			require.NoError(t, err)
			return put("k", manifest)
		}
		id := folder(root(put("", []byte("evil")), put("", []byte("..")), folder)...)
		now := kopiafs.UTCTimestampFromTime(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
		_, err := snapshot.SaveSnapshot(ctx, w, &snapshot.Manifest{
			Source:    snapshot.SourceInfo{UserName: "data-pvc-backup", Host: "karakeep", Path: "/data"},
			StartTime: now, EndTime: now,
			RootEntry: &snapshot.DirEntry{Name: "data", Type: snapshot.EntryTypeDirectory, Permissions: 0o755, ObjectID: id},
		})
		return err
	}))
}

// TestExtractStaysInside tries every way out of the folder: none is found, what is harmless is there,
// and the rest is named.
func TestExtractStaysInside(t *testing.T) {
	t.Parallel()
	entry := func(name string, kind snapshot.EntryType, id object.ID) *snapshot.DirEntry {
		return &snapshot.DirEntry{Name: name, Type: kind, Permissions: 0o755, FileSize: 4, ObjectID: id}
	}
	p := newPeer(t)
	p.craft(t, func(file, link object.ID, folder func(...*snapshot.DirEntry) object.ID) []*snapshot.DirEntry {
		evil := folder(entry("evil", snapshot.EntryTypeFile, file))
		var entries []*snapshot.DirEntry
		for _, name := range []string{"..", ".", "", "../evil", "/evil", "a/../../evil", "a\x00b"} {
			entries = append(entries, entry(name, snapshot.EntryTypeFile, file), entry(name, snapshot.EntryTypeDirectory, evil))
		}
		return append(entries,
			entry("up", snapshot.EntryTypeSymlink, link), entry("up", snapshot.EntryTypeDirectory, evil), entry("up", snapshot.EntryTypeFile, file),
			entry("device", "x", file), entry("there", snapshot.EntryTypeDirectory, evil), entry("good", snapshot.EntryTypeFile, file))
	})
	outside := t.TempDir()
	into := filepath.Join(outside, "into")
	require.NoError(t, os.Mkdir(into, 0o700))
	// What stands in the folder already must not lead out either.
	require.NoError(t, os.Symlink(outside, filepath.Join(into, "there")))
	report, gaps, err := extract(t.Context(), p.source(), into)
	require.NoError(t, err)
	require.Equal(t, 1, report.FileCount)
	require.Len(t, gaps, 14+2+1+2, "%v", gaps)
	require.Equal(t, []string{"there", "there/evil"}, []string{report.Failed[0].Path, report.Failed[1].Path})
	content, err := os.ReadFile(filepath.Join(into, "good"))
	require.NoError(t, err)
	require.Equal(t, "evil", string(content))
	target, err := os.Readlink(filepath.Join(into, "up"))
	require.NoError(t, err)
	require.Equal(t, "..", target)
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 1, "something was written outside")
}

// TestExtractOfAWrongSize is a folder that says another size than the contents have.
func TestExtractOfAWrongSize(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.craft(t, func(file, _ object.ID, _ func(...*snapshot.DirEntry) object.ID) []*snapshot.DirEntry {
		return []*snapshot.DirEntry{{Name: "half", Type: snapshot.EntryTypeFile, Permissions: 0o600, FileSize: 8, ObjectID: file}}
	})
	into := t.TempDir()
	_, _, err := extract(t.Context(), p.source(), into)
	require.ErrorContains(t, err, "4 bytes, its folder says 8")
	require.NoFileExists(t, filepath.Join(into, "half"))
}
