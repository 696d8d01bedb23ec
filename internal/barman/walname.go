package barman

import (
	"fmt"
	"strconv"
	"strings"
)

// WALKind tells the files of a WAL archive apart.
type WALKind int

const (
	// Segment is a whole WAL segment: 24 hexadecimal digits.
	Segment WALKind = iota + 1
	// Partial is the unfinished last segment of a timeline that ended in a promotion.
	Partial
	// BackupLabel says where a base backup began: <segment>.<8 digits>.backup.
	BackupLabel
	// History is a timeline's ancestry: <8 digits>.history.
	History
)

// WALName is the name of a file in a WAL archive, taken apart.
type WALName struct {
	Kind WALKind
	// Timeline, Log and Segment are the three groups of eight digits. History has the first only.
	Timeline, Log, Segment uint32
	// Offset is the position inside the segment, for BackupLabel.
	Offset uint32
	// Compression is what follows the name PostgreSQL gave, without the dot: "gz", "zst", "".
	Compression string
}

// ParseWALName takes the name of an archived file apart, without its folder. Any compression suffix
// is taken; ok is false for what PostgreSQL would never ask for.
// Source: PostgreSQL xlog_internal.h; barman/xlog.py.
func ParseWALName(name string) (parsed WALName, ok bool) {
	base, rest, _ := strings.Cut(name, ".")
	if strings.HasSuffix(name, ".") {
		return WALName{}, false
	}
	switch len(base) {
	case 8:
		after, isHistory := strings.CutPrefix(rest+".", "history.")
		if !isHistory {
			return WALName{}, false
		}
		parsed.Kind, rest = History, strings.TrimSuffix(after, ".")
		ok = hex8(base, &parsed.Timeline)
	case 24:
		ok = hex8(base[:8], &parsed.Timeline) && hex8(base[8:16], &parsed.Log) && hex8(base[16:], &parsed.Segment)
		parsed.Kind, parsed.Offset, rest = segmentKind(rest)
	}
	parsed.Compression = rest
	// A segment number above 4 GiB / 1 MiB - 1 exists with no segment size.
	if !ok || parsed.Timeline == 0 || parsed.Segment >= 1<<12 || !compressionSuffix(rest) {
		return WALName{}, false
	}
	return parsed, true
}

// segmentKind reads what follows the 24 digits.
func segmentKind(rest string) (kind WALKind, offset uint32, suffix string) {
	first, more, _ := strings.Cut(rest, ".")
	if first == "partial" {
		return Partial, 0, more
	}
	second, after, _ := strings.Cut(more, ".")
	if second == "backup" && hex8(first, &offset) {
		return BackupLabel, offset, after
	}
	return Segment, 0, rest
}

// compressionSuffix accepts any suffix that a compressor may add, also ones not known here, but not
// those of files that are on their way.
func compressionSuffix(suffix string) bool {
	if suffix == "" {
		return true
	}
	for _, element := range strings.Split(suffix, ".") {
		switch element {
		case "", "tmp", "part", "ready", "done", "history", "backup", "partial":
			return false
		}
	}
	return len(suffix) <= 16 && strings.Trim(suffix, "abcdefghijklmnopqrstuvwxyz0123456789.") == ""
}

func hex8(text string, into *uint32) bool {
	if len(text) != 8 || strings.Trim(text, "0123456789ABCDEF") != "" {
		return false
	}
	number, err := strconv.ParseUint(text, 16, 32)
	*into = uint32(number)
	return err == nil
}

// String gives the name as PostgreSQL knows it, without the compression suffix.
func (n WALName) String() string {
	if n.Kind == History {
		return historyName(n.Timeline)
	}
	name := fmt.Sprintf("%08X%08X%08X", n.Timeline, n.Log, n.Segment)
	switch n.Kind {
	case Partial:
		return name + ".partial"
	case BackupLabel:
		return name + fmt.Sprintf(".%08X.backup", n.Offset)
	}
	return name
}

func historyName(timeline uint32) string { return fmt.Sprintf("%08X.history", timeline) }

// SegmentSize is the size of a WAL segment in bytes, which initdb fixes.
type SegmentSize int64

const (
	defaultSegmentSize SegmentSize = 16 << 20
	leastSegmentSize   SegmentSize = 1 << 20
	mostSegmentSize    SegmentSize = 1 << 30
)

// Valid reports whether PostgreSQL allows it: a power of two from 1 MiB to 1 GiB.
func (s SegmentSize) Valid() bool {
	return s >= leastSegmentSize && s <= mostSegmentSize && s&(s-1) == 0
}

// perLog is the number of segments in a "log" of 4 GiB.
func (s SegmentSize) perLog() uint64 { return 1 << 32 / uint64(s) }

// Number counts segments from the beginning of WAL, over all logs; ok is false for a name that does
// not exist with this size.
func (s SegmentSize) Number(n WALName) (number uint64, ok bool) {
	if !s.Valid() || uint64(n.Segment) >= s.perLog() {
		return 0, false
	}
	return uint64(n.Log)*s.perLog() + uint64(n.Segment), true
}

// Name is the inverse of Number.
func (s SegmentSize) Name(timeline uint32, number uint64) string {
	return WALName{Kind: Segment, Timeline: timeline, Log: uint32(number / s.perLog()), Segment: uint32(number % s.perLog())}.String()
}

// At is the number of the segment that holds a position in WAL. A new timeline begins in the segment
// of the position where it forked, also when that is the segment's first byte.
// Source: PostgreSQL xlog.c, XLogInitNewTimeline.
func (s SegmentSize) At(lsn LSN) uint64 { return uint64(lsn) / uint64(s) }
