package barman

import (
	"maps"
	"slices"
	"time"
)

// archive is the WAL of one server, as numbers on timelines.
type archive struct {
	size  SegmentSize
	lines map[uint32]*line
	// forks say where each timeline left its parent, as far as the .history files tell.
	forks map[uint32]Fork
	// histories are the timelines whose own .history file is in the archive.
	histories map[uint32]bool
	// impossible counts names that do not exist with this segment size.
	impossible int
}

// line is one timeline's segments.
type line struct {
	numbers []uint64
	arrived []time.Time
	runs    []run
}

// run is an unbroken series of segments, both ends included.
type run struct{ first, last uint64 }

func newArchive(files *walFiles, size SegmentSize, histories map[uint32][]Fork) *archive {
	a := &archive{size: size, lines: map[uint32]*line{}, forks: ancestry(histories), histories: map[uint32]bool{}}
	for timeline := range files.histories {
		a.histories[timeline] = true
	}
	for timeline, segments := range files.segments {
		l := &line{}
		for _, file := range sortedSegments(segments) {
			number, ok := size.Number(WALName{Kind: Segment, Timeline: timeline, Log: file.log, Segment: file.segment})
			if !ok {
				a.impossible++
				continue
			}
			l.add(number, file.modified)
		}
		if len(l.numbers) > 0 {
			a.lines[timeline] = l
		}
	}
	return a
}

func sortedSegments(files []segmentFile) []segmentFile {
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(a, b segmentFile) int {
		switch x, y := uint64(a.log)<<32|uint64(a.segment), uint64(b.log)<<32|uint64(b.segment); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return a.modified.Compare(b.modified)
	})
	return sorted
}

// add appends a segment. One that is there twice (plain and compressed) counts once.
func (l *line) add(number uint64, arrived time.Time) {
	if n := len(l.runs); n > 0 {
		switch end := &l.runs[n-1]; number {
		case end.last:
			return
		case end.last + 1:
			end.last = number
		default:
			l.runs = append(l.runs, run{number, number})
		}
	} else {
		l.runs = append(l.runs, run{number, number})
	}
	l.numbers, l.arrived = append(l.numbers, number), append(l.arrived, arrived)
}

// runEnd is the end of the run that holds the number; ok is false when the segment is not there.
func (l *line) runEnd(number uint64) (last uint64, ok bool) {
	if l == nil {
		return 0, false
	}
	i, _ := slices.BinarySearchFunc(l.runs, number, func(r run, n uint64) int {
		if r.last < n {
			return -1
		}
		return 1
	})
	if i == len(l.runs) || l.runs[i].first > number {
		return 0, false
	}
	return l.runs[i].last, true
}

// newestBelow is the greatest number in [from, until).
func (l *line) newestBelow(from, until uint64) (number uint64, ok bool) {
	if l == nil {
		return 0, false
	}
	i, _ := slices.BinarySearch(l.numbers, until)
	if i == 0 || l.numbers[i-1] < from {
		return 0, false
	}
	return l.numbers[i-1], true
}

// oldestFrom is the smallest number that is not below from.
func (l *line) oldestFrom(from uint64) (number uint64, ok bool) {
	if l == nil {
		return 0, false
	}
	i, _ := slices.BinarySearch(l.numbers, from)
	if i == len(l.numbers) {
		return 0, false
	}
	return l.numbers[i], true
}

// missing counts the segments that are not there between first and last, both included, and gives the
// first of them.
func (a *archive) missing(timeline uint32, first, last uint64) (count, which uint64) {
	l := a.lines[timeline]
	which = first
	if end, ok := l.runEnd(first); ok {
		which = end + 1
	}
	count = last - first + 1
	if l == nil {
		return count, which
	}
	from, _ := slices.BinarySearch(l.numbers, first)
	until, _ := slices.BinarySearch(l.numbers, last+1)
	return count - uint64(until-from), which
}

func (a *archive) arrivedAt(timeline uint32, number uint64) time.Time {
	l := a.lines[timeline]
	i, _ := slices.BinarySearch(l.numbers, number)
	return l.arrived[i]
}

// timelines are those with segments, in order.
func (a *archive) timelines() []uint32 { return slices.Sorted(maps.Keys(a.lines)) }

// ancestry joins what all .history files tell. Each names all ancestors, so that one of them can stand
// in for a parent's that is missing.
func ancestry(histories map[uint32][]Fork) map[uint32]Fork {
	forks := map[uint32]Fork{}
	for _, timeline := range slices.Sorted(maps.Keys(histories)) {
		child := timeline
		for _, fork := range slices.Backward(histories[timeline]) {
			if fork.Parent >= child {
				break
			}
			if _, known := forks[child]; !known {
				forks[child] = fork
			}
			child = fork.Parent
		}
	}
	return forks
}

// stretch is the part of a timeline that belongs to the way to some other one: [from, until).
type stretch struct {
	timeline    uint32
	from, until uint64
}

const endless = ^uint64(0)

// way is the series of segments that leads to the end of a timeline, over its ancestors, oldest first.
func (a *archive) way(timeline uint32) []stretch {
	var stretches []stretch
	until := endless
	for {
		fork, known := a.forks[timeline]
		s := stretch{timeline: timeline, until: until}
		if known {
			s.from = min(a.size.At(fork.At), until)
		}
		stretches = append(stretches, s)
		if !known {
			slices.Reverse(stretches)
			return stretches
		}
		// Parents have smaller numbers (ancestry sees to it), so this ends.
		timeline, until = fork.Parent, s.from
	}
}

// newest is the timeline that recovery to the latest would aim at from this one: PostgreSQL looks for
// the .history of the next number until there is none.
// Source: PostgreSQL timeline.c, findNewestTimeLine.
func (a *archive) newest(timeline uint32) uint32 {
	for timeline < 1<<32-1 && a.histories[timeline+1] {
		timeline++
	}
	return timeline
}

// reach is how far recovery gets from a segment without a gap: along the way to the newest timeline,
// or along its own timeline when it was left before that segment. ok is false when the segment itself
// is not there.
func (a *archive) reach(timeline uint32, number uint64) (endTimeline uint32, end uint64, ok bool) {
	stretches := a.way(a.newest(timeline))
	at := slices.IndexFunc(stretches, func(s stretch) bool { return s.timeline == timeline && number >= s.from && number < s.until })
	if at < 0 {
		stretches, at = []stretch{{timeline: timeline, until: endless}}, 0
	}
	for _, s := range stretches[at:] {
		if s.from >= s.until {
			continue
		}
		last, found := a.lines[s.timeline].runEnd(number)
		if !found {
			break
		}
		last = min(last, s.until-1)
		endTimeline, end, ok = s.timeline, last, true
		if last+1 < s.until {
			break
		}
		number = s.until
	}
	return endTimeline, end, ok
}
