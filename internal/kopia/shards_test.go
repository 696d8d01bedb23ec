package kopia

import (
	"bytes"
	"path"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"
	"github.com/stretchr/testify/require"
)

func TestShardLayoutFile(t *testing.T) {
	t.Parallel()
	modern := `{"default":[1,3],"maxNonShardedLength":20}`
	for _, test := range []struct{ shards, id, want string }{
		{modern, "kopia.repository", "kopia.repository.f"},
		{modern, "xe1", "xe1.f"},
		{modern, "xn0_c69a1cc3d7e8ee4d5ca0c0b5a5c4a3a1-s1-c1", "x/n0_/c69a1cc3d7e8ee4d5ca0c0b5a5c4a3a1-s1-c1.f"},
		{modern, "q0123456789abcdef0123456789abcdef-s1", "q/012/3456789abcdef0123456789abcdef-s1.f"},
		{`{"default":[],"maxNonShardedLength":0}`, "q0123456789abcdef0123456789abcdef", "q0123456789abcdef0123456789abcdef.f"},
		{`{"default":[1,3],"maxNonShardedLength":20,"overrides":[{"prefix":"q","shards":[2,2]}]}`, "q0123456789abcdef0123456789abcdef", "q0/12/3456789abcdef0123456789abcdef.f"},
		{`{"default":[30,30],"maxNonShardedLength":5}`, "0123456789", "0123456789.f"},
	} {
		layout, err := parseShards([]byte(test.shards))
		require.NoError(t, err)
		require.Equal(t, test.want, layout.file(blob.ID(test.id)))
	}
	require.Equal(t, "q01/234/56789abcdef0123456789.f", legacyLayout().file("q0123456789abcdef0123456789"))
}

func TestParseShardsRefuses(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", "[]", `{"default":[0]}`, `{"default":[-1]}`, `{"overrides":[{"prefix":"x","shards":[0]}]}`, `{"default":"1"}`} {
		_, err := parseShards([]byte(content))
		require.ErrorContains(t, err, shardsFile, "%q", content)
	}
}

// FuzzShards holds the parser and the file names against Kopia's own.
func FuzzShards(f *testing.F) {
	f.Add([]byte(`{"default":[1,3],"maxNonShardedLength":20,"overrides":[{"prefix":"x","shards":[2]}]}`), "xn0_c69a1cc3d7e8ee4d5ca0c0b5a5c4a3a1")
	f.Add([]byte(`{}`), "q")
	f.Fuzz(func(t *testing.T, content []byte, id string) {
		layout, err := parseShards(content)
		if err != nil {
			return
		}
		if id == "" || path.Clean("/"+id) != "/"+id || bytes.ContainsRune([]byte(id), '/') {
			return // no blob is called that
		}
		var theirs sharded.Parameters
		require.NoError(t, theirs.Load(bytes.NewReader(content)))
		folder, rest := theirs.GetShardDirectoryAndBlob("", blob.ID(id))
		require.Equal(t, path.Join(folder, string(rest)+blobSuffix), layout.file(blob.ID(id)))
	})
}
