package nfs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// movers is the user that Kopia's files belong to on the platform.
const movers = 568

// buffer is a blob.OutputBuffer.
type buffer struct{ bytes.Buffer }

func (b *buffer) Length() int { return b.Len() }

// newRepository makes a Kopia repository whose files only uid 568 may read, with a pack larger than
// one READ.
func newRepository(t *testing.T, stack *lab.Stack) string {
	t.Helper()
	kopia, err := stack.Kopia(t.Context())
	require.NoError(t, err)
	dir, data := filepath.Join(t.TempDir(), "backup", "volsync"), t.TempDir()
	require.NoError(t, kopia.CreateRepository(t.Context(), dir))
	for _, name := range []string{"one", "two", "three"} {
		content := bytes.Repeat([]byte(name), 100)
		require.NoError(t, os.WriteFile(filepath.Join(data, name), content, 0o600))
		require.NoError(t, kopia.Snapshot(t.Context(), name+"-backup@default:/data", data))
	}
	large := make([]byte, 3<<20+17)
	fillRandom(large)
	require.NoError(t, os.WriteFile(filepath.Join(data, "large"), large, 0o600))
	require.NoError(t, kopia.Snapshot(t.Context(), "large-backup@media:/data", data))
	chown(t, dir)
	return dir
}

// chown gives a tree to the movers, and makes its parents passable.
func chown(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if entry.IsDir() {
			mode = 0o700
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chown(path, movers, movers)
	}))
	for parent := filepath.Dir(dir); len(parent) > len(os.TempDir()); parent = filepath.Dir(parent) {
		require.NoError(t, os.Chmod(parent, 0o755))
	}
}

func startGanesha(t *testing.T, stack *lab.Stack, o lab.GaneshaOptions) Options {
	t.Helper()
	server, err := stack.Ganesha(t.Context(), o)
	require.NoError(t, err)
	return Options{Host: server.Host, Port: server.Port, MountPort: server.MountPort, Path: server.Export, UID: movers, GID: movers, Timeout: 20 * time.Second}
}

func openStorage(t *testing.T, o Options) *storage {
	t.Helper()
	opened, err := New(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close(t.Context())) })
	return opened.(*storage)
}

func listAll(t *testing.T, s blob.Lister, prefix blob.ID) []blob.Metadata {
	t.Helper()
	all, err := blob.ListAllBlobs(t.Context(), s, prefix)
	require.NoError(t, err)
	sort.Slice(all, func(i, k int) bool { return all[i].BlobID < all[k].BlobID })
	for i := range all {
		all[i].Timestamp = all[i].Timestamp.UTC()
	}
	return all
}

func TestSameBlobsAsTheFilesystemStorage(t *testing.T) {
	stack := lab.ForTest(t)
	dir := newRepository(t, stack)
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: filepath.Dir(dir)})
	o.Path = dir
	s := openStorage(t, o)
	local, err := filesystem.New(t.Context(), &filesystem.Options{Path: dir}, false)
	require.NoError(t, err)

	expected := listAll(t, local, "")
	require.Greater(t, len(expected), 10)
	require.Equal(t, expected, listAll(t, s, ""))
	t.Log(len(expected), s.Operations())
}
