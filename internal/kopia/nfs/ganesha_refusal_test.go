package nfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// smallTree makes a folder that looks like a repository: two blobs, 0600, of uid 568.
func smallTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup", "volsync")
	shard := filepath.Join(dir, "p", "abc")
	require.NoError(t, os.MkdirAll(shard, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".shards"), []byte(`{"default":[1,3],"maxNonShardedLength":20}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kopia.repository.f"), []byte("format"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(shard, "0123456789abcdef0123.f"), []byte("pack"), 0o600))
	chown(t, dir)
	return dir
}

const smallPack = blob.ID("pabc0123456789abcdef0123")

func requireProblem(t *testing.T, err, kind error, texts ...string) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var p *recovery.Problem
	require.ErrorAs(t, err, &p)
	require.NotEmpty(t, p.Next)
	for _, text := range texts {
		require.ErrorContains(t, err, text)
	}
}

func TestPrivilegedExport(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: dir, PrivilegedPort: true})

	require.Len(t, listAll(t, openStorage(t, o), ""), 2, "root has a port below 1024")

	refused := asNobody(t, o)
	require.Zero(t, refused.Blobs)
	for _, text := range []string{"source port below 1024", "insecure", "PrivilegedPort = false", "run drctl as root"} {
		require.Contains(t, refused.Error, text)
	}
}

func TestNobodyReadsAnOrdinaryExport(t *testing.T) {
	stack := lab.ForTest(t)
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: smallTree(t)})
	require.Equal(t, childResult{UID: 65534, Blobs: 2}, asNobody(t, o))
}

func TestWrongExport(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: dir})

	elsewhere := o
	elsewhere.Path = "/no/such/export"
	_, err := New(t.Context(), elsewhere)
	requireProblem(t, err, recovery.ErrNotFound, "no such export", "the server exports: "+dir)

	below := o
	below.Path += "/missing/repository"
	_, err = New(t.Context(), below)
	requireProblem(t, err, recovery.ErrNotFound, "no folder /missing/repository", dir)

	file := o
	file.Path += "/kopia.repository.f"
	_, err = New(t.Context(), file)
	requireProblem(t, err, recovery.ErrNotFound, "not a folder")
}

func TestExportForOthersOnly(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: dir, Clients: "192.0.2.7"})
	_, err := New(t.Context(), o)
	requireProblem(t, err, recovery.ErrDenied, "refuses", "allow this machine's address")
}

func TestWrongUser(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: dir, Squash: "Root_Squash"})

	for _, uid := range []uint32{1000, 0} {
		other := o
		other.UID, other.GID = uid, uid
		s, err := New(t.Context(), other)
		if err == nil {
			err = s.ListBlobs(t.Context(), "", func(blob.Metadata) error { return nil })
			require.NoError(t, s.Close(t.Context()))
		}
		requireProblem(t, err, recovery.ErrDenied, "?uid=568&gid=568")
	}
}

// TestWrongUserForFiles: a folder that all may enter, and files that only their owner may read.
func TestWrongUserForFiles(t *testing.T) {
	stack := lab.ForTest(t)
	dir := smallTree(t)
	for _, open := range []string{dir, filepath.Join(dir, "p"), filepath.Join(dir, "p", "abc")} {
		require.NoError(t, os.Chmod(open, 0o755))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, ".shards"), 0o644))
	o := startGanesha(t, stack, lab.GaneshaOptions{Dir: dir})
	o.UID, o.GID = 1000, 1000
	s := openStorage(t, o)
	require.Len(t, listAll(t, s, ""), 2)
	err := s.GetBlob(t.Context(), smallPack, 0, -1, new(buffer))
	requireProblem(t, err, recovery.ErrDenied, "uid 1000", "0600", "568:568", "?uid=568&gid=568")
	require.NotErrorIs(t, err, blob.ErrBlobNotFound)
}
