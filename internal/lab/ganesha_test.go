package lab

import (
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGaneshasSideBySide: servers that start at the same moment do not fight over rpcbind, pid files
// or state, and outlive each other.
func TestGaneshasSideBySide(t *testing.T) {
	stacks := []*Stack{ForTest(t), ForTest(t), ForTest(t)}
	servers := make([]*Ganesha, len(stacks))
	failures := make([]error, len(stacks))
	var all sync.WaitGroup
	for i, stack := range stacks {
		dir := t.TempDir()
		all.Go(func() { servers[i], failures[i] = stack.Ganesha(t.Context(), GaneshaOptions{Dir: dir}) })
	}
	all.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
	for i, server := range servers {
		for _, running := range servers[i:] {
			require.NoError(t, running.answers(t.Context()))
		}
		require.NoError(t, stacks[i].Close())
		require.Error(t, server.answers(t.Context()))
	}
}

func TestMissingNFSPackagesAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := ganeshaProgram()
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorContains(t, err, "apt-get install nfs-ganesha nfs-ganesha-vfs rpcbind")
	_, err = rpcbindProgram()
	require.ErrorContains(t, err, "apt-get install rpcbind")
}
