package kopia_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	kopiafs "github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/snapshot"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
)

// countedFiles counts each open of a file or folder. drctl never stats.
type countedFiles struct {
	fs.FS
	opens *atomic.Int64
}

func (f countedFiles) Open(name string) (fs.File, error) {
	f.opens.Add(1)
	return f.FS.Open(name)
}

func (f countedFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	f.opens.Add(1)
	return fs.ReadDir(f.FS, name)
}

// writeMany writes count snapshots of as many sources in one session: one more index blob.
func writeMany(t *testing.T, p *peer, root *snapshot.DirEntry, day, count int) {
	t.Helper()
	require.NoError(t, repo.WriteSession(t.Context(), p.open(t), repo.WriteSessionOptions{Purpose: "test"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		for i := range count {
			start := kopiafs.UTCTimestampFromTime(time.Date(2026, 11, day, 2, 0, 0, i, time.UTC))
			_, err := snapshot.SaveSnapshot(ctx, w, &snapshot.Manifest{
				Source:    snapshot.SourceInfo{Host: fmt.Sprint("namespace-", i), UserName: "app-backup", Path: "/data"},
				StartTime: start, EndTime: start.Add(time.Second), RootEntry: root,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestFileOperations holds the number of operations for 800 snapshots: Kopia needs 84 with an expired
// list cache and everything else cached (internal/bench counts them).
func TestFileOperations(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	root := p.rootEntry(t)
	for day := range 8 {
		writeMany(t, p, root, day+1, 100)
	}
	p.requireEqual(t, 801)
	count := func(cache string) int64 {
		var opens atomic.Int64
		rows := listing(t, p.Dir, kopia.Options{
			Password: password(p.Password), CacheDirectory: cache,
			WrapFiles: func(files fs.FS) fs.FS { return countedFiles{files, &opens} },
		})
		require.Len(t, rows, 801)
		return opens.Load()
	}
	indexes, packs := int64(len(files(t, p.Dir, "xn"))), int64(len(files(t, p.Dir, "q")))
	const walk = 5 // kopia.repository, .shards, the root, x, x/n0_
	require.LessOrEqual(t, count(""), walk+indexes+packs, "without a cache: each file of the index and of manifests once")

	cache := filepath.Join(t.TempDir(), "cache")
	require.LessOrEqual(t, count(cache), walk+indexes+packs)
	require.LessOrEqual(t, count(cache), int64(walk))
	writeMany(t, p, root, 20, 0)
	require.NoError(t, p.Snapshot(t.Context(), "one@more:/data", data(t, "more")))
	var opens atomic.Int64
	require.Len(t, listing(t, p.Dir, kopia.Options{
		Password: password(p.Password), CacheDirectory: cache,
		WrapFiles: func(files fs.FS) fs.FS { return countedFiles{files, &opens} },
	}), 802)
	require.LessOrEqual(t, opens.Load(), int64(16))
}

// TestCacheFolder checks what the cache keeps, for whom, and that a damaged copy is replaced.
func TestCacheFolder(t *testing.T) {
	t.Parallel()
	p, _ := sessions(t, 4)
	cache := filepath.Join(t.TempDir(), "cache")
	o := kopia.Options{Password: password(p.Password), CacheDirectory: cache}
	want := listing(t, p.Dir, o)
	require.Len(t, want, 5)
	each(t, cache, func(name string, dir bool) error {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s is private", name)
		if !dir {
			require.NoError(t, flip(name))
		}
		return nil
	})
	require.Equal(t, want, listing(t, p.Dir, o), "copies that are damaged are read again")
	require.Equal(t, want, listing(t, p.Dir, o))

	_, _, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: password(p.Password), CacheDirectory: filepath.Join(p.Dir, "kopia.repository.f")})
	require.ErrorContains(t, err, "cache folder")
}

// TestSnapshotsAgain lists twice with one opened repository: the second time sees what changed, and
// reads only that.
func TestSnapshotsAgain(t *testing.T) {
	t.Parallel()
	p, _ := sessions(t, 4)
	var reads, lists atomic.Int64
	location, err := kopia.ParseLocation(p.Dir)
	require.NoError(t, err)
	var seen [][2]int
	r, err := kopia.Open(t.Context(), location, kopia.Options{
		Password: password(p.Password),
		Progress: func(done, total int) { seen = append(seen, [2]int{done, total}) },
		Wrap: func(st blob.Storage) blob.Storage {
			return faulty{
				Storage: st,
				get:     func(blob.ID) error { reads.Add(1); return nil },
				list:    func(blob.ID) error { lists.Add(1); return nil },
			}
		},
	})
	require.NoError(t, err)
	count := func() int {
		snapshots, gaps, err := r.Snapshots(t.Context())
		require.NoError(t, err)
		require.Empty(t, gaps)
		return len(snapshots)
	}
	require.Equal(t, 5, count())
	last := seen[len(seen)-1]
	require.Equal(t, last[0], last[1], "everything that was expected was read")

	reads.Store(0)
	lists.Store(0)
	require.Equal(t, 5, count())
	require.Zero(t, reads.Load(), "nothing changed")
	require.Equal(t, int64(1), lists.Load())

	require.NoError(t, p.Snapshot(t.Context(), "one@more:/data", data(t, "more")))
	require.Equal(t, 6, count())
	require.LessOrEqual(t, reads.Load(), int64(6))
	p.run(t, "snapshot", "delete", "--delete", p.list(t)[0].ID)
	require.Equal(t, 5, count())
	p.run(t, "maintenance", "run", "--full", "--safety=none")
	require.Equal(t, 5, count())
	require.NoError(t, r.Close(t.Context()))
}
