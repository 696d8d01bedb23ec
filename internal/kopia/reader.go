package kopia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/readonly"
	"github.com/kopia/kopia/repo/format"
)

// Prefixes of the blobs that make up the index.
// Source: kopia internal/epoch/epoch_manager.go and repo/content/indexblob/index_blob_manager_v0.go.
const (
	prefixEpochs         blob.ID = "x"
	prefixOldIndex       blob.ID = "n"
	prefixOldCompactions blob.ID = "m"
)

// retentionBlob holds settings for writing only, so reading does without it.
// Source: kopia repo/format/blobcfg_blob.go, KopiaBlobCfgBlobID.
const retentionBlob blob.ID = format.KopiaBlobCfgBlobID

// reader is the storage that Kopia's own code is given. It never writes. Index listings and index
// blobs come out of memory, where prefetch put them; so does what prefetchExtents read of the packs.
type reader struct {
	blob.Storage
	cache    *diskCache
	progress *progress

	mu sync.Mutex
	// lists holds the sorted IDs of one listing for each index prefix.
	lists map[blob.ID][]blob.ID
	// whole holds index blobs and the format blob; failed why one could not be read.
	whole  map[blob.ID][]byte
	failed map[blob.ID]error
	// extents holds parts of packs.
	extents map[blob.ID][]extent
	// loaded are the index blobs that Kopia has already decoded, so that they are not read again.
	loaded map[blob.ID]bool
}

func newReader(backend blob.Storage, cache *diskCache, p *progress) *reader {
	return &reader{
		Storage: readonly.NewWrapper(backend), cache: cache, progress: p,
		lists: map[blob.ID][]blob.ID{}, whole: map[blob.ID][]byte{}, failed: map[blob.ID]error{},
		extents: map[blob.ID][]extent{}, loaded: map[blob.ID]bool{},
	}
}

// indexPrefix gives which of the index prefixes an ID or prefix belongs to.
func indexPrefix(id blob.ID) (blob.ID, bool) {
	for _, prefix := range []blob.ID{prefixEpochs, prefixOldIndex, prefixOldCompactions} {
		if strings.HasPrefix(string(id), string(prefix)) {
			return prefix, true
		}
	}
	return "", false
}

// ListBlobs implements blob.Storage. What is known to be unreadable is left out, so that Kopia can go
// on with the rest; the caller reports it as a gap.
func (r *reader) ListBlobs(ctx context.Context, prefix blob.ID, each func(blob.Metadata) error) error {
	root, ok := indexPrefix(prefix)
	if !ok {
		return r.Storage.ListBlobs(ctx, prefix, each)
	}
	ids, err := r.list(ctx, root)
	if err != nil {
		return err
	}
	from, _ := slices.BinarySearch(ids, prefix)
	for _, id := range ids[from:] {
		if !strings.HasPrefix(string(id), string(prefix)) {
			return nil
		}
		if r.failure(id) != nil {
			continue
		}
		if err := each(blob.Metadata{BlobID: id}); err != nil {
			return err
		}
	}
	return nil
}

// list gives the sorted IDs of one index prefix, from memory after the first time.
func (r *reader) list(ctx context.Context, root blob.ID) ([]blob.ID, error) {
	r.mu.Lock()
	ids, ok := r.lists[root]
	r.mu.Unlock()
	if ok {
		return ids, nil
	}
	err := r.Storage.ListBlobs(ctx, root, func(m blob.Metadata) error {
		ids = append(ids, m.BlobID)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list index blobs %s*: %w", root, err)
	}
	slices.Sort(ids)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists[root] = ids
	return ids, nil
}

// forget drops the listings and what was found unreadable, so that the next listing is fresh. Index
// blobs never change under their name: those that Kopia decoded are not read again.
func (r *reader) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.lists)
	clear(r.failed)
	clear(r.extents)
	clear(r.whole)
}

// settle drops the bytes of index blobs once Kopia holds them decoded.
func (r *reader) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.whole {
		r.loaded[id] = true
	}
	clear(r.whole)
}

// GetBlob implements blob.Storage.
func (r *reader) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	if id == retentionBlob {
		return blob.ErrBlobNotFound
	}
	if length < 0 {
		if err := r.failure(id); err != nil {
			return err
		}
		if content, ok := r.kept(id); ok {
			return write(output, content)
		}
		return r.readIndex(ctx, id, output)
	}
	content, known, err := r.part(id, offset, length)
	if err != nil {
		return err
	}
	if known {
		return write(output, content)
	}
	return r.Storage.GetBlob(ctx, id, offset, length, output)
}

// errGone stands for Kopia's "not found" on an index blob: Kopia answers that one by sleeping and
// trying again for almost a minute, while drctl lists anew at once.
var errGone = errors.New("it was listed and is not there")

// readIndex reads a whole blob that was not foreseen, and remembers why when it can't be read.
func (r *reader) readIndex(ctx context.Context, id blob.ID, output blob.OutputBuffer) error {
	err := r.Storage.GetBlob(ctx, id, 0, -1, output)
	if _, index := indexPrefix(id); err == nil || !index || ctx.Err() != nil {
		return err
	}
	return r.fail(id, err)
}

func (r *reader) fail(id blob.ID, err error) error {
	if errors.Is(err, blob.ErrBlobNotFound) {
		err = errGone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[id] = err
	return err
}

func (r *reader) failure(id blob.ID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed[id]
}

// failures gives what could not be read of the index.
func (r *reader) failures() map[blob.ID]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[blob.ID]error, len(r.failed))
	for id, err := range r.failed {
		all[id] = err
	}
	return all
}

func (r *reader) keep(id blob.ID, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole[id] = content
}

func (r *reader) kept(id blob.ID) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	content, ok := r.whole[id]
	return content, ok
}

func write(output blob.OutputBuffer, content []byte) error {
	output.Reset()
	_, err := output.Write(content)
	return err
}

// buffer is a blob.OutputBuffer over plain bytes.
type buffer struct{ content []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.content = append(b.content, p...)
	return len(p), nil
}

func (b *buffer) Reset()      { b.content = b.content[:0] }
func (b *buffer) Length() int { return len(b.content) }

// wholeIndex gives the index blobs that were fetched and are not yet decoded.
func (r *reader) wholeIndex() map[blob.ID][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[blob.ID][]byte{}
	for id, content := range r.whole {
		if _, index := indexPrefix(id); index {
			all[id] = content
		}
	}
	return all
}

// reread forgets blobs here and in the cache folder, so that they come out of the repository again.
func (r *reader) reread(ids []blob.ID) {
	for _, id := range ids {
		r.cache.remove(id, 0, -1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		delete(r.whole, id)
	}
}
