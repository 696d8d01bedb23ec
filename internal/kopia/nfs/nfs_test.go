package nfs

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func newOperations() *atomic.Int64 { return new(atomic.Int64) }

func TestCompleteOptions(t *testing.T) {
	for given, expected := range map[string]string{
		"":                   "/",
		"/":                  "/",
		"mnt/backup":         "/mnt/backup",
		"//mnt//backup///":   "/mnt/backup",
		"/mnt/./backup/../x": "/mnt/x",
		"/../../etc":         "/etc",
		"/with space/ü":      "/with space/ü",
	} {
		o, err := Options{Host: "nas", Path: given}.complete()
		require.NoError(t, err)
		require.Equal(t, expected, o.Path)
		require.Equal(t, DefaultTimeout, o.Timeout)
		require.Equal(t, DefaultConnections, o.Connections)
		require.Equal(t, 111, o.portmapperPort)
	}
	o, err := Options{Host: "nas", Connections: 1000}.complete()
	require.NoError(t, err)
	require.Equal(t, maxConnections, o.Connections)
}

func TestImpossibleOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no host":      {Path: "/x"},
		"port":         {Host: "nas", Port: 65536},
		"mount port":   {Host: "nas", MountPort: -1},
		"zero byte":    {Host: "nas", Path: "/a\x00b"},
		"endless path": {Host: "nas", Path: strings.Repeat("/a", 600)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(t.Context(), o)
			requireProblem(t, err, recovery.ErrUsage)
		})
	}
}

func TestLocationAsText(t *testing.T) {
	require.Equal(t, "nfs://nas/a/b", Options{Host: "nas", Path: "/a/b"}.String())
	require.Equal(t, "nfs://nas:2049/a", Options{Host: "nas", Port: 2049, Path: "/a"}.String())
	require.Equal(t, "nfs://[fd00::1]:2049/a", Options{Host: "fd00::1", Port: 2049, Path: "/a"}.String())
	require.Equal(t, "nfs://[fd00::1]/a", Options{Host: "fd00::1", Path: "/a"}.String())
}

func TestPrefixes(t *testing.T) {
	require.Equal(t, []string{"/mnt/backup/volsync", "/mnt/backup", "/mnt", "/"}, prefixes("/mnt/backup/volsync"))
	require.Equal(t, []string{"/"}, prefixes("/"))
}

func TestWithin(t *testing.T) {
	exports := []string{"/mnt/backup", "/data/"}
	for path, expected := range map[string]bool{"/mnt/backup": true, "/mnt/backup/x": true, "/mnt/backups": false, "/mnt": false, "/data/x": true} {
		require.Equal(t, expected, within(exports, path), path)
	}
	require.True(t, within([]string{"/"}, "/anything"))
	require.False(t, within(nil, "/"))
}

func TestShards(t *testing.T) {
	cases := []struct {
		layout string
		id     blob.ID
		path   string
	}{
		{`{"default":[1,3],"maxNonShardedLength":20}`, "p0123456789abcdef01234", "/p/012/3456789abcdef01234.f"},
		{`{"default":[1,3],"maxNonShardedLength":20}`, "kopia.repository", "/kopia.repository.f"},
		{`{"default":[3,3],"maxNonShardedLength":10}`, "foobarbarbar", "/foo/bar/barbar.f"},
		{`{"default":[3,2],"maxNonShardedLength":2,"overrides":[{"prefix":"x","shards":[1,1,1]}]}`, "xhello", "/x/h/e/llo.f"},
		{`{"default":[0],"maxNonShardedLength":0}`, "foobar", "/foobar.f"},
	}
	for _, c := range cases {
		layout, err := parseShards([]byte(c.layout))
		require.NoError(t, err)
		s := &storage{layout: layout}
		path, err := s.path(t.Context(), c.id)
		require.NoError(t, err)
		require.Equal(t, c.path, path)
	}
}

// TestDefaultShards: repositories of old Kopia versions have no .shards and cut names by 3 and 3.
func TestDefaultShards(t *testing.T) {
	s := openStorage(t, newFake(t).options())
	path, err := s.path(t.Context(), "foobarbaz12345678910123213123")
	require.NoError(t, err)
	require.Equal(t, "/foo/bar/baz12345678910123213123.f", path)
}

func FuzzShards(f *testing.F) {
	f.Add([]byte(`{"default":[1,3],"maxNonShardedLength":20}`), "p0123456789abcdef01234")
	f.Add([]byte(`{"default":[0,-1],"overrides":[{"prefix":"x","shards":[9223372036854775807]}]}`), "x")
	f.Fuzz(func(t *testing.T, content []byte, id string) {
		layout, err := parseShards(content)
		if err != nil {
			return
		}
		path, err := (&storage{layout: layout}).path(t.Context(), blob.ID(id))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(path, "/"), path)
	})
}
