package barman

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	v1 = "immich-database-v1"
	id = "20261123T0200%02d"
)

// healthy has two backups over a switch of timelines.
func healthy() *fakeStore {
	f := newFake()
	f.backup(v1, fakeBackup{id: fmt.Sprintf(id, 4), begin: 4, end: 5})
	f.backup(v1, fakeBackup{id: fmt.Sprintf(id, 16), timeline: 2, begin: 16, end: 16})
	f.segments(v1, defaultSegmentSize, 1, 2, 14, ".gz")
	f.segments(v1, defaultSegmentSize, 2, 15, 20, ".gz")
	f.history(v1, 2, "1\t0/F0000A0\tno recovery target specified")
	f.put(v1+"/wals/0000000100000000/"+name(1, 15)+".partial.gz", 50, arrival(15), nil)
	f.put(v1+"/wals/0000000100000000/"+name(1, 4)+".00000028.backup.gz", 5, arrival(5), nil)
	f.put(v1+"/base/"+fmt.Sprintf(id, 4)+"/annotations/keep", 4, arrival(5), []byte("full\n"))
	return f
}

func TestCatalogOfAHealthyServer(t *testing.T) {
	catalog, gaps := read(t, healthy())
	require.Empty(t, gaps)
	require.Equal(t, recovery.Catalog{
		DestinationPath: "s3://postgres-backups/cnpg/immich", Warnings: []string{},
		Servers: []recovery.Server{{
			Name: v1, Warnings: []string{},
			Backups: []recovery.Backup{
				{
					ID: "20261123T020004", Status: "DONE", StartTime: arrival(4), EndTime: arrival(5), BeginWAL: name(1, 4), EndWAL: name(1, 5),
					Timeline: 1, SystemID: "7", SizeBytes: 1000, PostgresVersion: 150020, Kept: true, KeepTarget: "full", Restorable: true,
					Reasons: []string{}, Compression: "gz",
				},
				{
					ID: "20261123T020016", Status: "DONE", StartTime: arrival(16), EndTime: arrival(16), BeginWAL: name(2, 16), EndWAL: name(2, 16),
					Timeline: 2, SystemID: "7", SizeBytes: 1000, PostgresVersion: 150020, Restorable: true, Reasons: []string{}, Compression: "gz",
				},
			},
			WAL: recovery.WAL{
				SegmentCount: 19, First: name(1, 2), Last: name(2, 20), LastTime: arrival(20), SizeBytes: 19*100 + 40 + 50 + 5, Timelines: []int64{1, 2},
				TimelineDetails: []recovery.Timeline{
					{ID: 1, First: name(1, 2), Last: name(1, 14), SegmentCount: 13},
					{ID: 2, First: name(2, 15), Last: name(2, 20), SegmentCount: 6, Parent: 1, SwitchLSN: "0/F0000A0"},
				},
				Gaps: []recovery.WALGap{}, MissingHistory: []string{}, Partials: []string{name(1, 15) + ".partial"}, SegmentSizeBytes: 16 << 20,
			},
			RecoveryWindow: &recovery.Window{From: arrival(5), To: arrival(20)},
		}},
	}, catalog)
	text, err := json.Marshal(catalog)
	require.NoError(t, err)
	require.NotContains(t, string(text), "null")
}

func TestRestorable(t *testing.T) {
	spaces := "[('fast', 16387, '/ts')]"
	for title, c := range map[string]struct {
		backup fakeBackup
		drop   string
		reason string
	}{
		"whole":                   {fakeBackup{}, "", ""},
		"plain tar":               {fakeBackup{files: []string{"data.tar"}}, "", ""},
		"split":                   {fakeBackup{files: []string{"data.tar.zst", "data_0001.tar.zst", "data_0002.tar.zst"}}, "", ""},
		"tablespace":              {fakeBackup{spaces: spaces, files: []string{"data.tar", "16387.tar", "16387_0001.tar"}}, "", ""},
		"no data":                 {fakeBackup{files: []string{"other"}}, "", "data.tar is missing"},
		"hole":                    {fakeBackup{files: []string{"data.tar", "data_0001.tar", "data_0004.tar"}}, "", "data_0002.tar to data_0003.tar is missing, though data_0004.tar is there"},
		"first part gone":         {fakeBackup{files: []string{"data_0001.tar.gz"}}, "", "data.tar is missing, though data_0001.tar.gz is there"},
		"tablespace gone":         {fakeBackup{spaces: spaces}, "", `16387.tar of tablespace "fast" is missing`},
		"hole in tablespace":      {fakeBackup{spaces: spaces, files: []string{"data.tar", "16387.tar", "16387_0002.tar"}}, "", `16387_0001.tar of tablespace "fast" is missing, though 16387_0002.tar is there`},
		"another one's prefix":    {fakeBackup{spaces: spaces, files: []string{"data.tar", "163870.tar"}}, "", `16387.tar of tablespace "fast" is missing`},
		"failed":                  {fakeBackup{status: "FAILED"}, "", "the backup failed"},
		"running":                 {fakeBackup{status: "STARTED"}, "", "the backup is not finished: its status is STARTED"},
		"waiting":                 {fakeBackup{status: "WAITING_FOR_WALS"}, "", "its status is WAITING_FOR_WALS, not DONE"},
		"no backup.info":          {fakeBackup{}, "backup.info", "it has no backup.info: it is still running, or was broken off"},
		"first segment gone":      {fakeBackup{}, name(1, 10), "1 of the 3 WAL segments " + name(1, 10) + " to " + name(1, 12) + ", which it needs, are missing; the first is " + name(1, 10)},
		"middle segment gone":     {fakeBackup{}, name(1, 11), "the first is " + name(1, 11)},
		"last segment gone":       {fakeBackup{}, name(1, 12), "the first is " + name(1, 12)},
		"all segments gone":       {fakeBackup{}, "/wals/", "3 of the 3 WAL segments"},
		"its only segment gone":   {fakeBackup{begin: 11, end: 11}, name(1, 11), "the WAL segment " + name(1, 11) + ", which it needs, is missing"},
		"a segment it needs not":  {fakeBackup{}, name(1, 9), ""},
		"one behind it":           {fakeBackup{}, name(1, 13), ""},
		"timeline without WAL":    {fakeBackup{timeline: 2}, "", "3 of the 3 WAL segments"},
		"other segment size, end": {fakeBackup{size: 1 << 20, begin: 10, end: 300}, "", "of the 291 WAL segments"},
	} {
		t.Run(title, func(t *testing.T) {
			f := newFake()
			c.backup.id = "20261123T020000"
			if c.backup.end == 0 {
				c.backup.begin, c.backup.end = 10, 12
			}
			f.backup(v1, c.backup)
			f.segments(v1, defaultSegmentSize, 1, 8, 15, ".gz")
			if c.drop != "" {
				f.drop(t, c.drop)
			}
			server := one(t, f)
			require.Len(t, server.Backups, 1)
			b := server.Backups[0]
			require.Equal(t, c.reason == "", b.Restorable)
			if c.reason == "" {
				require.Empty(t, b.Reasons)
				require.NotNil(t, server.RecoveryWindow)
				return
			}
			require.Contains(t, strings.Join(b.Reasons, "; "), c.reason)
			require.Nil(t, server.RecoveryWindow)
			require.Contains(t, strings.Join(server.Warnings, "\n"), "backup 20261123T020000 is not restorable: "+b.Reasons[0])
		})
	}
}

func TestEmptyDataFileIsNoBackup(t *testing.T) {
	f := newFake()
	f.backup(v1, fakeBackup{id: "20261123T020000", begin: 1, end: 1, files: []string{}})
	f.put(v1+"/base/20261123T020000/data.tar.gz", 0, arrival(1), nil)
	f.segments(v1, defaultSegmentSize, 1, 1, 2, "")
	require.Equal(t, []string{"data.tar.gz is empty (0 bytes)"}, one(t, f).Backups[0].Reasons)
}

func TestRecoveryWindow(t *testing.T) {
	b := func(second int, timeline uint32, segment uint64) fakeBackup {
		return fakeBackup{id: fmt.Sprintf(id, second), timeline: timeline, begin: segment, end: segment}
	}
	for title, c := range map[string]struct {
		backups  []fakeBackup
		pieces   []piece
		history  string
		from, to int
		warns    string
	}{
		"to the last WAL":              {[]fakeBackup{b(3, 1, 3), b(8, 1, 8)}, []piece{{1, 2, 20}}, "", 3, 20, ""},
		"gap between the backups":      {[]fakeBackup{b(3, 1, 3), b(8, 1, 8)}, []piece{{1, 2, 5}, {1, 7, 20}}, "", 8, 20, "backup 20261123T020003 can be recovered to about 2026-11-23T02:00:05Z"},
		"gap behind all":               {[]fakeBackup{b(3, 1, 3), b(8, 1, 8)}, []piece{{1, 2, 12}, {1, 14, 20}}, "", 3, 12, "2 backups (20261123T020003 to 20261123T020008) can be recovered to about 2026-11-23T02:00:12Z"},
		"gap before all":               {[]fakeBackup{b(8, 1, 8)}, []piece{{1, 2, 5}, {1, 7, 20}}, "", 8, 20, ""},
		"newest is not restorable":     {[]fakeBackup{b(3, 1, 3), b(8, 1, 8)}, []piece{{1, 2, 7}, {1, 9, 20}}, "", 3, 7, "backup 20261123T020008 is not restorable"},
		"over a switch":                {[]fakeBackup{b(3, 1, 3)}, []piece{{1, 2, 14}, {2, 15, 20}}, "1\t0/F0000A0\tx", 3, 20, ""},
		"a hole at the switch":         {[]fakeBackup{b(3, 1, 3)}, []piece{{1, 2, 12}, {2, 15, 20}}, "1\t0/F0000A0\tx", 3, 12, "WAL is missing behind " + name(1, 12)},
		"child's first one gone":       {[]fakeBackup{b(3, 1, 3)}, []piece{{1, 2, 15}, {2, 16, 20}}, "1\t0/F0000A0\tx", 3, 14, "WAL is missing behind " + name(1, 14)},
		"no history to follow":         {[]fakeBackup{b(3, 1, 3)}, []piece{{1, 2, 14}, {2, 15, 20}}, "", 3, 14, "00000002.history is missing"},
		"a backup on a left timeline":  {[]fakeBackup{b(16, 1, 16), b(18, 2, 18)}, []piece{{1, 2, 17}, {2, 15, 20}}, "1\t0/F0000A0\tx", 18, 20, ""},
		"WAL arrived before its clock": {[]fakeBackup{{id: "20261123T020000", begin: 3, end: 3}}, []piece{{1, 3, 3}}, "", 3, 3, ""},
	} {
		t.Run(title, func(t *testing.T) {
			f := newFake()
			for _, b := range c.backups {
				f.backup(v1, b)
			}
			for _, p := range c.pieces {
				f.segments(v1, defaultSegmentSize, p.timeline, p.first, p.last, ".gz")
			}
			if c.history != "" {
				f.history(v1, 2, c.history)
			}
			server := one(t, f)
			require.Equal(t, &recovery.Window{From: arrival(c.from), To: arrival(c.to)}, server.RecoveryWindow)
			if c.warns == "" {
				require.Empty(t, server.Warnings)
			} else {
				require.Contains(t, strings.Join(server.Warnings, "\n"), c.warns)
			}
		})
	}
}

func TestGapThatAStandaloneKeepMakesIsExplained(t *testing.T) {
	f := newFake()
	f.backup(v1, fakeBackup{id: "20261123T020003", begin: 3, end: 4})
	f.put(v1+"/base/20261123T020003/annotations/keep", 10, arrival(4), []byte("standalone"))
	f.backup(v1, fakeBackup{id: "20261123T020050", begin: 50, end: 50})
	f.segments(v1, defaultSegmentSize, 1, 3, 4, "")
	f.segments(v1, defaultSegmentSize, 1, 50, 60, "")
	server := one(t, f)
	require.True(t, server.Backups[0].Restorable)
	require.Equal(t, &recovery.Window{From: arrival(50), To: arrival(60)}, server.RecoveryWindow)
	require.Contains(t, strings.Join(server.Warnings, "\n"), "on purpose")
}

func TestLineage(t *testing.T) {
	f := newFake()
	for i, server := range []string{"immich-v10", "immich-v2", "immich-v1"} {
		f.backup(server, fakeBackup{id: fmt.Sprintf(id, 9-i), begin: 3, end: 3, systemID: map[bool]string{true: "8", false: "7"}[i == 0], dataBytes: 1000})
		f.segments(server, defaultSegmentSize, 1, 3, 4, "")
	}
	f.backup("immich-v2", fakeBackup{id: "20261124T000000", begin: 4, end: 4, dataBytes: 499})
	f.put("notes/readme.txt", 5, arrival(0), nil)
	catalog, gaps := read(t, f)
	require.Empty(t, gaps)
	var names []string
	for _, server := range catalog.Servers {
		names = append(names, server.Name)
	}
	require.Equal(t, []string{"immich-v1", "immich-v2", "immich-v10"}, names, "and nothing of folders that are not Barman's")
	require.Len(t, catalog.Warnings, 1)
	require.Contains(t, catalog.Warnings[0], "system identifier changes from 7 (immich-v2/20261124T000000) to 8 (immich-v10/20261123T020009)")
	require.Len(t, catalog.Servers[1].Warnings, 1)
	require.Contains(t, catalog.Servers[1].Warnings[0], "backup 20261124T000000 has 499 B, less than half of 1000 B")

	catalog, _ = read(t, f, "immich-v10", "immich-v2", "immich-v10")
	require.Len(t, catalog.Servers, 2)
	require.Equal(t, "immich-v2", catalog.Servers[0].Name)
}

func TestAnotherDatabaseInTheSameServer(t *testing.T) {
	f := newFake()
	f.backup(v1, fakeBackup{id: "20261123T020003", begin: 3, end: 3})
	f.backup(v1, fakeBackup{id: "20261123T020010", begin: 1, end: 2, size: 1 << 20, systemID: "8"})
	f.segments(v1, defaultSegmentSize, 1, 1, 4, "")
	server := one(t, f)
	text := strings.Join(server.Warnings, "\n")
	require.Contains(t, text, "system identifier changes from 7")
	require.Contains(t, text, "another database wrote into the same server")
	require.Equal(t, int64(1<<20), server.WAL.SegmentSizeBytes)
	require.True(t, server.Backups[0].Restorable)
}

func TestEmptyServerThatIsNamed(t *testing.T) {
	catalog, gaps := read(t, healthy(), "immich-database-v2")
	require.Empty(t, gaps)
	require.Equal(t, []string{"nothing is stored under s3://postgres-backups/cnpg/immich/immich-database-v2: no backup and no WAL"}, catalog.Servers[0].Warnings)
	require.Equal(t, []recovery.Backup{}, catalog.Servers[0].Backups)
}

func TestWrongDestination(t *testing.T) {
	for prefix, says := range map[string]string{
		"other":                      "does not exist",
		"cnpg":                       "--destination-path s3://postgres-backups/cnpg/immich",
		destinationPrefix + "/" + v1: "give the path above it: --destination-path s3://postgres-backups/cnpg/immich",
	} {
		_, _, err := ReadCatalog(t.Context(), healthy(), Options{Bucket: fakeBucket, Prefix: prefix})
		require.ErrorIs(t, err, recovery.ErrNotFound)
		require.ErrorContains(t, err, says)
	}
	_, _, err := ReadCatalog(t.Context(), healthy(), Options{Bucket: "none", Prefix: destinationPrefix})
	require.ErrorContains(t, err, "no such bucket")
	_, _, err = ReadCatalog(t.Context(), healthy(), Options{Bucket: "none", Prefix: destinationPrefix, Servers: []string{v1}})
	require.ErrorContains(t, err, "no such bucket", "also when the server's name is known and nothing is listed first")
}

func TestBackupIDs(t *testing.T) {
	f := healthy()
	refs, err := BackupIDs(t.Context(), f, Options{Bucket: fakeBucket, Prefix: destinationPrefix})
	require.NoError(t, err)
	require.Equal(t, []BackupRef{{v1, "20261123T020016"}, {v1, "20261123T020004"}}, refs)
	require.Equal(t, int64(2), f.lists.Load())
	require.Zero(t, f.gets.Load())
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	cancel()
	_, _, err := ReadCatalog(ctx, healthy(), Options{Bucket: fakeBucket, Prefix: destinationPrefix, Servers: []string{v1}})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCompareNatural(t *testing.T) {
	order := []string{"", "a", "a1", "a2", "a10", "a10b", "a010c", "b01", "b1"}
	for i := range order {
		for j := range order {
			require.Equal(t, i < j, compareNatural(order[i], order[j]) < 0, "%s %s", order[i], order[j])
		}
	}
}
