package barman

import (
	"slices"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// segmentFile is a whole segment in the archive.
type segmentFile struct {
	log, segment uint32
	modified     time.Time
}

// walFiles is what a server's wals/ holds, by kind.
type walFiles struct {
	segments  map[uint32][]segmentFile
	histories map[uint32]recovery.Object
	partials  []string
	sizeBytes int64
	// misplaced are segments outside the folder that restore_command looks in.
	misplaced []string
}

func newWALFiles() walFiles {
	return walFiles{segments: map[uint32][]segmentFile{}, histories: map[uint32]recovery.Object{}}
}

// add sorts one object in, by its path below wals/. What is no WAL file is left out.
func (w *walFiles) add(path string, object recovery.Object) {
	folder, base, nested := strings.Cut(path, "/")
	if !nested {
		folder, base = "", path
	}
	name, ok := ParseWALName(base)
	if !ok {
		return
	}
	if name.Kind == History && nested || name.Kind != History && folder != base[:16] {
		w.misplaced = append(w.misplaced, path)
		return
	}
	if _, known := w.histories[name.Timeline]; known && name.Kind == History {
		// The listing of folders and the first page both hold it.
		return
	}
	w.sizeBytes += object.SizeBytes
	switch name.Kind {
	case Segment:
		w.segments[name.Timeline] = append(w.segments[name.Timeline], segmentFile{name.Log, name.Segment, object.ModifiedAt})
	case Partial:
		w.partials = append(w.partials, name.String())
	case History:
		w.histories[name.Timeline] = object
	}
}

func (w *walFiles) historyObjects() []recovery.Object {
	list := make([]recovery.Object, 0, len(w.histories))
	for _, object := range w.histories {
		list = append(list, object)
	}
	return list
}

// empty reports whether there is no WAL file at all.
func (w *walFiles) empty() bool {
	return len(w.segments) == 0 && len(w.histories) == 0 && len(w.partials) == 0
}

// guessSegmentSize tells the size from the names, for an archive without any readable backup.info. In
// a folder that another one of its timeline follows, the last segment is the last of its log.
func (w *walFiles) guessSegmentSize() SegmentSize {
	highest, full := uint32(0), uint32(0)
	for _, files := range w.segments {
		lastLog := slices.MaxFunc(files, func(a, b segmentFile) int { return int(int64(a.log) - int64(b.log)) }).log
		for _, file := range files {
			highest = max(highest, file.segment)
			if file.log != lastLog {
				full = max(full, file.segment)
			}
		}
	}
	size := defaultSegmentSize
	if full > 0 {
		size = mostSegmentSize
	}
	for size > leastSegmentSize && uint64(highest) >= size.perLog() {
		size /= 2
	}
	return size
}
