package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"golang.org/x/sync/errgroup"
)

const (
	// width is how many blobs are read at once. Waiting for the storage costs no processor, so it is
	// far above the number of cores; above it, servers begin to throttle.
	width = 64
	// mergeDistance is how many unwanted bytes are read between two wanted parts of a pack rather
	// than asking twice: at 50 MB/s they take about 5 ms, a round trip to a near server.
	mergeDistance = 256 << 10
)

// prefetch reads index blobs all at once. What can't be read is remembered for failures and does not
// stop the rest; the error is only that of ctx.
func (r *reader) prefetch(ctx context.Context, ids []blob.ID) error {
	wanted := r.missing(ids)
	r.progress.expect(len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(width)
	for _, id := range wanted {
		group.Go(func() error {
			content, err := r.fetch(ctx, id, 0, -1)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				_ = r.fail(id, err)
			} else {
				r.keep(id, content)
			}
			r.progress.done()
			return nil
		})
	}
	return group.Wait()
}

func (r *reader) missing(ids []blob.ID) []blob.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var wanted []blob.ID
	for _, id := range ids {
		if _, have := r.whole[id]; !have && !r.loaded[id] {
			wanted = append(wanted, id)
		}
	}
	return wanted
}

// fetch reads a blob or a part of it, from the folder for that on this machine where there is one.
func (r *reader) fetch(ctx context.Context, id blob.ID, offset, length int64) ([]byte, error) {
	if content, ok := r.cache.read(id, offset, length); ok {
		return content, nil
	}
	var got buffer
	if err := r.Storage.GetBlob(ctx, id, offset, length, &got); err != nil {
		return nil, err
	}
	r.cache.write(id, offset, length, got.content)
	return got.content, nil
}

// extent is a part of a pack blob: what was read, or why it could not be.
type extent struct {
	offset, length int64
	content        []byte
	err            error
}

// extentsOf merges the parts of packs that hold the contents, where they are near each other.
func extentsOf(contents []content.Info) map[blob.ID][]extent {
	parts := map[blob.ID][]extent{}
	for _, c := range contents {
		parts[c.PackBlobID] = append(parts[c.PackBlobID], extent{offset: int64(c.PackOffset), length: int64(c.PackedLength)})
	}
	for pack, all := range parts {
		slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.offset, b.offset) })
		merged := all[:1]
		for _, next := range all[1:] {
			last := &merged[len(merged)-1]
			if next.offset > last.offset+last.length+mergeDistance {
				merged = append(merged, next)
				continue
			}
			last.length = max(last.length, next.offset+next.length-last.offset)
		}
		parts[pack] = merged
	}
	return parts
}

// prefetchExtents reads the parts of packs that hold the contents, all at once. As with prefetch,
// what can't be read does not stop the rest.
func (r *reader) prefetchExtents(ctx context.Context, contents []content.Info) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(width)
	for pack, parts := range extentsOf(contents) {
		r.progress.expect(len(parts))
		for _, part := range parts {
			group.Go(func() error {
				part.content, part.err = r.fetch(ctx, pack, part.offset, part.length)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.holdExtent(pack, part)
				r.progress.done()
				return nil
			})
		}
	}
	return group.Wait()
}

// part gives bytes of a pack out of what was read ahead. A part that lies in an extent that could not
// be read gives that error, except when the pack is shorter than it should be: then the part alone is
// worth another try.
func (r *reader) part(pack blob.ID, offset, length int64) (content []byte, known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.extents[pack] {
		if offset < e.offset || offset+length > e.offset+e.length {
			continue
		}
		if errors.Is(e.err, blob.ErrInvalidRange) {
			return nil, false, nil
		}
		if e.err != nil {
			return nil, true, fmt.Errorf("read pack %s at %d: %w", pack, e.offset, e.err)
		}
		return e.content[offset-e.offset : offset-e.offset+length], true, nil
	}
	return nil, false, nil
}

// holdExtent keeps a part of a pack until it is released.
func (r *reader) holdExtent(pack blob.ID, part extent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.extents[pack] = append(r.extents[pack], part)
}

// releaseExtent drops the part of a pack that begins there.
func (r *reader) releaseExtent(pack blob.ID, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.extents[pack] = slices.DeleteFunc(r.extents[pack], func(e extent) bool { return e.offset == offset })
	if len(r.extents[pack]) == 0 {
		delete(r.extents, pack)
	}
}

// dropExtents gives the memory of what was read of packs back.
func (r *reader) dropExtents() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.extents)
}
