package nfs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/kopia/nfs"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// TestSnapshotsOverNFS goes through --repo nfs://…: the answer is that of the mounted folder, and not
// a byte or a time of the repository changes.
func TestSnapshotsOverNFS(t *testing.T) {
	stack := lab.ForTest(t)
	dir := nfs.NewTestRepository(t, stack)
	server, err := stack.Ganesha(t.Context(), lab.GaneshaOptions{Dir: filepath.Dir(dir)})
	require.NoError(t, err)
	kopiaCLI, err := stack.Kopia(t.Context())
	require.NoError(t, err)
	address := fmt.Sprintf("nfs://%s:%d%s?mountport=%d", server.Host, server.Port, dir, server.MountPort)

	before := treeSum(t, dir)
	local, _ := snapshots(t, dir, kopiaCLI.Password)
	remote, operations := snapshots(t, address, kopiaCLI.Password)
	require.Len(t, remote, 4)
	require.Equal(t, local, remote)
	require.Equal(t, before, treeSum(t, dir))
	t.Logf("%d operations", operations)
	require.LessOrEqual(t, operations, int64(60))

	_, err = open(t, address, "not the password", nil)
	require.ErrorIs(t, err, recovery.ErrWrongPassword)
	_, err = open(t, address+"&uid=1000&gid=1000", kopiaCLI.Password, nil)
	require.ErrorIs(t, err, recovery.ErrDenied)
	require.ErrorContains(t, err, "?uid=568&gid=568")
	require.NoError(t, server.Process.Kill())
	_, err = open(t, address, kopiaCLI.Password, nil)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
}

func open(t *testing.T, address, password string, wrap func(blob.Storage) blob.Storage) (*kopia.Repository, error) {
	t.Helper()
	location, err := kopia.ParseLocation(address)
	require.NoError(t, err)
	return kopia.Open(t.Context(), location, kopia.Options{
		Password: func(context.Context) (string, error) { return password, nil }, Wrap: wrap,
	})
}

// snapshots lists the repository and tells how many NFS operations it took.
func snapshots(t *testing.T, address, password string) ([]recovery.Snapshot, int64) {
	t.Helper()
	var storage blob.Storage
	repository, err := open(t, address, password, func(s blob.Storage) blob.Storage { storage = s; return s })
	require.NoError(t, err)
	found, gaps, err := repository.Snapshots(t.Context())
	require.NoError(t, err)
	require.Empty(t, gaps)
	var operations int64
	if counting, ok := storage.(interface{ Operations() int64 }); ok {
		operations = counting.Operations()
	}
	require.NoError(t, repository.Close(t.Context()))
	return found, operations
}

// treeSum covers names, sizes, modes, times of change and contents.
func treeSum(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(sum, path, info.Size(), info.Mode(), info.ModTime().UnixNano())
		if entry.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		_, _ = sum.Write(content)
		return err
	}))
	return hex.EncodeToString(sum.Sum(nil))
}
