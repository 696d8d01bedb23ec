package barman

import (
	"cmp"
	"slices"

	"github.com/drctl/drctl/internal/recovery"
)

// gap is a hole in the archive. The first missing segment is on timeline, next to after.
type gap struct {
	timeline       uint32
	afterTimeline  uint32
	after          uint64
	beforeTimeline uint32
	before         uint64
}

func (g gap) missing() uint64 { return g.before - g.after - 1 }

// gaps finds every hole: inside each timeline, and where a timeline follows its parent. That an old
// timeline ends, wherever it does past the fork, is none; neither is what retention removed at the
// beginning.
func (a *archive) gaps() []gap {
	var found []gap
	for _, timeline := range a.timelines() {
		runs := a.lines[timeline].runs
		for i := 1; i < len(runs); i++ {
			found = append(found, gap{timeline, timeline, runs[i-1].last, timeline, runs[i].first})
		}
		if g, broken := a.gapAtFork(timeline); broken {
			found = append(found, g)
		}
	}
	slices.SortStableFunc(found, func(x, y gap) int {
		return cmp.Or(cmp.Compare(x.timeline, y.timeline), cmp.Compare(x.after, y.after), cmp.Compare(x.beforeTimeline, y.beforeTimeline))
	})
	return found
}

// gapAtFork looks for a hole between the last segment of the ancestors, below the fork, and the first
// one of the timeline. The segment of the fork must be there on the child's timeline: the parent's copy
// ends in records that the child does not have.
func (a *archive) gapAtFork(timeline uint32) (gap, bool) {
	fork, known := a.forks[timeline]
	if !known {
		return gap{}, false
	}
	start := a.size.At(fork.At)
	first, ok := a.lines[timeline].oldestFrom(start)
	if !ok {
		return gap{}, false
	}
	stretches := a.way(timeline)
	for _, s := range slices.Backward(stretches[:len(stretches)-1]) {
		last, found := a.lines[s.timeline].newestBelow(s.from, s.until)
		if !found {
			continue
		}
		g := gap{timeline: s.timeline, afterTimeline: s.timeline, after: last, beforeTimeline: timeline, before: first}
		for _, later := range stretches {
			if last+1 >= later.from && last+1 < later.until {
				g.timeline = later.timeline
			}
		}
		return g, first > last+1
	}
	return gap{}, false
}

// missingHistories are the timelines above 1 that have segments and no .history file of their own:
// recovery cannot follow into them.
func (a *archive) missingHistories() []uint32 {
	var missing []uint32
	for _, timeline := range a.timelines() {
		if timeline > 1 && !a.histories[timeline] {
			missing = append(missing, timeline)
		}
	}
	return missing
}

// describe puts the archive into the words that all of drctl shares. Of an archive that was not listed
// to its end no gap and no missing file is claimed.
func (a *archive) describe(files *walFiles, complete bool) recovery.WAL {
	wal := recovery.WAL{
		SizeBytes: files.sizeBytes, Timelines: []int64{}, TimelineDetails: []recovery.Timeline{}, Gaps: []recovery.WALGap{},
		MissingHistory: []string{}, Partials: []string{}, SegmentSizeBytes: int64(a.size),
	}
	wal.Partials = append(wal.Partials, slices.Compact(slices.Sorted(slices.Values(files.partials)))...)
	for _, timeline := range a.timelines() {
		a.describeTimeline(timeline, &wal)
	}
	if !complete {
		return wal
	}
	for _, g := range a.gaps() {
		wal.Gaps = append(wal.Gaps, a.words(g))
	}
	for _, timeline := range a.missingHistories() {
		wal.MissingHistory = append(wal.MissingHistory, historyName(timeline))
	}
	return wal
}

func (a *archive) describeTimeline(timeline uint32, wal *recovery.WAL) {
	l := a.lines[timeline]
	detail := recovery.Timeline{
		ID: int64(timeline), SegmentCount: len(l.numbers),
		First: a.size.Name(timeline, l.numbers[0]), Last: a.size.Name(timeline, l.numbers[len(l.numbers)-1]),
	}
	if fork, known := a.forks[timeline]; known {
		detail.Parent, detail.SwitchLSN = int64(fork.Parent), fork.At.String()
	}
	if wal.First == "" {
		wal.First = detail.First
	}
	wal.Last = detail.Last
	wal.SegmentCount += detail.SegmentCount
	for _, arrived := range l.arrived {
		if arrived.After(wal.LastTime) {
			wal.LastTime = arrived
		}
	}
	wal.Timelines = append(wal.Timelines, detail.ID)
	wal.TimelineDetails = append(wal.TimelineDetails, detail)
}
