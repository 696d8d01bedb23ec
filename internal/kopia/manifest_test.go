package kopia

import (
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/content"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func pack(t testing.TB, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, err := zip.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	return packed.Bytes()
}

const goodEntry = `{"id":"one","labels":{"type":"snapshot","hostname":"karakeep"},"modified":"2026-11-23T02:00:01Z","data":{
	"source":{"host":"karakeep","userName":"data-pvc-backup","path":"/data"},"startTime":"2026-11-23T03:00:00.123456789+01:00","endTime":"2026-11-23T02:00:09Z",
	"incomplete":"checkpoint","pins":["keep"],"stats":{"totalSize":7},"rootEntry":{"obj":"kabc","summ":{"size":12,"files":3,"dirs":2,"numFailed":1,"symlinks":9}}}}`

func TestDecodeManifests(t *testing.T) {
	t.Parallel()
	want := recovery.Snapshot{
		ID: "one", Source: recovery.KopiaSource{Username: "data-pvc-backup", Hostname: "karakeep", Path: "/data"},
		StartTime: time.Date(2026, 11, 23, 2, 0, 0, 123456789, time.UTC), EndTime: time.Date(2026, 11, 23, 2, 0, 9, 0, time.UTC),
		SizeBytes: 12, FileCount: 3, DirCount: 2, ErrorCount: 1, Incomplete: "checkpoint", Pins: []string{"keep"}, RootID: "kabc",
	}
	for name, others := range map[string]string{
		"alone":                         "",
		"with a policy":                 `,{"id":"p","labels":{"type":"policy"},"modified":"2026-11-23T02:00:01Z","data":{"retention":{"keepDaily":7}}}`,
		"with a field of the same name": `,{"id":"p","labels":{"type":"policy"},"modified":"2026-11-23T02:00:01Z","data":{"source":"text","startTime":5,"pins":{}}}`,
		"with data that is no object":   `,{"id":"p","labels":{"type":"odd"},"modified":"2026-11-23T02:00:01Z","data":[1]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries, err := decodeManifests(pack(t, `{"other":1,"entries":[`+goodEntry+others+`]}`))
			require.NoError(t, err)
			require.Equal(t, want, *entries[0].snapshot)
			for _, e := range entries[1:] {
				require.Nil(t, e.snapshot)
				require.NoError(t, e.err)
			}
		})
	}
}

func TestDecodeManifestsOneUnreadable(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"no start time": `{"endTime":"2026-11-23T02:00:09Z"}`,
		"bad end time":  `{"startTime":"2026-11-23T02:00:09Z","endTime":"yesterday"}`,
		"wrong type":    `{"startTime":"2026-11-23T02:00:09Z","endTime":"2026-11-23T02:00:09Z","rootEntry":"text"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries, err := decodeManifests(pack(t, `{"entries":[{"id":"bad","labels":{"type":"snapshot"},"modified":"2026-11-23T02:00:01Z","data":`+data+`},`+goodEntry+`]}`))
			require.NoError(t, err)
			require.Error(t, entries[0].err)
			require.NotNil(t, entries[1].snapshot)
			snapshots, unreadable := merge(map[content.ID][]manifestEntry{{}: entries})
			require.Len(t, snapshots, 1)
			require.Equal(t, "bad", unreadable[0].id)
		})
	}
}

func TestDecodeManifestsRefuses(t *testing.T) {
	t.Parallel()
	whole := pack(t, `{"entries":[`+goodEntry+`]}`)
	for name, packed := range map[string][]byte{
		"empty": nil, "no gzip": []byte("{}"), "cut short": whole[:len(whole)/2], "no JSON": pack(t, "{"), "bad date": pack(t, `{"entries":[{"modified":"x"}]}`),
	} {
		_, err := decodeManifests(packed)
		require.Error(t, err, name)
	}
}

// TestMergeTakesTheNewest covers what compactions leave behind: the same manifest twice, and a
// deletion in another content.
func TestMergeTakesTheNewest(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Date(2026, 11, 23, 0, 0, second, 0, time.UTC) }
	shot := func(id string, size int64) *recovery.Snapshot { return &recovery.Snapshot{ID: id, SizeBytes: size} }
	first, err := content.ParseID("m0123456789abcdef0123456789abcdef")
	require.NoError(t, err)
	second, err := content.ParseID("mfedcba9876543210fedcba9876543210")
	require.NoError(t, err)
	snapshots, unreadable := merge(map[content.ID][]manifestEntry{
		first: {
			{id: "deleted", modified: at(1), snapshot: shot("deleted", 1)},
			{id: "replaced", modified: at(1), snapshot: shot("replaced", 1)},
			{id: "kept", modified: at(1), snapshot: shot("kept", 1)},
			{id: "policy", modified: at(1)},
			{id: "broken then rewritten", modified: at(1), err: errUndecodable},
		},
		second: {
			{id: "deleted", modified: at(2), deleted: true},
			{id: "replaced", modified: at(2), snapshot: shot("replaced", 2)},
			{id: "kept", modified: at(1), snapshot: shot("kept", 1)},
			{id: "broken then rewritten", modified: at(2), snapshot: shot("broken then rewritten", 3)},
		},
	})
	require.Empty(t, unreadable)
	require.Equal(t, []recovery.Snapshot{*shot("broken then rewritten", 3), *shot("kept", 1), *shot("replaced", 2)}, snapshots)
}

func FuzzDecodeManifests(f *testing.F) {
	f.Add([]byte(`{"entries":[` + goodEntry + `]}`))
	f.Add([]byte(`{"entries":[null,{"labels":{"type":"snapshot"},"data":null}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := decodeManifests(pack(t, string(text)))
		if err != nil {
			require.Empty(t, entries)
		}
		for _, e := range entries {
			require.False(t, e.snapshot != nil && (e.deleted || e.err != nil))
		}
	})
}
