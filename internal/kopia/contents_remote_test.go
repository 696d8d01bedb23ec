package kopia_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/lab"
)

// TestExtractFromS3 takes a volume out of a bucket.
func TestExtractFromS3(t *testing.T) {
	t.Parallel()
	_, p, o := bucket(t)
	data := makeVolume(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, data))
	requireExtracted(t, data, source{"s3://volsync-backups/kopia", o})
}

// TestExtractFromNFS takes a volume out of an NFS server, as its owner, without a mount.
func TestExtractFromNFS(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	data := makeVolume(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, data))
	export := openFolder(t)
	dir := filepath.Join(export, "volsync")
	require.NoError(t, os.CopyFS(dir, os.DirFS(p.Dir)))
	chmodReadOnly(t, dir)
	server, err := lab.ForTest(t).Ganesha(t.Context(), lab.GaneshaOptions{Dir: export})
	require.NoError(t, err)
	address := fmt.Sprintf("nfs://%s:%d%s/volsync?mountport=%d", server.Host, server.Port, server.Export, server.MountPort)
	requireExtracted(t, data, source{address, kopia.Options{Password: password(p.Password)}})
}

func requireExtracted(t *testing.T, data string, s source) {
	t.Helper()
	into := filepath.Join(t.TempDir(), "out")
	report, gaps, err := extract(t.Context(), s, into)
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Empty(t, report.Failed)
	require.Equal(t, treeOf(t, data, always), treeOf(t, into, always))
}
