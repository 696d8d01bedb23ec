package barman

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// TestListsOfAHundredThousandSegments is the count that PERFORMANCE asks for: LISTs ≤ 1.4·M/1000, for
// folders of any size, with every seeded gap found and no false one.
func TestListsOfAHundredThousandSegments(t *testing.T) {
	const segments = 100_000
	for _, size := range []SegmentSize{1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 64 << 20, 1 << 30} {
		t.Run(fmt.Sprintf("%d MiB", size>>20), func(t *testing.T) {
			f := newFake()
			const first, last = 77, 77 + segments - 1
			f.segments(v1, size, 1, first, last, ".gz")
			// One .backup file for about each day of 16 MiB segments a minute.
			for number := uint64(first); number < last; number += 1440 {
				name := size.Name(1, number)
				f.put(v1+"/wals/"+name[:16]+"/"+name+".00000028.backup.gz", 5, arrival(0), nil)
			}
			var want []recovery.WALGap
			for _, number := range []uint64{first + 1, 1076, 1078, 4096 * 3, 50_000, last - 1} {
				f.drop(t, size.Name(1, number))
				want = append(want, recovery.WALGap{Timeline: 1, After: size.Name(1, number-1), Before: size.Name(1, number+1), Missing: 1})
			}
			f.backup(v1, fakeBackup{id: "20261123T020000", begin: 60_000, end: 60_001, size: size})
			server := one(t, f)
			require.Equal(t, want, server.WAL.Gaps)
			require.Equal(t, segments-len(want), server.WAL.SegmentCount)
			require.Equal(t, int64(size), server.WAL.SegmentSizeBytes)
			require.True(t, server.Backups[0].Restorable)
			t.Logf("%d LISTs for %d objects", f.lists.Load(), len(f.objects))
			require.LessOrEqual(t, f.lists.Load(), int64(14*segments/10_000))
			require.Equal(t, int64(1), f.gets.Load())
		})
	}
}

func TestRequestsOfTwoHundredBackups(t *testing.T) {
	f := newFake()
	for i := range 200 {
		f.backup(v1, fakeBackup{id: fmt.Sprintf("20261123T02%02d%02d", i/60, i%60), begin: uint64(i + 1), end: uint64(i + 1)})
	}
	f.segments(v1, defaultSegmentSize, 1, 1, 300, ".gz")
	require.Len(t, one(t, f).Backups, 200)
	require.Equal(t, int64(4), f.lists.Load(), "servers, base, the first page of WAL, its folders")
	require.Equal(t, int64(200), f.gets.Load())
}

func TestSmallArchiveOnManyTimelines(t *testing.T) {
	f := newFake()
	var lines []string
	for timeline := uint32(1); timeline <= 40; timeline++ {
		from := uint64(timeline) * 300
		f.segments(v1, defaultSegmentSize, timeline, from, from+299, ".gz")
		lines = append(lines, fmt.Sprintf("%d\t%s\tx", timeline, LSN((from+300)*uint64(defaultSegmentSize))))
		if timeline < 40 {
			f.history(v1, timeline+1, lines...)
		}
	}
	f.backup(v1, fakeBackup{id: "20261123T020000", begin: 310, end: 311})
	server := one(t, f)
	require.Empty(t, server.WAL.Gaps)
	require.Empty(t, server.WAL.MissingHistory)
	require.Len(t, server.WAL.Timelines, 40)
	require.Equal(t, 40*300, server.WAL.SegmentCount)
	require.Equal(t, arrival(40*300+299), server.RecoveryWindow.To)
	require.Equal(t, int64(39+1), f.gets.Load(), "each .history once")
}

func TestStoreThatIgnoresStartAfter(t *testing.T) {
	f := newFake()
	f.deaf = true
	f.segments(v1, defaultSegmentSize, 1, 1, 5000, ".gz")
	f.drop(t, name(1, 3000))
	f.backup(v1, fakeBackup{id: "20261123T020000", begin: 10, end: 11})
	server := one(t, f)
	require.Equal(t, 4999, server.WAL.SegmentCount)
	require.Equal(t, []recovery.WALGap{{Timeline: 1, After: name(1, 2999), Before: name(1, 3001), Missing: 1}}, server.WAL.Gaps)
}

func TestFoldersThatCannotBeListed(t *testing.T) {
	f := newFake()
	f.segments(v1, defaultSegmentSize, 1, 1, 5000, ".gz")
	f.history(v1, 2, "1\t0/F0000A0\tx")
	f.backup(v1, fakeBackup{id: "20261123T020000", begin: 10, end: 11})
	f.failList = func(q recovery.ObjectQuery) error {
		if q.Delimiter != "" && strings.HasSuffix(q.Prefix, "/wals/") {
			return unreachable()
		}
		return nil
	}
	server := one(t, f)
	require.Equal(t, 5000, server.WAL.SegmentCount, "the pages tell all, one after the other")
	require.True(t, server.Backups[0].Restorable)
	require.Equal(t, int64(2), f.gets.Load(), "the .history is read all the same")
}

// TestWALListingStopsHalfWay: what was read is told; nothing is concluded from what was not.
func TestWALListingStopsHalfWay(t *testing.T) {
	f := newFake()
	f.segments(v1, defaultSegmentSize, 1, 1, 5000, ".gz")
	f.backup(v1, fakeBackup{id: "20261123T020000", begin: 10, end: 11})
	f.backup(v1, fakeBackup{id: "20261123T030000", begin: 4000, end: 4001})
	f.failList = func(q recovery.ObjectQuery) error {
		if q.StartAfter > destinationPrefix+"/"+v1+"/wals/"+name(1, 2000)[:16] {
			return unreachable()
		}
		return nil
	}
	catalog, gaps := read(t, f)
	require.Len(t, gaps, 1)
	require.ErrorIs(t, gaps[0], recovery.ErrUnreachable)
	server := catalog.Servers[0]
	require.Greater(t, server.WAL.SegmentCount, 1000)
	require.Less(t, server.WAL.SegmentCount, 5000)
	require.Empty(t, server.WAL.Gaps, "what was not listed is no gap")
	require.Nil(t, server.RecoveryWindow)
	for _, b := range server.Backups {
		require.Equal(t, "DONE", b.Status)
		require.False(t, b.Restorable)
		require.Equal(t, []string{"unknown: the WAL archive could not be listed to its end"}, b.Reasons)
	}
	require.Contains(t, strings.Join(server.Warnings, "\n"), "gaps, and what can be restored, are unknown")
}

func TestBackupListingStopsHalfWay(t *testing.T) {
	f := newFake()
	for i := range 1500 {
		f.backup(v1, fakeBackup{id: time.Date(2026, 11, 23, 0, 0, i, 0, time.UTC).Format("20060102T150405"), begin: 3, end: 3, files: []string{"data.tar", "data_0001.tar"}})
	}
	f.segments(v1, defaultSegmentSize, 1, 3, 9, "")
	f.failList = func(q recovery.ObjectQuery) error {
		if q.Token != "" && strings.HasSuffix(q.Prefix, "/base/") {
			return unreachable()
		}
		return nil
	}
	catalog, gaps := read(t, f)
	require.Len(t, gaps, 1)
	backups := catalog.Servers[0].Backups
	require.Len(t, backups, 334)
	require.True(t, backups[332].Restorable)
	require.False(t, backups[333].Restorable, "its files may not all have been listed")
	require.Contains(t, backups[333].Reasons[0], "unknown")
}

func TestUnreadableBackupInfo(t *testing.T) {
	ids := []string{"20261123T020001", "20261123T020002", "20261123T020003", "20261123T020004"}
	key := func(id string) string { return destinationPrefix + "/" + v1 + "/base/" + id + "/backup.info" }
	f := newFake()
	for _, id := range ids {
		f.backup(v1, fakeBackup{id: id, begin: 3, end: 3})
	}
	f.segments(v1, defaultSegmentSize, 1, 3, 9, "")
	f.bodies[key(ids[0])] = []byte{0x1f, 0x8b, 0xff}
	f.bodies[key(ids[1])] = make([]byte, 10<<20)
	f.failGet = func(k string) error {
		if k == key(ids[2]) {
			return unreachable()
		}
		return nil
	}
	catalog, gaps := read(t, f)
	require.Len(t, gaps, 3)
	for i, says := range []string{"not text", "too large", "connection refused"} {
		b := catalog.Servers[0].Backups[i]
		require.Equal(t, "UNKNOWN", b.Status)
		require.False(t, b.Restorable)
		require.Contains(t, b.Reasons[0], "unknown: backup.info could not be read")
		require.Contains(t, b.Reasons[0], says)
	}
	require.ErrorIs(t, gaps[0], recovery.ErrDamaged)
	require.ErrorContains(t, gaps[0], "s3://"+fakeBucket+"/"+key(ids[0]))
	require.True(t, catalog.Servers[0].Backups[3].Restorable)
	require.NotNil(t, catalog.Servers[0].RecoveryWindow)
}

func TestServerThatGoesAwayIsOneGap(t *testing.T) {
	f := newFake()
	for i := range 50 {
		f.backup(v1, fakeBackup{id: fmt.Sprintf(id, i), begin: 3, end: 3})
	}
	f.segments(v1, defaultSegmentSize, 1, 3, 9, "")
	f.failGet = func(string) error { return unreachable() }
	catalog, gaps := read(t, f)
	require.Len(t, catalog.Servers[0].Backups, 50)
	require.Len(t, gaps, 1)
	require.ErrorContains(t, gaps[0], "read backup.info of 50 backups of "+v1+": connection refused")
	require.Len(t, catalog.Servers[0].Warnings, 1)

	f.failList = func(recovery.ObjectQuery) error { return unreachable() }
	for _, servers := range [][]string{nil, {v1}} {
		_, _, err := ReadCatalog(t.Context(), f, Options{Bucket: fakeBucket, Prefix: destinationPrefix, Servers: servers})
		require.ErrorIs(t, err, recovery.ErrUnreachable)
	}
}

func TestUnreadableHistoryIsAGapInKnowledge(t *testing.T) {
	f := healthy()
	f.bodies[destinationPrefix+"/"+v1+"/wals/00000002.history"] = sample(t, "00000004.history.xz")
	catalog, gaps := read(t, f)
	require.Len(t, gaps, 1)
	require.ErrorIs(t, gaps[0], recovery.ErrUnsupported)
	server := catalog.Servers[0]
	require.Empty(t, server.WAL.MissingHistory, "it is there")
	require.Empty(t, server.WAL.Gaps)
	require.Equal(t, &recovery.Window{From: arrival(16), To: arrival(20)}, server.RecoveryWindow)
}
