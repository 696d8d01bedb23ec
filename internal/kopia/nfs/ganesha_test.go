package nfs

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/filesystem"
	"github.com/kopia/kopia/repo/blob/readonly"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/snapshot"
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
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: filepath.Dir(dir), ReadOnly: true})
	o.Path = dir
	s := openStorage(t, o)
	local, err := filesystem.New(t.Context(), &filesystem.Options{Path: dir}, false)
	require.NoError(t, err)

	before := s.Operations()
	expected := listAll(t, local, "")
	require.Greater(t, len(expected), 10)
	require.Equal(t, expected, listAll(t, s, ""))
	require.Equal(t, countFolders(t, dir), int(s.Operations()-before), "one READDIRPLUS a folder")

	for _, prefix := range []blob.ID{"x", "xn0_", "p", "q", "kopia.", "_log", expected[0].BlobID, "none"} {
		require.Equal(t, listAll(t, local, prefix), listAll(t, s, prefix), prefix)
	}
	before = s.Operations()
	listAll(t, s, "none")
	require.EqualValues(t, 1, s.Operations()-before, "only folders that can hold the prefix are read")

	for _, one := range expected {
		requireSameBlob(t, local, s, one)
	}
	capacity, err := s.GetCapacity(t.Context())
	require.NoError(t, err)
	localCapacity, err := local.GetCapacity(t.Context())
	require.NoError(t, err)
	require.Equal(t, localCapacity.SizeB, capacity.SizeB)
	require.Positive(t, capacity.FreeB)
}

func countFolders(t *testing.T, dir string) int {
	t.Helper()
	count := 0
	require.NoError(t, filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			count++
		}
		return err
	}))
	return count
}

func requireSameBlob(t *testing.T, local blob.Storage, s *storage, one blob.Metadata) {
	t.Helper()
	found, err := s.GetMetadata(t.Context(), one.BlobID)
	require.NoError(t, err)
	require.Equal(t, one, found)
	size := one.Length
	for _, r := range []struct{ offset, length int64 }{{0, -1}, {0, size}, {0, 0}, {size, 0}, {size / 3, size / 2}, {size - 1, 1}} {
		var expected, got buffer
		require.NoError(t, local.GetBlob(t.Context(), one.BlobID, r.offset, r.length, &expected))
		got.WriteString("left over")
		require.NoError(t, s.GetBlob(t.Context(), one.BlobID, r.offset, r.length, &got))
		require.True(t, bytes.Equal(expected.Bytes(), got.Bytes()), "%s from %d, %d bytes", one.BlobID, r.offset, r.length)
	}
	for _, r := range []struct{ offset, length int64 }{{0, size + 1}, {size, 1}, {size + 100, 10}, {-1, 1}, {0, 1 << 60}} {
		require.ErrorIs(t, s.GetBlob(t.Context(), one.BlobID, r.offset, r.length, new(buffer)), blob.ErrInvalidRange)
		require.Error(t, local.GetBlob(t.Context(), one.BlobID, r.offset, min(r.length, size+1), new(buffer)))
	}
}

func TestMissingBlobs(t *testing.T) {
	stack := lab.ForTest(t)
	s := openStorage(t, startGanesha(t, stack, lab.GaneshaOptions{Dir: smallTree(t)}))
	for _, id := range []blob.ID{"kopia.blobcfg", "pabc0123456789abcdef9999", "pzzz0123456789abcdef0123", "x0000000000000000000000"} {
		require.ErrorIs(t, s.GetBlob(t.Context(), id, 0, -1, new(buffer)), blob.ErrBlobNotFound)
		_, err := s.GetMetadata(t.Context(), id)
		require.ErrorIs(t, err, blob.ErrBlobNotFound)
	}
}

func TestEveryWriteIsRefused(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	s := openStorage(t, startGanesha(t, stack, lab.GaneshaOptions{Dir: dir}))
	require.True(t, s.IsReadOnly())
	require.ErrorIs(t, s.PutBlob(t.Context(), "new", nil, blob.PutOptions{}), readonly.ErrReadonly)
	require.ErrorIs(t, s.DeleteBlob(t.Context(), smallPack), readonly.ErrReadonly)
	require.ErrorIs(t, s.ExtendBlobRetention(t.Context(), smallPack, blob.ExtendOptions{}), readonly.ErrReadonly)
	require.FileExists(t, filepath.Join(dir, "p", "abc", "0123456789abcdef0123.f"))
}

// TestReadingCosts counts operations: a listed blob is read with one call, an unlisted one with one
// more for each part of its way.
func TestReadingCosts(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	s := openStorage(t, startGanesha(t, stack, lab.GaneshaOptions{Dir: dir}))
	costs := func(call func()) int64 {
		before := s.Operations()
		call()
		return s.Operations() - before
	}
	get := func(id blob.ID) func() {
		return func() { require.NoError(t, s.GetBlob(t.Context(), id, 0, -1, new(buffer))) }
	}
	require.EqualValues(t, 4, costs(get("kopia.repository")), ".shards and the blob: LOOKUP and READ each")
	require.EqualValues(t, 2, costs(get("kopia.repository")), "it may have been replaced: looked up again")
	require.EqualValues(t, 4, costs(get(smallPack)), "two folders, the file, READ")
	require.EqualValues(t, 2, costs(get(smallPack)), "the folders are known")
	require.EqualValues(t, 3, costs(func() { listAll(t, s, "") }))
	require.EqualValues(t, 1, costs(get(smallPack)), "listed")
	require.NoError(t, s.FlushCaches(t.Context()))
	require.EqualValues(t, 4, costs(get(smallPack)))
}

// TestKopiaReadsARepository lets Kopia itself open the repository through the storage.
func TestKopiaReadsARepository(t *testing.T) {
	stack := lab.ForTest(t)
	dir := newRepository(t, stack)
	s := openStorage(t, startGanesha(t, stack, lab.GaneshaOptions{Dir: dir}))
	home := t.TempDir()
	config := filepath.Join(home, "repository.config")
	const kind = "drctl-nfs-test"
	blob.AddSupportedStorage(kind, Options{}, func(ctx context.Context, o *Options, _ bool) (blob.Storage, error) { return New(ctx, *o) })
	connect := &typed{s, kind}
	kopia, err := stack.Kopia(t.Context())
	require.NoError(t, err)
	options := &repo.ConnectOptions{ClientOptions: repo.ClientOptions{ReadOnly: true}, CachingOptions: content.CachingOptions{CacheDirectory: filepath.Join(home, "cache")}}
	require.NoError(t, repo.Connect(t.Context(), config, connect, kopia.Password, options))
	opened, err := repo.Open(t.Context(), config, kopia.Password, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close(t.Context())) })
	sources, err := snapshot.ListSources(t.Context(), opened)
	require.NoError(t, err)
	require.Len(t, sources, 4)

	err = repo.Connect(t.Context(), filepath.Join(home, "other.config"), connect, "not the password", options)
	require.ErrorIs(t, err, format.ErrInvalidPassword)
}

// typed gives the storage a type that is registered with Kopia.
type typed struct {
	*storage
	kind string
}

func (s *typed) ConnectionInfo() blob.ConnectionInfo {
	return blob.ConnectionInfo{Type: s.kind, Config: &s.options}
}
