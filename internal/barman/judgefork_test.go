package barman

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestJudgeFork(t *testing.T) {
	const size = LSN(defaultSegmentSize)
	full := Reach{Timeline: 2, Segment: name(2, 9), SegmentSize: defaultSegmentSize, EndLSN: 10 * size, Tail: &Tail{RecordsEnd: 10*size - 0x180}}
	whole, long, blind := full, full, full
	whole.Tail = &Tail{RecordsEnd: 10 * size}
	// The last record began one segment earlier and fills the last one.
	long.Tail = &Tail{RecordsEnd: 9*size - 0x20}
	blind.Tail = nil
	target := time.Date(2026, 11, 24, 6, 15, 2, 0, time.UTC)
	for title, c := range map[string]struct {
		reach  Reach
		target time.Time
		fork   Fork
		reason string
		want   ForkVerdict
	}{
		"switched, at its end":                {whole, time.Time{}, Fork{2, 10 * size}, noTarget, ForkReached},
		"switched, one record short":          {whole, time.Time{}, Fork{2, 10*size - 0x28}, noTarget, ForkedEarly},
		"full, at its last whole record":      {full, time.Time{}, Fork{2, 10*size - 0x180}, noTarget, ForkReached},
		"full, at its end":                    {full, time.Time{}, Fork{2, 10 * size}, noTarget, ForkReached},
		"full, one record short":              {full, time.Time{}, Fork{2, 10*size - 0x1A0}, noTarget, ForkedEarly},
		"long record, before it":              {long, time.Time{}, Fork{2, 9*size - 0x20}, noTarget, ForkReached},
		"long record, too early":              {long, time.Time{}, Fork{2, 9*size - 0x40}, noTarget, ForkedEarly},
		"more WAL arrived":                    {whole, time.Time{}, Fork{2, 12*size + 0x28}, noTarget, ForkReached},
		"more WAL arrived on a newer line":    {whole, time.Time{}, Fork{3, 10*size + 0x28}, noTarget, ForkReached},
		"the older timeline, later":           {whole, time.Time{}, Fork{1, 12 * size}, noTarget, ForkedEarly},
		"many segments short":                 {whole, time.Time{}, Fork{2, 4 * size}, noTarget, ForkedEarly},
		"not looked into, at its end":         {blind, time.Time{}, Fork{2, 10 * size}, noTarget, ForkReached},
		"not looked into, inside":             {blind, time.Time{}, Fork{2, 10*size - 0x28}, noTarget, ForkUnknown},
		"not looked into, at its start":       {blind, time.Time{}, Fork{2, 9 * size}, noTarget, ForkedEarly},
		"another's target":                    {whole, time.Time{}, Fork{2, 10 * size}, "before 2026-11-24 06:15:02.5+00", ForkedElsewhere},
		"another's restore point":             {whole, time.Time{}, Fork{2, 10 * size}, `at restore point "here"`, ForkedElsewhere},
		"no reason":                           {whole, time.Time{}, Fork{2, 10 * size}, "", ForkedElsewhere},
		"target":                              {whole, target, Fork{2, 4 * size}, "before 2026-11-24 06:15:02.000001+00", ForkReached},
		"target, another zone":                {whole, target, Fork{2, 4 * size}, "before 2026-11-24 11:45:03+05:30", ForkReached},
		"target, read as local time":          {whole, target, Fork{2, 4 * size}, "before 2026-11-24 06:15:03+05:30", ForkedElsewhere},
		"target, the commit itself":           {whole, target, Fork{2, 4 * size}, "before 2026-11-24 06:15:02+00", ForkedElsewhere},
		"target, on an older line":            {whole, target, Fork{1, 4 * size}, "before 2026-11-24 06:15:09.25+00", ForkReached},
		"target ignored":                      {whole, target, Fork{2, 10 * size}, noTarget, ForkedElsewhere},
		"target, other reason":                {whole, target, Fork{2, 4 * size}, "before LSN 0/5000000", ForkUnknown},
		"target, after instead of before":     {whole, target, Fork{2, 4 * size}, "after 2026-11-24 06:15:02+00", ForkUnknown},
		"target, a time zone's name":          {whole, target, Fork{2, 4 * size}, "before 2026-11-24 06:15:02.5 CET", ForkUnknown},
		"target, an earlier target was given": {whole, target, Fork{2, 4 * size}, "before 2026-11-24 05:00:00+00", ForkedElsewhere},
	} {
		t.Run(title, func(t *testing.T) {
			verdict, why := JudgeFork(c.reach, c.target, c.fork, c.reason)
			require.Equal(t, c.want, verdict, why)
			require.NotEmpty(t, why)
		})
	}
}

func TestLastFork(t *testing.T) {
	for title, c := range map[string]struct {
		text   string
		fork   Fork
		reason string
	}{
		"one":          {"1\t0/5FFFC50\tno recovery target specified\n", Fork{1, 0x5FFFC50}, noTarget},
		"several":      {"1\t0/5FFFC50\tno recovery target specified\n\n2\t0/6000000\tat restore point \"a\tb\"\n", Fork{2, 0x6000000}, "at restore point \"a\tb\""},
		"not in order": {"1\t0/5FFFC50\tno recovery target specified\n\n2\t0/40000D0\tbefore 2026-11-24 06:27:15.829583+00\n", Fork{2, 0x40000D0}, "before 2026-11-24 06:27:15.829583+00"},
		"no reason":    {"1\t0/5FFFC50\n", Fork{1, 0x5FFFC50}, ""},
		"comment":      {"# by hand\n1\t0/5FFFC50\tx\n# 2\t0/6000000\ty\n", Fork{1, 0x5FFFC50}, "x"},
	} {
		t.Run(title, func(t *testing.T) {
			fork, reason, err := LastFork([]byte(c.text))
			require.NoError(t, err)
			require.Equal(t, c.fork, fork)
			require.Equal(t, c.reason, reason)
		})
	}
	_, _, err := LastFork([]byte("<html>"))
	require.ErrorIs(t, err, recovery.ErrDamaged)
}

// TestHistoryOutOfOrder: a recovery to a time before the fork of the newest timeline names that timeline
// as its parent. The way to the new one must not lead over it.
func TestHistoryOutOfOrder(t *testing.T) {
	forks := []Fork{fork(1, 15, true), fork(2, 12, true)}
	a, _ := archiveOf([]piece{{1, 3, 15}, {2, 15, 20}, {3, 12, 14}}, map[uint32][]Fork{2: forks[:1], 3: forks})
	require.Empty(t, a.gaps())
	timeline, number, ok := a.reach(1, 3)
	require.True(t, ok)
	require.Equal(t, end{3, 14}, end{timeline, number})
	require.True(t, a.strays(2, 15))
	require.True(t, a.strays(1, 13))
	require.False(t, a.strays(1, 11))
}

func TestLSNs(t *testing.T) {
	at, err := ParseLSN("1/5D0000D8")
	require.NoError(t, err)
	require.Equal(t, LSN(0x1_5D0000D8), at)
	for _, text := range []string{"", "1", "1/", "/1", "G/0", "1/100000000"} {
		_, err := ParseLSN(text)
		require.ErrorIs(t, err, recovery.ErrDamaged, text)
	}
	for _, c := range []struct {
		size       SegmentSize
		segment    string
		start, end LSN
	}{
		{16 << 20, "000000010000000000000005", 0x5000000, 0x6000000},
		{16 << 20, "0000000300000001000000FF", 0x1_FF000000, 0x2_00000000},
		{1 << 30, "000000010000000200000003", 0x2_C0000000, 0x3_00000000},
	} {
		start, err := c.size.StartOf(c.segment)
		require.NoError(t, err)
		end, err := c.size.EndOf(c.segment)
		require.NoError(t, err)
		require.Equal(t, [2]LSN{c.start, c.end}, [2]LSN{start, end})
	}
	for _, text := range []string{"", "000000010000000000000100", "00000002.history", "000000010000000000000005.partial"} {
		_, err := SegmentSize(16 << 20).EndOf(text)
		require.ErrorIs(t, err, recovery.ErrDamaged, text)
	}
}
