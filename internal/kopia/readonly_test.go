package kopia_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
)

// movers is the user of the platform's VolSync movers.
const movers = 568

// fingerprint is everything about a tree that writing to it would change.
func fingerprint(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		if !entry.IsDir() {
			if content, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintln(&all, name, info.Mode(), info.Size(), info.ModTime().UnixNano(), sha256.Sum256(content))
		return err
	}))
	return all.String()
}

// each applies f to everything below root, the deepest first.
func each(t *testing.T, root string, f func(name string, dir bool) error) {
	t.Helper()
	var names []string
	dirs := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		names, dirs[name] = append(names, name), entry.IsDir()
		return err
	}))
	for i := len(names) - 1; i >= 0; i-- {
		require.NoError(t, f(names[i], dirs[names[i]]))
	}
}

// chmodReadOnly gives a tree to the movers' user and takes the right to write away.
func chmodReadOnly(t *testing.T, root string) {
	t.Helper()
	each(t, root, func(name string, dir bool) error {
		mode := fs.FileMode(0o400)
		if dir {
			mode = 0o500
		}
		if os.Getuid() == 0 {
			if err := os.Chown(name, movers, movers); err != nil {
				return err
			}
		}
		return os.Chmod(name, mode)
	})
	t.Cleanup(func() { each(t, root, func(name string, _ bool) error { return os.Chmod(name, 0o700) }) })
}

// TestListingLeavesNoTrace lists in a process that may not write to the repository, as its owner: the
// repository stays the same to the nanosecond, and nothing is left anywhere else.
func TestListingLeavesNoTrace(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	dir := filepath.Join(openFolder(t), "repository")
	live(t, p)
	require.NoError(t, os.CopyFS(dir, os.DirFS(p.Dir)))
	chmodReadOnly(t, dir)
	before := fingerprint(t, dir)

	result, home := child(t, dir, p.Password, movers)
	require.Empty(t, result.Error)
	require.Equal(t, 6, result.Snapshots)
	require.Zero(t, result.Gaps)
	if os.Getuid() == 0 {
		require.Equal(t, movers, result.UID)
	}
	require.Equal(t, before, fingerprint(t, dir))
	left, err := os.ReadDir(home)
	require.NoError(t, err)
	require.Empty(t, left, "configuration, cache or log of Kopia was left behind")

	result, _ = child(t, dir, "CANARY-WRONG", movers)
	require.Contains(t, result.Error, "the password is wrong")
	require.NotContains(t, result.Error, "CANARY")
	require.Equal(t, before, fingerprint(t, dir))
}

// TestListingWithRightsToWriteWritesNothing lists a repository that drctl could write to, also one
// without .shards, which Kopia's own storage would add.
func TestListingWithRightsToWriteWritesNothing(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	live(t, p)
	before := fingerprint(t, p.Dir)
	require.Len(t, listing(t, p.Dir, kopia.Options{Password: password(p.Password)}), 6)
	require.Equal(t, before, fingerprint(t, p.Dir))

	require.NoError(t, os.Remove(filepath.Join(p.Dir, ".shards")))
	before = fingerprint(t, p.Dir)
	_, _, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: password(p.Password)})
	require.Error(t, err, "without .shards, blobs are looked for where Kopia once put them")
	require.Equal(t, before, fingerprint(t, p.Dir))
}

// TestListingWithoutRights runs as a user who may not read what Kopia wrote with mode 0600.
func TestListingWithoutRights(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	dir := filepath.Join(openFolder(t), "repository")
	require.NoError(t, os.CopyFS(dir, os.DirFS(p.Dir)))
	mode := fs.FileMode(0o600)
	if os.Getuid() != 0 {
		mode = 0
	}
	each(t, dir, func(name string, isDir bool) error {
		if isDir {
			return os.Chmod(name, 0o755)
		}
		return os.Chmod(name, mode)
	})
	result, _ := child(t, dir, p.Password, 65534)
	require.True(t, result.Denied, result.Error)
	require.Contains(t, result.Error, "sudo -u '#568'")
	require.Contains(t, result.Error, "nfs://HOST/EXPORT?uid=568&gid=568")
}
