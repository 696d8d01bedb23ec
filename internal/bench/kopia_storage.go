package bench

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/filesystem"
	"github.com/kopia/kopia/repo/blob/sharded"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/snapshot"
)

// counter counts operations, and may delay them.
type counter struct{ operations atomic.Int64 }

func (c *counter) total() int64 { return c.operations.Load() }
func (c *counter) reset()       { c.operations.Store(0) }

// countFiles counts what drctl does with files: each open of a file or a folder, each stat.
func (c *counter) countFiles(files fs.FS) fs.FS { return countedFiles{files, c} }

type countedFiles struct {
	fs.FS
	count *counter
}

func (f countedFiles) Open(name string) (fs.File, error) {
	f.count.operations.Add(1)
	return f.FS.Open(name)
}

func (f countedFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	f.count.operations.Add(1)
	return fs.ReadDir(f.FS, name)
}

// delay slows each operation of a storage and counts it.
func (c *counter) delay(pause time.Duration) func(blob.Storage) blob.Storage {
	return func(st blob.Storage) blob.Storage { return slowStorage{st, c, pause} }
}

type slowStorage struct {
	blob.Storage
	count *counter
	pause time.Duration
}

func (s slowStorage) wait(ctx context.Context) error {
	s.count.operations.Add(1)
	select {
	case <-time.After(s.pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slowStorage) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Storage.GetBlob(ctx, id, offset, length, output)
}

func (s slowStorage) GetMetadata(ctx context.Context, id blob.ID) (blob.Metadata, error) {
	if err := s.wait(ctx); err != nil {
		return blob.Metadata{}, err
	}
	return s.Storage.GetMetadata(ctx, id)
}

func (s slowStorage) ListBlobs(ctx context.Context, prefix blob.ID, each func(blob.Metadata) error) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Storage.ListBlobs(ctx, prefix, each)
}

// openFolder gives the storage of a repository's folder for Kopia's library.
type openFolder func(ctx context.Context, dir string) (blob.Storage, error)

// delayStorage is Kopia's own filesystem storage, slowed.
func (c *counter) delayStorage(pause time.Duration) openFolder {
	return func(ctx context.Context, dir string) (blob.Storage, error) {
		st, err := filesystem.New(ctx, &filesystem.Options{Path: dir}, false)
		if err != nil {
			return nil, err
		}
		return c.delay(pause)(st), nil
	}
}

// countStorage does what Kopia's filesystem storage does on reading, operation by operation, and
// counts: a listing opens each folder and stats each entry.
// Source: kopia repo/blob/filesystem/filesystem_storage.go, ReadDir and GetBlobFromPath.
func (c *counter) countStorage(_ context.Context, dir string) (blob.Storage, error) {
	return &countedFolder{Storage: sharded.New(countedImpl{count: c}, dir, sharded.Options{}, false)}, nil
}

type countedFolder struct {
	sharded.Storage
	blob.DefaultProviderImplementation
}

func (f *countedFolder) ConnectionInfo() blob.ConnectionInfo { return blob.ConnectionInfo{} }
func (f *countedFolder) DisplayName() string                 { return f.RootPath }

type countedImpl struct {
	sharded.Impl // writing is not called
	count        *counter
}

func (i countedImpl) GetBlobFromPath(_ context.Context, _, file string, offset, length int64, output blob.OutputBuffer) error {
	i.count.operations.Add(1)
	output.Reset()
	content, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return blob.ErrBlobNotFound
	}
	if err != nil {
		return err
	}
	if length >= 0 {
		content = content[offset : offset+length]
	}
	_, err = output.Write(content)
	return err
}

func (i countedImpl) GetMetadataFromPath(_ context.Context, _, file string) (blob.Metadata, error) {
	i.count.operations.Add(1)
	info, err := os.Stat(file)
	if os.IsNotExist(err) {
		return blob.Metadata{}, blob.ErrBlobNotFound
	}
	if err != nil {
		return blob.Metadata{}, err
	}
	return blob.Metadata{Length: info.Size(), Timestamp: info.ModTime()}, nil
}

func (i countedImpl) ReadDir(_ context.Context, name string) ([]os.FileInfo, error) {
	entries, err := os.ReadDir(name)
	i.count.operations.Add(1 + int64(len(entries)))
	if err != nil {
		return nil, err
	}
	infos := make([]os.FileInfo, 0, len(entries))
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// kopiaLibrary is Kopia's library, connected as the command line connects.
type kopiaLibrary struct{ config, password string }

// connectLibrary connects Kopia's library to a storage, with the command line's cache settings except
// that a cached listing expires at once.
func (r *kopiaRepository) connectLibrary(ctx context.Context, open openFolder) (*kopiaLibrary, error) {
	r.connections++
	home := filepath.Join(r.Home, fmt.Sprintf("library-%d-%d", r.connections, time.Now().UnixNano()))
	kind := "drctl-bench-" + filepath.Base(home)
	type none struct{}
	blob.AddSupportedStorage(kind, none{}, func(ctx context.Context, _ *none, _ bool) (blob.Storage, error) {
		st, err := open(ctx, r.dir)
		return named{st, kind}, err
	})
	st, err := open(ctx, r.dir)
	if err != nil {
		return nil, err
	}
	k := &kopiaLibrary{filepath.Join(home, "repository.config"), r.Password}
	err = repo.Connect(ctx, k.config, named{st, kind}, k.password, &repo.ConnectOptions{
		ClientOptions: repo.ClientOptions{ReadOnly: true},
		CachingOptions: content.CachingOptions{
			CacheDirectory: filepath.Join(home, "cache"), ContentCacheSizeBytes: 5000 << 20, MetadataCacheSizeBytes: 5000 << 20,
			MaxListCacheDuration: 0.000001,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("bench: connect Kopia's library: %w", err)
	}
	return k, nil
}

type named struct {
	blob.Storage
	kind string
}

func (n named) ConnectionInfo() blob.ConnectionInfo {
	return blob.ConnectionInfo{Type: n.kind, Config: struct{}{}}
}

// list does what `kopia snapshot list --all --no-retention` does.
// Source: kopia cli/command_snapshot_list.go.
func (k *kopiaLibrary) list(ctx context.Context) (int, error) {
	r, err := repo.Open(ctx, k.config, k.password, &repo.Options{DisableRepositoryLog: true})
	if err != nil {
		return 0, fmt.Errorf("bench: open with Kopia's library: %w", err)
	}
	ids, err := snapshot.ListSnapshotManifests(ctx, r, nil, nil)
	if err != nil {
		return 0, err
	}
	manifests, err := snapshot.LoadSnapshots(ctx, r, ids)
	if err != nil {
		return 0, err
	}
	return len(manifests), r.Close(ctx)
}
