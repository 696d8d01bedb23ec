package kopia

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"golang.org/x/sync/errgroup"
)

// objectBatch is how many small objects (folders, links) are read in one wave. It bounds the memory.
const objectBatch = 4096

// chunk is a part of an object that one content holds.
type chunk struct {
	object object.ID
	offset int64
	// length is -1 when the object is this one chunk, and only the content knows.
	length int64
	info   content.Info
}

// laidOut is where the chunks of one object are, or why that is unknown.
type laidOut struct {
	chunks []chunk
	err    error
}

// layOut finds the chunks of objects. The lists of chunks that large objects have are read in one wave
// a level, for all objects at once.
func (r *Repository) layOut(ctx context.Context, ids []object.ID) ([]laidOut, error) {
	out := make([]laidOut, len(ids))
	for i, id := range ids {
		out[i].chunks = []chunk{{object: id, length: -1}}
	}
	for {
		var lists []object.ID
		for _, o := range out {
			for _, c := range o.chunks {
				if list, indirect := c.object.IndexObjectID(); indirect && o.err == nil {
					lists = append(lists, list)
				}
			}
		}
		if len(lists) == 0 {
			break
		}
		tables, err := r.readTables(ctx, lists)
		if err != nil {
			return nil, err
		}
		for i := range out {
			out[i].expand(tables)
		}
	}
	for i := range out {
		out[i].locate(ctx, r.contents)
	}
	return out, nil
}

// table is the decoded list of chunks of one object.
type table struct {
	entries []object.IndirectObjectEntry
	err     error
}

// expand puts the chunks of an object in the place of their list.
func (o *laidOut) expand(tables map[object.ID]table) {
	if o.err != nil {
		return
	}
	var flat []chunk
	for _, c := range o.chunks {
		list, indirect := c.object.IndexObjectID()
		if !indirect {
			flat = append(flat, c)
			continue
		}
		found := tables[list]
		if found.err != nil {
			o.err = found.err
			return
		}
		for _, e := range found.entries {
			flat = append(flat, chunk{object: e.Object, offset: c.offset + e.Start, length: e.Length})
		}
	}
	o.chunks = flat
}

// locate looks the contents up in the index.
func (o *laidOut) locate(ctx context.Context, contents *content.WriteManager) {
	for i := range o.chunks {
		if o.err != nil {
			return
		}
		id, _, _ := o.chunks[i].object.ContentID()
		o.chunks[i].info, o.err = contents.ContentInfo(ctx, id)
	}
}

// readTables reads lists of chunks. A list may be so long that it has a list of its own.
func (r *Repository) readTables(ctx context.Context, lists []object.ID) (map[object.ID]table, error) {
	if err := r.prefetchObjects(ctx, lists); err != nil {
		return nil, err
	}
	defer r.reader.dropExtents()
	read := make([]table, len(lists))
	err := onAllProcessors(ctx, len(lists), func(i int) {
		read[i].entries, read[i].err = object.LoadIndexObject(ctx, r.contents, lists[i])
	})
	tables := make(map[object.ID]table, len(lists))
	for i, id := range lists {
		tables[id] = read[i]
	}
	return tables, err
}

// prefetchObjects reads the parts of packs that hold the objects.
func (r *Repository) prefetchObjects(ctx context.Context, ids []object.ID) error {
	laid, err := r.layOut(ctx, ids)
	if err != nil {
		return err
	}
	var infos []content.Info
	for _, o := range laid {
		if o.err != nil {
			continue // whoever opens the object gets this error again
		}
		for _, c := range o.chunks {
			infos = append(infos, c.info)
		}
	}
	return r.reader.prefetchExtents(ctx, infos)
}

// readObjects gives what decode makes of small objects. What can't be read or decoded has an error of
// its own; the last error is that of ctx.
func readObjects[T any](ctx context.Context, r *Repository, ids []object.ID, decode func(io.Reader) (T, error)) ([]T, []error, error) {
	read, failed := make([]T, len(ids)), make([]error, len(ids))
	for from := 0; from < len(ids); from += objectBatch {
		batch := ids[from:min(from+objectBatch, len(ids))]
		if err := r.prefetchObjects(ctx, batch); err != nil {
			return nil, nil, err
		}
		err := onAllProcessors(ctx, len(batch), func(i int) {
			var opened object.Reader
			if opened, failed[from+i] = object.Open(ctx, r.contents, batch[i]); failed[from+i] == nil {
				read[from+i], failed[from+i] = decode(opened)
			}
		})
		r.reader.dropExtents()
		if err != nil {
			return nil, nil, err
		}
	}
	return read, failed, nil
}

// onAllProcessors calls work for 0 … n-1. The error is that of ctx.
func onAllProcessors(ctx context.Context, n int, work func(i int)) error {
	group := new(errgroup.Group)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			work(i)
			return nil
		})
	}
	_ = group.Wait() // work keeps its own errors
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("decode objects: %w", err)
	}
	return nil
}
