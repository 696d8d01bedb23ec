package kopia_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// TestNFS lists a repository of user 568, mode 0600, from a real NFS server.
func TestNFS(t *testing.T) {
	t.Parallel()
	require.Zero(t, os.Getuid(), "the NFS server of the lab needs root")
	p := newPeer(t)
	live(t, p)
	export := openFolder(t)
	dir := filepath.Join(export, "volsync")
	require.NoError(t, os.CopyFS(dir, os.DirFS(p.Dir)))
	chmodReadOnly(t, dir)
	before := fingerprint(t, dir)
	server, err := lab.ForTest(t).Ganesha(t.Context(), lab.GaneshaOptions{Dir: export})
	require.NoError(t, err)
	address := fmt.Sprintf("nfs://%s:%d%s/volsync?mountport=%d", server.Host, server.Port, server.Export, server.MountPort)

	snapshots, gaps, err := listOnce(t.Context(), address, kopia.Options{Password: password(p.Password)})
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.ElementsMatch(t, p.list(t), rowsOf(snapshots))
	require.Equal(t, before, fingerprint(t, dir))

	_, _, err = listOnce(t.Context(), address+"&uid=1000&gid=1000", kopia.Options{Password: password(p.Password)})
	require.ErrorIs(t, err, recovery.ErrDenied)
	_, _, err = listOnce(t.Context(), address, kopia.Options{Password: password(canary)})
	requireProblem(t, err, recovery.ErrWrongPassword, "the password is wrong", "KOPIA_PASSWORD")
}
