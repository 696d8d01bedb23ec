package barman

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const v2 = "immich-database-v2"

func backupID(n int) string { return fmt.Sprintf("20261123T02%04d", n) }

// lived is a lineage of two servers: v1 with three backups, v2 with three more; segments arrive at the
// second of their number.
func lived(change ...func(f *fakeStore)) *fakeStore {
	f := newFake()
	for n, begin := range []uint64{10, 20, 30} {
		f.backup(v1, fakeBackup{id: backupID(n), begin: begin, end: begin, dataBytes: 1000 << 20})
	}
	f.segments(v1, defaultSegmentSize, 1, 10, 40, ".gz")
	for n, begin := range []uint64{110, 120, 130} {
		f.backup(v2, fakeBackup{id: backupID(100 + n), timeline: 2, begin: begin, end: begin + 1, dataBytes: 1000 << 20})
	}
	f.segments(v2, defaultSegmentSize, 2, 110, 150, ".gz")
	f.history(v2, 2, "1\t0/28000000\tno recovery target specified")
	for _, c := range change {
		c(f)
	}
	return f
}

func lineageOf(t *testing.T, f *fakeStore) Lineage {
	t.Helper()
	lineage, _, err := ReadLineage(t.Context(), f, Options{Bucket: fakeBucket, Prefix: destinationPrefix})
	require.NoError(t, err)
	return lineage
}

func drop(t *testing.T, texts ...string) func(*fakeStore) {
	return func(f *fakeStore) {
		for _, text := range texts {
			f.drop(t, text)
		}
	}
}

func extra(n int, b fakeBackup) func(*fakeStore) {
	return func(f *fakeStore) {
		b.id, b.timeline, b.begin, b.end = backupID(n), 2, 140, 141
		f.backup(v2, b)
	}
}

func TestChoose(t *testing.T) {
	for title, c := range map[string]struct {
		change []func(*fakeStore)
		o      ChooseOptions
		id     string
		warns  []string
		// refuses is what the refusal says, next what to type.
		refuses, next string
		kind          error
	}{
		"newest":                 {o: ChooseOptions{Server: v2}, id: backupID(102)},
		"newest of an older one": {o: ChooseOptions{Server: v1}, id: backupID(2)},
		"by ID":                  {o: ChooseOptions{Server: v2, BackupID: backupID(100)}, id: backupID(100)},
		"by time":                {o: ChooseOptions{Server: v2, TargetTime: arrival(125)}, id: backupID(101)},
		"at a backup's end":      {o: ChooseOptions{Server: v2, TargetTime: arrival(121)}, id: backupID(101)},
		"right before its end":   {o: ChooseOptions{Server: v2, TargetTime: arrival(121).Add(-1)}, id: backupID(100)},
		"ID and time":            {o: ChooseOptions{Server: v2, BackupID: backupID(100), TargetTime: arrival(140)}, id: backupID(100)},
		"up to the last but one": {o: ChooseOptions{Server: v2, TargetTime: arrival(149)}, id: backupID(102)},

		"doubtful last stretch": {o: ChooseOptions{Server: v2, TargetTime: arrival(149).Add(1)}, refuses: "in the last stretch of the archive", next: "leave --target-time out", kind: recovery.ErrUsage},
		"after the last WAL":    {o: ChooseOptions{Server: v2, TargetTime: arrival(151)}, refuses: "the last WAL of immich-database-v2 arrived at 2026-11-23T02:02:30Z", next: "leave --target-time out", kind: recovery.ErrUsage},
		"before the first backup": {
			o: ChooseOptions{Server: v2, TargetTime: arrival(110)}, refuses: "the oldest restorable backup of immich-database-v2 ended at 2026-11-23T02:01:51Z",
			next: "--source-server-name", kind: recovery.ErrUsage,
		},
		"before the named one": {o: ChooseOptions{Server: v2, BackupID: backupID(102), TargetTime: arrival(125)}, refuses: "recovery runs forward only", next: "leave --backup-id out", kind: recovery.ErrUsage},
		"behind a gap": {
			change: []func(*fakeStore){drop(t, name(2, 135))}, o: ChooseOptions{Server: v2, TargetTime: arrival(137)},
			refuses: "WAL is missing before it: 1 segments between " + name(2, 134) + " and " + name(2, 136), next: "give an earlier --target-time", kind: recovery.ErrUsage,
		},
		"before a gap": {change: []func(*fakeStore){drop(t, name(2, 135))}, o: ChooseOptions{Server: v2, TargetTime: arrival(133)}, id: backupID(102)},
		"last stretch before a gap": {
			change: []func(*fakeStore){drop(t, name(2, 135))}, o: ChooseOptions{Server: v2, TargetTime: arrival(134)},
			refuses: "last stretch", next: "give an earlier --target-time", kind: recovery.ErrUsage,
		},

		"no such server":     {o: ChooseOptions{Server: "immich-database-v3"}, refuses: "there are immich-database-v1, immich-database-v2", next: "--source-server-name immich-database-v2", kind: recovery.ErrNotFound},
		"no such backup":     {o: ChooseOptions{Server: v2, BackupID: backupID(7)}, refuses: "there is no backup", next: "--backup-id " + backupID(102), kind: recovery.ErrNotFound},
		"of another server":  {o: ChooseOptions{Server: v2, BackupID: backupID(1)}, refuses: "it is one of immich-database-v1", next: "--source-server-name immich-database-v1", kind: recovery.ErrNotFound},
		"named, incomplete":  {change: []func(*fakeStore){drop(t, backupID(101)+"/data")}, o: ChooseOptions{Server: v2, BackupID: backupID(101)}, refuses: "data.tar is missing", next: "--backup-id " + backupID(102), kind: recovery.ErrUsage},
		"nothing restorable": {change: []func(*fakeStore){drop(t, "v2/base/"+backupID(100)+"/data", "v2/base/"+backupID(101)+"/data", "v2/base/"+backupID(102)+"/data")}, o: ChooseOptions{Server: v2}, refuses: "of its 3 backups the newest, " + backupID(102) + ", is not: data.tar is missing", next: "--source-server-name immich-database-v1", kind: recovery.ErrNotFound},

		"missing part in the newest": {change: []func(*fakeStore){extra(103, fakeBackup{files: []string{"data.tar.gz", "data_0002.tar.gz"}})}, o: ChooseOptions{Server: v2}, id: backupID(102), warns: []string{"the newer " + backupID(103) + " is not restorable: data_0001.tar is missing"}},
		"newest failed, but later than the target": {
			change: []func(*fakeStore){extra(103, fakeBackup{status: "FAILED"})}, o: ChooseOptions{Server: v2, TargetTime: arrival(135)}, id: backupID(102),
		},
		"another database":       {change: []func(*fakeStore){extra(103, fakeBackup{systemID: "8", dataBytes: 900 << 20})}, o: ChooseOptions{Server: v2}, id: backupID(103), warns: []string{"system identifier 8, the one before it (immich-database-v2/" + backupID(102) + ") has 7"}},
		"another, EMPTY one":     {change: []func(*fakeStore){extra(103, fakeBackup{systemID: "8", dataBytes: 3 << 20})}, o: ChooseOptions{Server: v2}, id: backupID(103), warns: []string{"it has the size of an EMPTY one", "less than a quarter of the 1000 MiB"}},
		"a fifth as large":       {change: []func(*fakeStore){extra(103, fakeBackup{dataBytes: 200 << 20})}, o: ChooseOptions{Server: v2}, id: backupID(103), warns: []string{"has 200 MiB, less than a quarter of the 1000 MiB"}},
		"half as large":          {change: []func(*fakeStore){extra(103, fakeBackup{dataBytes: 500 << 20})}, o: ChooseOptions{Server: v2}, id: backupID(103)},
		"smaller, but packed":    {change: []func(*fakeStore){extra(103, fakeBackup{dataBytes: 200 << 20, files: []string{"data.tar.zst"}})}, o: ChooseOptions{Server: v2}, id: backupID(103)},
		"one small predecessor":  {change: []func(*fakeStore){extra(103, fakeBackup{dataBytes: 10}), extra(104, fakeBackup{dataBytes: 1000 << 20})}, o: ChooseOptions{Server: v2}, id: backupID(104)},
		"PostgreSQL was updated": {change: []func(*fakeStore){extra(103, fakeBackup{}), newVersion(backupID(103))}, o: ChooseOptions{Server: v2}, id: backupID(103), warns: []string{"less than a quarter", "PostgreSQL changes from 15 (immich-database-v2/" + backupID(102) + ") to 16"}},
	} {
		t.Run(title, func(t *testing.T) {
			lineage := lineageOf(t, lived(c.change...))
			choice, reach, err := lineage.Choose(c.o)
			if c.refuses != "" {
				var p *recovery.Problem
				require.ErrorAs(t, err, &p)
				require.ErrorIs(t, err, c.kind)
				require.Contains(t, p.What+": "+p.Why, c.refuses)
				require.Contains(t, p.Next, c.next)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.id, choice.Backup.ID)
			require.Equal(t, c.o.Server, choice.Server.Name)
			require.NotEmpty(t, reach.Segment)
			require.Len(t, choice.Warnings, len(c.warns), choice.Warnings)
			for i, text := range c.warns {
				require.Contains(t, choice.Warnings[i], text)
			}
		})
	}
}

func newVersion(id string) func(*fakeStore) {
	return func(f *fakeStore) {
		key := destinationPrefix + "/" + v2 + "/base/" + id + "/backup.info"
		f.bodies[key] = []byte(strings.Replace(string(f.bodies[key]), "version=150020", "version=160004", 1))
	}
}

func TestReaches(t *testing.T) {
	whole := lineageOf(t, lived())
	require.Empty(t, whole.Unknown)
	require.Len(t, whole.Reaches, 6)
	reach := whole.Reaches[BackupRef{v2, backupID(101)}]
	require.Equal(t, Reach{
		Timeline: 2, Segment: name(2, 150), SegmentSize: defaultSegmentSize, EndLSN: 151 << 24, ArrivedAt: arrival(150), BeforeArrivedAt: arrival(149),
		last: reach.last,
	}, reach)
	require.Len(t, reach.last, tailSegments)
	require.Equal(t, name(2, 150), reach.last[0])

	short := lineageOf(t, lived(drop(t, name(2, 135))))
	gap := &recovery.WALGap{Timeline: 2, After: name(2, 134), Before: name(2, 136), Missing: 1}
	require.Equal(t, gap, short.Reaches[BackupRef{v2, backupID(102)}].Gap)
	require.Equal(t, arrival(134), short.Reaches[BackupRef{v2, backupID(102)}].ArrivedAt)

	newer := func(f *fakeStore) { f.segments(v2, defaultSegmentSize, 3, 151, 160, ".gz") }
	missing := lineageOf(t, lived(newer)).Reaches[BackupRef{v2, backupID(102)}]
	require.Equal(t, "00000003.history", missing.MissingHistory)
	require.Equal(t, name(2, 150), missing.Segment)
	require.ErrorContains(t, missing.Admits(arrival(155)), "00000003.history is missing")

	history := func(f *fakeStore) { f.history(v2, 3, "1\t0/28000000\tx", "2\t0/97000000\tx") }
	followed := lineageOf(t, lived(newer, history)).Reaches[BackupRef{v2, backupID(102)}]
	require.Equal(t, name(3, 160), followed.Segment)
	require.Equal(t, arrival(159), followed.BeforeArrivedAt)
	require.Equal(t, []uint32{3}, followed.histories)

	late := func(f *fakeStore) {
		f.segments(v2, defaultSegmentSize, 2, 151, 170, ".gz")
		f.backup(v2, fakeBackup{id: backupID(104), timeline: 2, begin: 165, end: 165})
	}
	stray := lineageOf(t, lived(newer, history, late)).Reaches[BackupRef{v2, backupID(104)}]
	require.Equal(t, uint32(3), stray.StraysFrom)
	require.ErrorContains(t, stray.Admits(time.Time{}), "was left for timeline 3")
}

// TestSingleSegment: nothing is known of when the commits in it were.
func TestSingleSegment(t *testing.T) {
	f := newFake()
	f.backup(v1, fakeBackup{id: backupID(1), begin: 10, end: 10})
	f.segments(v1, defaultSegmentSize, 1, 10, 10, "")
	_, _, err := lineageOf(t, f).Choose(ChooseOptions{Server: v1, TargetTime: arrival(10)})
	require.ErrorContains(t, err, "there is only one WAL segment")
}

// TestUnknownIsNoChoice: what decides must have been read; a damaged backup.info of another backup does
// not stand in the way.
func TestUnknownIsNoChoice(t *testing.T) {
	for title, c := range map[string]struct {
		fail func(f *fakeStore)
		says string
		// strict is what ReadReach says of it, too.
		strict string
	}{
		"WAL":     {func(f *fakeStore) { f.failList = failing("/" + v2 + "/wals/") }, "connection refused", "connection refused"},
		"backups": {func(f *fakeStore) { f.failList = failing("/" + v2 + "/base/") }, "connection refused", "connection refused"},
		"history": {func(f *fakeStore) { f.bodies[destinationPrefix+"/"+v2+"/wals/00000002.history"] = []byte("?") }, "TIMELINE, POSITION", "TIMELINE, POSITION"},
		"old info": {func(f *fakeStore) {
			f.bodies[destinationPrefix+"/"+v2+"/base/"+backupID(100)+"/backup.info"] = []byte("?")
		}, "", "KEY=VALUE"},
	} {
		t.Run(title, func(t *testing.T) {
			f := lived()
			c.fail(f)
			_, _, err := lineageOf(t, f).Choose(ChooseOptions{Server: v2})
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.says)
			}
			_, _, _, err = ReadReach(t.Context(), f, Options{Bucket: fakeBucket, Prefix: destinationPrefix, Servers: []string{v2}}, backupID(102))
			require.ErrorContains(t, err, c.strict)
		})
	}
	_, _, _, err := ReadReach(t.Context(), lived(), Options{Bucket: fakeBucket, Prefix: destinationPrefix}, backupID(102))
	require.ErrorIs(t, err, recovery.ErrUsage)
}

func failing(part string) func(recovery.ObjectQuery) error {
	return func(q recovery.ObjectQuery) error {
		if strings.Contains(q.Prefix, part) {
			return unreachable()
		}
		return nil
	}
}
