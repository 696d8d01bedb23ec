package barman

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// piece is a run of segments on a timeline.
type piece struct {
	timeline    uint32
	first, last uint64
}

func name(timeline uint32, number uint64) string { return defaultSegmentSize.Name(timeline, number) }

// fork is a line of a .history file: the timeline was left in that segment, in its middle or at its
// first byte.
func fork(parent uint32, segment uint64, middle bool) Fork {
	at := LSN(segment * uint64(defaultSegmentSize))
	if middle {
		at += 0xA0
	}
	return Fork{parent, at}
}

func archiveOf(pieces []piece, histories map[uint32][]Fork) (*archive, *walFiles) {
	files := newWALFiles()
	for _, p := range pieces {
		for number := p.first; number <= p.last; number++ {
			path := name(p.timeline, number)
			files.add(path[:16]+"/"+path+".gz", recovery.Object{Key: path, SizeBytes: 1, ModifiedAt: arrival(int(number))})
		}
	}
	for timeline := range histories {
		files.add(historyName(timeline), recovery.Object{Key: historyName(timeline)})
	}
	return newArchive(&files, defaultSegmentSize, histories), &files
}

func TestContinuity(t *testing.T) {
	middle := []Fork{fork(1, 15, true)}
	for title, c := range map[string]struct {
		pieces    []piece
		histories map[uint32][]Fork
		gaps      []recovery.WALGap
		missing   []string
		timelines []int64
	}{
		"nothing":            {nil, nil, []recovery.WALGap{}, []string{}, []int64{}},
		"one run":            {[]piece{{1, 3, 600}}, nil, []recovery.WALGap{}, []string{}, []int64{1}},
		"begins late":        {[]piece{{1, 300, 310}}, nil, []recovery.WALGap{}, []string{}, []int64{1}},
		"holes":              {[]piece{{1, 3, 4}, {1, 6, 6}, {1, 500, 501}}, nil, []recovery.WALGap{{Timeline: 1, After: name(1, 4), Before: name(1, 6), Missing: 1}, {Timeline: 1, After: name(1, 6), Before: name(1, 500), Missing: 493}}, []string{}, []int64{1}},
		"hole over a log":    {[]piece{{1, 250, 254}, {1, 257, 258}}, nil, []recovery.WALGap{{Timeline: 1, After: name(1, 254), Before: name(1, 257), Missing: 2}}, []string{}, []int64{1}},
		"switch":             {[]piece{{1, 3, 14}, {2, 15, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{}, []string{}, []int64{1, 2}},
		"whole old segment":  {[]piece{{1, 3, 15}, {2, 15, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{}, []string{}, []int64{1, 2}},
		"old timeline on":    {[]piece{{1, 3, 40}, {2, 15, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{}, []string{}, []int64{1, 2}},
		"at first byte":      {[]piece{{1, 3, 14}, {2, 15, 20}}, map[uint32][]Fork{2: {fork(1, 15, false)}}, []recovery.WALGap{}, []string{}, []int64{1, 2}},
		"parent ends early":  {[]piece{{1, 3, 12}, {2, 15, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{{Timeline: 1, After: name(1, 12), Before: name(2, 15), Missing: 2}}, []string{}, []int64{1, 2}},
		"child begins late":  {[]piece{{1, 3, 14}, {2, 17, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{{Timeline: 2, After: name(1, 14), Before: name(2, 17), Missing: 2}}, []string{}, []int64{1, 2}},
		"fork's own segment": {[]piece{{1, 3, 15}, {2, 16, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{{Timeline: 2, After: name(1, 14), Before: name(2, 16), Missing: 1}}, []string{}, []int64{1, 2}},
		"both":               {[]piece{{1, 3, 12}, {2, 17, 20}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{{Timeline: 1, After: name(1, 12), Before: name(2, 17), Missing: 4}}, []string{}, []int64{1, 2}},
		"parent gone":        {[]piece{{2, 30, 40}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{}, []string{}, []int64{2}},
		"only its tail left": {[]piece{{1, 16, 18}, {2, 30, 40}}, map[uint32][]Fork{2: middle}, []recovery.WALGap{}, []string{}, []int64{1, 2}},
		"no history":         {[]piece{{1, 3, 14}, {2, 15, 20}}, nil, []recovery.WALGap{}, []string{"00000002.history"}, []int64{1, 2}},
		"grandchild tells the parent": {
			[]piece{{1, 3, 12}, {2, 15, 20}, {3, 21, 25}}, map[uint32][]Fork{3: {fork(1, 15, true), fork(2, 21, true)}},
			[]recovery.WALGap{{Timeline: 1, After: name(1, 12), Before: name(2, 15), Missing: 2}}, []string{"00000002.history"}, []int64{1, 2, 3},
		},
		"two promotions in one segment": {
			[]piece{{1, 3, 14}, {2, 15, 15}, {3, 15, 20}}, map[uint32][]Fork{2: middle, 3: {fork(1, 15, true), fork(2, 15, true)}},
			[]recovery.WALGap{}, []string{}, []int64{1, 2, 3},
		},
		"a timeline without segments between": {
			[]piece{{1, 3, 14}, {3, 15, 20}}, map[uint32][]Fork{2: middle, 3: {fork(1, 15, true), fork(2, 15, true)}},
			[]recovery.WALGap{}, []string{}, []int64{1, 3},
		},
		"two children": {
			[]piece{{1, 3, 30}, {2, 15, 20}, {3, 25, 26}}, map[uint32][]Fork{2: middle, 3: {fork(1, 25, true)}},
			[]recovery.WALGap{}, []string{}, []int64{1, 2, 3},
		},
		"hole before the second child only": {
			[]piece{{1, 3, 18}, {1, 20, 30}, {2, 15, 20}, {3, 25, 26}}, map[uint32][]Fork{2: middle, 3: {fork(1, 25, true)}},
			[]recovery.WALGap{{Timeline: 1, After: name(1, 18), Before: name(1, 20), Missing: 1}}, []string{}, []int64{1, 2, 3},
		},
	} {
		t.Run(title, func(t *testing.T) {
			a, files := archiveOf(c.pieces, c.histories)
			wal := a.describe(files, true)
			require.Equal(t, c.gaps, wal.Gaps)
			require.Equal(t, c.missing, wal.MissingHistory)
			require.Equal(t, c.timelines, wal.Timelines)
			require.Len(t, wal.TimelineDetails, len(c.timelines))
		})
	}
}

func TestReach(t *testing.T) {
	histories := map[uint32][]Fork{2: {fork(1, 15, true)}, 3: {fork(1, 15, true), fork(2, 21, false)}}
	a, _ := archiveOf([]piece{{1, 3, 40}, {2, 15, 20}, {3, 21, 24}, {3, 26, 30}}, histories)
	for _, c := range []struct {
		timeline uint32
		number   uint64
		end      end
		ok       bool
	}{
		{1, 3, end{3, 24}, true},
		{1, 14, end{3, 24}, true},
		{1, 15, end{1, 40}, true}, // past the fork: only its own timeline is left
		{2, 15, end{3, 24}, true},
		{3, 21, end{3, 24}, true},
		{3, 26, end{3, 30}, true},
		{3, 25, end{}, false},
		{1, 2, end{}, false},
		{4, 1, end{}, false},
	} {
		timeline, number, ok := a.reach(c.timeline, c.number)
		require.Equal(t, c.ok, ok, c)
		require.Equal(t, c.end, end{timeline, number}, c)
	}
}

func TestSegmentsThatAreThereTwiceCountOnce(t *testing.T) {
	files := newWALFiles()
	for _, suffix := range []string{"", ".gz"} {
		files.add("0000000100000000/"+name(1, 7)+suffix, recovery.Object{SizeBytes: 5})
	}
	files.add("0000000100000001/"+name(1, 8), recovery.Object{})
	wal := newArchive(&files, defaultSegmentSize, nil).describe(&files, true)
	require.Equal(t, 1, wal.SegmentCount)
	require.Equal(t, int64(10), wal.SizeBytes)
	require.Equal(t, []string{"0000000100000001/" + name(1, 8)}, files.misplaced)
}

func TestGuessSegmentSize(t *testing.T) {
	for size := leastSegmentSize; size <= mostSegmentSize; size *= 2 {
		files := newWALFiles()
		perLog := size.perLog()
		for number := perLog / 2; number < perLog*2; number += max(1, perLog/64) {
			name, _ := ParseWALName(size.Name(1, number))
			files.segments[1] = append(files.segments[1], segmentFile{name.Log, name.Segment, time.Time{}})
		}
		// The last of a full log.
		files.segments[1] = append(files.segments[1], segmentFile{0, uint32(perLog - 1), time.Time{}})
		require.Equal(t, size, files.guessSegmentSize())
	}
	files := newWALFiles()
	files.segments[1] = []segmentFile{{0, 1, time.Time{}}, {0, 2, time.Time{}}}
	require.Equal(t, defaultSegmentSize, files.guessSegmentSize(), "few segments tell nothing")
	files.segments[1] = []segmentFile{{0, 1000, time.Time{}}}
	require.Equal(t, SegmentSize(4<<20), files.guessSegmentSize())
}
