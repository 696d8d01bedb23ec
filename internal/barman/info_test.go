package barman

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const testdata = "../../testdata/barman"

// sample is a file that Barman 3.4.0 or PostgreSQL 15 wrote; only folders were renamed.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(testdata, name))
	require.NoError(t, err)
	return body
}

func TestParseInfoOfRealBackups(t *testing.T) {
	const systemID = "7711269069915600929"
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		return parsed
	}
	spaces := []recovery.Tablespace{{Name: "fast", OID: 16387, Location: "/var/lib/postgresql/tablespaces/fast/data"}}
	for file, want := range map[string]Info{
		"plain.info": {
			Status: "DONE", BeginTime: at("2026-11-23T07:42:22.958898Z"), EndTime: at("2026-11-23T07:42:25.462665Z"),
			BeginWAL: "000000010000000000000002", EndWAL: "000000010000000000000002", Timeline: 1, SystemID: systemID,
			Version: 150020, SegmentSize: 16 << 20,
		},
		"named_tablespace.info": {
			Status: "DONE", Name: "before 'the' upgrade", BeginTime: at("2026-11-23T07:42:28.710684Z"), EndTime: at("2026-11-23T07:42:29.32525Z"),
			BeginWAL: "000000010000000000000004", EndWAL: "000000010000000000000004", Timeline: 1, SystemID: systemID,
			Version: 150020, SegmentSize: 16 << 20, Tablespaces: spaces,
		},
		"timeline2.info": {
			Status: "DONE", BeginTime: at("2026-11-23T07:43:34.083382Z"), EndTime: at("2026-11-23T07:43:48.472054Z"),
			BeginWAL: "000000020000000000000016", EndWAL: "000000020000000000000016", Timeline: 2, SystemID: systemID,
			Version: 150020, SegmentSize: 16 << 20, Tablespaces: spaces,
		},
		"failed.info": {
			Status: "FAILED", Name: "backup-20261123080251", BeginTime: at("2026-11-23T08:02:52.240868Z"),
			BeginWAL: "000000010000000000000007", Timeline: 1, SystemID: "7711274275371514376", Version: 150020, SegmentSize: 16 << 20,
			Error: "failure uploading data ([Errno 13] Permission denied: '/var/lib/postgresql/data/pgdata/base/1/unreadable')",
		},
	} {
		info, err := ParseInfo(sample(t, file))
		require.NoError(t, err, file)
		require.Equal(t, want, info, file)
	}
}

// replace changes one line of the plain sample.
func replace(t *testing.T, key, value string) []byte {
	t.Helper()
	var b strings.Builder
	found := false
	for line := range strings.Lines(string(sample(t, "plain.info"))) {
		if strings.HasPrefix(line, key+"=") {
			line, found = key+"="+value+"\n", true
		}
		b.WriteString(line)
	}
	require.True(t, found, key)
	return []byte(b.String())
}

func TestParseInfoTakesVariants(t *testing.T) {
	plain := string(sample(t, "plain.info"))
	without := func(key string) string {
		start := strings.Index(plain, "\n"+key+"=") + 1
		return plain[:start] + plain[start+strings.Index(plain[start:], "\n")+1:]
	}
	for name, c := range map[string]struct {
		text  string
		check func(*testing.T, Info)
	}{
		"unknown keys":      {"new_key={'a': [1, 2]}\n" + plain, func(*testing.T, Info) {}},
		"comments, blanks":  {"# by hand\n\n  \n" + plain, func(*testing.T, Info) {}},
		"blanks around =":   {strings.ReplaceAll(plain, "timeline=1", "timeline = 1"), func(t *testing.T, i Info) { require.Equal(t, int64(1), i.Timeline) }},
		"Windows line ends": {strings.ReplaceAll(plain, "\n", "\r\n"), func(t *testing.T, i Info) { require.Equal(t, "DONE", i.Status) }},
		"no last line end":  {strings.TrimSuffix(plain, "\n"), func(t *testing.T, i Info) { require.Equal(t, SegmentSize(16<<20), i.SegmentSize) }},
		"old Barman without segment size": {without("xlog_segment_size"), func(t *testing.T, i Info) {
			require.Equal(t, SegmentSize(16<<20), i.SegmentSize)
		}},
		"old Barman without systemid": {without("systemid"), func(t *testing.T, i Info) { require.Empty(t, i.SystemID) }},
		"1 MiB segments": {string(replace(t, "xlog_segment_size", "1048576")), func(t *testing.T, i Info) {
			require.Equal(t, SegmentSize(1<<20), i.SegmentSize)
		}},
		"another zone": {string(replace(t, "end_time", "2026-11-23 09:00:00+02:00")), func(t *testing.T, i Info) {
			require.Equal(t, time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), i.EndTime)
		}},
		"status None": {"status=None\nversion=None\n", func(t *testing.T, i Info) { require.Equal(t, "EMPTY", i.Status) }},
		"snapshots": {string(replace(t, "server_name", "x")) + "snapshots_info={'provider': 'gcp'}\n", func(t *testing.T, i Info) {
			require.True(t, i.Snapshots)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			info, err := ParseInfo([]byte(c.text))
			require.NoError(t, err)
			c.check(t, info)
		})
	}
}

func TestParseInfoRefuses(t *testing.T) {
	plain := sample(t, "plain.info")
	for name, c := range map[string]struct {
		body []byte
		says string
	}{
		"empty":               {nil, "it is empty"},
		"blank":               {[]byte("\n \n"), "it is empty"},
		"binary":              {[]byte{0x1f, 0x8b, 8, 0, 0xff, 0xfe}, "not text"},
		"NUL":                 {append([]byte("a=b\x00\n"), plain...), "not text"},
		"10 MB":               {bytes.Repeat([]byte("a=bcdefg\n"), 10<<20/9), "larger than"},
		"HTML":                {[]byte("<html>\n<p>no</p>\n"), "line 1 is not KEY=VALUE"},
		"no status":           {[]byte("timeline=1\n"), "no status"},
		"odd status":          {replace(t, "status", "done; rm -rf"), "is no status"},
		"bad time":            {replace(t, "end_time", "yesterday"), "end_time"},
		"bad WAL":             {replace(t, "begin_wal", "00000001000000000000000G"), "begin_wal"},
		"WAL of no size":      {replace(t, "end_wal", "000000010000000000000100"), "does not exist"},
		"end before begin":    {replace(t, "end_wal", "000000010000000000000001"), "contradict"},
		"other timeline":      {replace(t, "end_wal", "000000020000000000000002"), "contradict"},
		"DONE without an end": {replace(t, "end_wal", "None"), "no end_wal"},
		"timeline 0":          {replace(t, "timeline", "0"), "timeline"},
		"version":             {replace(t, "version", "15.2"), "version"},
		"segment size":        {replace(t, "xlog_segment_size", "1677721"), "no WAL segment size"},
		"system identifier":   {replace(t, "systemid", "-1"), "system identifier"},
		"tablespaces":         {replace(t, "tablespaces", "[('fast', 16387)]"), "no list of tablespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInfo(c.body)
			var p *recovery.Problem
			require.ErrorAs(t, err, &p)
			require.ErrorIs(t, err, recovery.ErrDamaged)
			require.ErrorContains(t, err, c.says)
			require.NotEmpty(t, p.Next)
			require.Less(t, len(err.Error()), 1000, "a message is not a copy of the file")
		})
	}
}

// TestParseInfoSeesEveryTruncation cuts a real file at every byte. What is still accepted must be the
// whole file but its last line end.
func TestParseInfoSeesEveryTruncation(t *testing.T) {
	for _, file := range []string{"plain.info", "named_tablespace.info", "timeline2.info"} {
		whole := sample(t, file)
		for cut := range len(whole) {
			info, err := ParseInfo(whole[:cut])
			if err != nil {
				require.ErrorIs(t, err, recovery.ErrDamaged)
				continue
			}
			want, err := ParseInfo(whole)
			require.NoError(t, err)
			require.Equal(t, want, info, "%s cut at %d of %d", file, cut, len(whole))
		}
	}
}

func TestParseTablespaces(t *testing.T) {
	for text, want := range map[string][]recovery.Tablespace{
		`[]`:                               nil,
		`[('fast', 16387, '/ts')]`:         {{Name: "fast", OID: 16387, Location: "/ts"}},
		`[('a', 1, '/a'), ('b', 2, '/b')]`: {{Name: "a", OID: 1, Location: "/a"}, {Name: "b", OID: 2, Location: "/b"}},
		`[["it's", 7, '/x',],]`:            {},
		`[("it's", 7, '/x\\y\'z\n')]`:      {{Name: "it's", OID: 7, Location: "/x\\y'z\n"}},
		`[('caf\xe9', 7, '\u20ac')]`:       {{Name: "café", OID: 7, Location: "€"}},
		`[('café', 7, '/x')]`:              {{Name: "café", OID: 7, Location: "/x"}},
	} {
		list, err := parseTablespaces(text)
		require.NoError(t, err, text)
		if len(want) > 0 || len(list) == 0 {
			require.Equal(t, want, list, text)
		}
	}
	for _, text := range []string{"", "[", "[(", "[('a'", "[('a', 1, 'b'", "[('a', 1, 'b')", "[('a', 1, 'b')] x", "[('a', x, 'b')]", "[('a', 1)]", "('a', 1, 'b')", `[('\q', 1, '')]`, "[('a', 99999999999999999999, '')]"} {
		_, err := parseTablespaces(text)
		require.Error(t, err, text)
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, name := range []string{"plain.info", "named_tablespace.info", "timeline2.info", "failed.info"} {
		body := sample(f, name)
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	f.Add([]byte(`status=EMPTY` + "\n" + `tablespaces=[("a'b", 1, '\x41\u20ac\'')]` + "\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		info, err := ParseInfo(body)
		if err != nil {
			require.ErrorIs(t, err, recovery.ErrDamaged)
			require.Less(t, len(err.Error()), 1000)
			return
		}
		require.NotEmpty(t, info.Status)
		require.True(t, info.SegmentSize.Valid())
		if info.Status != statusDone {
			return
		}
		_, first, last, err := info.segments()
		require.NoError(t, err)
		require.LessOrEqual(t, first, last)
		require.False(t, info.EndTime.IsZero())
		// What follows the file's end cannot take anything back: unknown keys are ignored.
		again, err := ParseInfo(append(append([]byte{}, body...), "\nunknown=1\n"...))
		require.NoError(t, err)
		require.Equal(t, info, again)
	})
}
