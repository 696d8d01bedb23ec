package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/object"
	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/recovery"
)

// longestExtent is how much of a pack is read at once: three reads for a usual pack of 20 MB, and a
// bounded memory of this much for each of the reads that run at the same time.
const longestExtent = 8 << 20

// Read gives the contents of files (entries of type file) to the sink. Every wanted content is read and
// decoded once, however many files hold it, in the order of the packs: neighbours come in one read, and
// parallel reads run at once. Kopia's own decoding proves each content.
//
// A file that can't be read is told to the sink and stops nothing. The error is for what stops
// everything: ctx, the sink, a server that is gone. Files that were then neither done nor failed are
// not whole. Call Snapshots first: it reads the index.
func (r *Repository) Read(ctx context.Context, files []recovery.File, parallel int, sink recovery.FileSink) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx = quiet(ctx)
	s, err := r.newScatter(ctx, files, sink)
	if err != nil {
		return readProblem(r.location, err)
	}
	defer r.reader.dropExtents()
	runs := s.runs()
	r.reader.progress.expect(len(runs))
	group, groupCtx := errgroup.WithContext(ctx)
	next := make(chan run)
	group.Go(func() error {
		defer close(next)
		for _, run := range runs {
			select {
			case next <- run:
			case <-groupCtx.Done():
				return groupCtx.Err()
			}
		}
		return nil
	})
	for range max(1, parallel) {
		group.Go(func() error {
			var memory buffer
			for run := range next {
				if err := s.read(groupCtx, run, &memory); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	if err := cmp.Or(ctx.Err(), err); err != nil {
		return readProblem(r.location, err)
	}
	return nil
}

// scatter brings contents to the files that want them.
type scatter struct {
	repository *Repository
	sink       recovery.FileSink
	pieces     []*piece
	states     []fileState
	// decoding has room for as many as there are processors: Kopia keeps its buffers for that many, and
	// more at once would only take memory.
	decoding chan struct{}
}

// piece is one content and everybody who wants it.
type piece struct {
	chunk   chunk
	targets []target
}

// target is a part of a file.
type target struct {
	file   int
	offset int64
}

// fileState counts what a file still waits for.
type fileState struct {
	mu      sync.Mutex
	missing int
	// given and wanted are bytes.
	given, wanted int64
	err           error
}

// newScatter finds out where the contents of the files are.
func (r *Repository) newScatter(ctx context.Context, files []recovery.File, sink recovery.FileSink) (*scatter, error) {
	s := &scatter{repository: r, sink: sink, states: make([]fileState, len(files)), decoding: make(chan struct{}, runtime.GOMAXPROCS(0))}
	ids := make([]object.ID, len(files))
	for i, f := range files {
		id, err := object.ParseID(f.ObjectID)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Path, err)
		}
		ids[i] = id
	}
	laid, err := r.layOut(ctx, ids)
	if err != nil {
		return nil, err
	}
	known := map[object.ID]*piece{}
	for i, o := range laid {
		s.states[i].missing, s.states[i].wanted = len(o.chunks), files[i].SizeBytes
		if o.err != nil {
			sink.Failed(i, damage(o.err))
			continue
		}
		if len(o.chunks) == 0 {
			if err := s.noContent(i); err != nil {
				return nil, err
			}
		}
		for _, c := range o.chunks {
			p := known[c.object]
			if p == nil {
				p = &piece{chunk: c}
				known[c.object] = p
				s.pieces = append(s.pieces, p)
			}
			p.targets = append(p.targets, target{file: i, offset: c.offset})
		}
	}
	return s, nil
}

// noContent gives a file whose list of chunks is empty.
func (s *scatter) noContent(file int) error {
	s.states[file].missing = 1
	return s.give(target{file: file}, nil, nil)
}

// run is a part of a pack with the pieces in it, sorted by offset.
type run struct {
	pack   blob.ID
	part   extent
	pieces []*piece
}

// runs groups the pieces by pack and merges neighbours. They come in the order of the first file that
// wants something of them, so that files are finished one after the other.
func (s *scatter) runs() []run {
	sorted := slices.Clone(s.pieces)
	slices.SortFunc(sorted, func(a, b *piece) int {
		return cmp.Or(cmp.Compare(a.chunk.info.PackBlobID, b.chunk.info.PackBlobID), cmp.Compare(a.chunk.info.PackOffset, b.chunk.info.PackOffset))
	})
	var all []run
	for _, p := range sorted {
		offset, end := int64(p.chunk.info.PackOffset), int64(p.chunk.info.PackOffset)+int64(p.chunk.info.PackedLength)
		if len(all) > 0 {
			last := &all[len(all)-1]
			near := offset <= last.part.offset+last.part.length+mergeDistance
			if last.pack == p.chunk.info.PackBlobID && near && end-last.part.offset <= longestExtent {
				last.part.length = max(last.part.length, end-last.part.offset)
				last.pieces = append(last.pieces, p)
				continue
			}
		}
		all = append(all, run{pack: p.chunk.info.PackBlobID, part: extent{offset: offset, length: end - offset}, pieces: []*piece{p}})
	}
	slices.SortStableFunc(all, func(a, b run) int { return cmp.Compare(a.firstFile(), b.firstFile()) })
	return all
}

func (r run) firstFile() int {
	least := r.pieces[0].targets[0].file
	for _, p := range r.pieces {
		least = min(least, p.targets[0].file) // targets are in the order of files
	}
	return least
}

// read reads one run and gives what is in it.
func (s *scatter) read(ctx context.Context, run run, memory *buffer) error {
	reader := s.repository.reader
	if int64(cap(memory.content)) < run.part.length {
		memory.content = make([]byte, 0, run.part.length)
	}
	run.part.err = reader.Storage.GetBlob(ctx, run.pack, run.part.offset, run.part.length, memory)
	if err := ctx.Err(); err != nil {
		return err
	}
	if serverIsGone(run.part.err) {
		return run.part.err
	}
	run.part.content = memory.content
	reader.holdExtent(run.pack, run.part)
	defer reader.releaseExtent(run.pack, run.part.offset)
	for _, p := range run.pieces {
		content, err := s.decode(ctx, p.chunk)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if serverIsGone(err) {
			return err
		}
		for _, t := range p.targets {
			if err := s.give(t, content, err); err != nil {
				return err
			}
		}
	}
	reader.progress.done()
	return nil
}

// serverIsGone tells what will stop every other read as well from damage to one pack.
func serverIsGone(err error) bool {
	var operation *net.OpError
	var lookup *net.DNSError
	var answer minio.ErrorResponse
	return errors.As(err, &operation) || errors.As(err, &lookup) || errors.As(err, &answer) || errors.Is(err, recovery.ErrUnreachable)
}

// decode gives the plain content of a chunk. Kopia decrypts, proves and decompresses it.
func (s *scatter) decode(ctx context.Context, c chunk) ([]byte, error) {
	s.decoding <- struct{}{}
	defer func() { <-s.decoding }()
	id, compressed, _ := c.object.ContentID()
	var plain []byte
	var err error
	if compressed { // as Kopia before 0.9 did it, see kopia repo/object/object_reader.go
		var opened object.Reader
		if opened, err = object.Open(ctx, s.repository.contents, c.object); err == nil {
			plain, err = io.ReadAll(opened)
		}
	} else {
		plain, err = s.repository.contents.GetContent(ctx, id)
	}
	if err == nil && c.length >= 0 && int64(len(plain)) != c.length {
		err = fmt.Errorf("content %s holds %d bytes, its list says %d", id, len(plain), c.length)
	}
	return plain, err
}

// give hands a part of a file over, or says why it can't, and ends the file with its last part.
func (s *scatter) give(t target, content []byte, err error) error {
	state := &s.states[t.file]
	if err == nil && !state.hasFailed() {
		if err := s.sink.Part(t.file, t.offset, content); err != nil {
			return err
		}
	}
	last, whole, err := state.count(int64(len(content)), err)
	if !last {
		return nil
	}
	if whole {
		return s.sink.Done(t.file)
	}
	s.sink.Failed(t.file, damage(err))
	return nil
}

func (f *fileState) hasFailed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}

// count notes one part, and says with the last one whether the file is whole, or why not.
func (f *fileState) count(bytes int64, failure error) (last, whole bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missing--
	f.given += bytes
	if f.err == nil {
		f.err = failure
	}
	if f.missing == 0 && f.err == nil && f.given != f.wanted {
		f.err = fmt.Errorf("its contents have %d bytes, its folder says %d", f.given, f.wanted)
	}
	return f.missing == 0, f.err == nil, f.err
}

// damage says of an error that it is the repository's content that is broken.
func damage(err error) error { return errors.Join(recovery.ErrDamaged, err) }
