package kopia

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/readonly"
	"golang.org/x/sync/errgroup"
)

// folderParallelism is how many folders of a listing are read at once.
const folderParallelism = 16

// folder is a repository in a mounted folder, as a blob.Storage that can only read. Kopia's own
// filesystem storage would stat each file of a listing, and writes .shards where it is missing.
type folder struct {
	blob.DefaultProviderImplementation
	files  fs.FS
	name   string
	layout func() (shardLayout, error)
}

// newFolder gives the storage over files, which has the repository's folder as its root. name is for
// messages.
func newFolder(files fs.FS, name string) *folder {
	f := &folder{files: files, name: name}
	f.layout = sync.OnceValues(f.readLayout)
	return f
}

func (f *folder) readLayout() (shardLayout, error) {
	file, err := f.files.Open(shardsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return legacyLayout(), nil
	}
	if err != nil {
		return shardLayout{}, fmt.Errorf("open %s of the repository: %w", shardsFile, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxShardsBytes))
	if err != nil {
		return shardLayout{}, fmt.Errorf("read %s of the repository: %w", shardsFile, err)
	}
	return parseShards(content)
}

// ListBlobs gives the IDs below prefix. Length and Timestamp stay zero: each would cost a stat, and
// reading an index needs neither.
func (f *folder) ListBlobs(ctx context.Context, prefix blob.ID, each func(blob.Metadata) error) error {
	walk := &folderWalk{files: f.files, prefix: string(prefix)}
	walk.group, ctx = errgroup.WithContext(ctx)
	walk.slots = make(chan struct{}, folderParallelism)
	walk.group.Go(func() error { return walk.visit(ctx, ".", "") })
	if err := walk.group.Wait(); err != nil {
		return err
	}
	for _, id := range walk.found {
		if err := each(blob.Metadata{BlobID: id}); err != nil {
			return err
		}
	}
	return nil
}

// folderWalk goes through the folders that can hold blobs with the prefix.
type folderWalk struct {
	files  fs.FS
	prefix string
	group  *errgroup.Group
	slots  chan struct{}

	mu    sync.Mutex
	found []blob.ID
}

func (w *folderWalk) visit(ctx context.Context, name, idSoFar string) error {
	entries, err := w.read(ctx, name)
	if err != nil {
		if name != "." && errors.Is(err, fs.ErrNotExist) {
			return nil // maintenance removed it meanwhile
		}
		return fmt.Errorf("list folder %s of the repository: %w", name, err)
	}
	var found []blob.ID
	for _, entry := range entries {
		id := idSoFar + entry.Name()
		if entry.IsDir() {
			if strings.HasPrefix(id, w.prefix) || strings.HasPrefix(w.prefix, id) {
				w.group.Go(func() error { return w.visit(ctx, join(name, entry.Name()), id) })
			}
			continue
		}
		if id, whole := strings.CutSuffix(id, blobSuffix); whole && strings.HasPrefix(id, w.prefix) {
			found = append(found, blob.ID(id))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, found...)
	return nil
}

func (w *folderWalk) read(ctx context.Context, name string) ([]fs.DirEntry, error) {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
		return fs.ReadDir(w.files, name)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func join(folder, name string) string {
	if folder == "." {
		return name
	}
	return folder + "/" + name
}

// GetBlob implements blob.Storage.
func (f *folder) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	output.Reset()
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := f.open(id)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var from io.Reader = file
	if length >= 0 {
		at, ok := file.(io.ReaderAt)
		if !ok {
			return fmt.Errorf("read blob %s: the file can't be read in parts", id)
		}
		from = io.NewSectionReader(at, offset, length)
	}
	if _, err := io.Copy(output, from); err != nil {
		return fmt.Errorf("read blob %s: %w", id, err)
	}
	return blob.EnsureLengthExactly(output.Length(), length)
}

// GetMetadata implements blob.Storage.
func (f *folder) GetMetadata(_ context.Context, id blob.ID) (blob.Metadata, error) {
	file, err := f.open(id)
	if err != nil {
		return blob.Metadata{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return blob.Metadata{}, fmt.Errorf("stat blob %s: %w", id, err)
	}
	return blob.Metadata{BlobID: id, Length: info.Size(), Timestamp: info.ModTime()}, nil
}

// open opens a blob's file.
func (f *folder) open(id blob.ID) (fs.File, error) {
	layout, err := f.layout()
	if err != nil {
		return nil, err
	}
	file, err := f.files.Open(layout.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", id, blob.ErrBlobNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", id, err)
	}
	return file, nil
}

// PutBlob implements blob.Storage by refusing.
func (f *folder) PutBlob(context.Context, blob.ID, blob.Bytes, blob.PutOptions) error {
	return readonly.ErrReadonly
}

// DeleteBlob implements blob.Storage by refusing.
func (f *folder) DeleteBlob(context.Context, blob.ID) error { return readonly.ErrReadonly }

// IsReadOnly implements blob.Storage.
func (f *folder) IsReadOnly() bool { return true }

// ConnectionInfo implements blob.Storage. Nothing connects by it.
func (f *folder) ConnectionInfo() blob.ConnectionInfo {
	return blob.ConnectionInfo{Type: "drctl-folder"}
}

// DisplayName implements blob.Storage.
func (f *folder) DisplayName() string { return f.name }
