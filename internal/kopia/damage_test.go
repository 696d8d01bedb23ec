package kopia_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/recovery"
)

// files gives the files of the blobs that begin with prefix.
func files(t *testing.T, repository, prefix string) []string {
	t.Helper()
	var wanted []string
	require.NoError(t, filepath.WalkDir(repository, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(repository, name)
		if strings.HasPrefix(strings.ReplaceAll(relative, string(filepath.Separator), ""), prefix) {
			wanted = append(wanted, name)
		}
		return err
	}))
	require.NotEmpty(t, wanted)
	return wanted
}

func truncate(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.Truncate(name, info.Size()/10)
}

// flip changes one bit of every 16 bytes.
func flip(name string) error {
	content, err := os.ReadFile(name)
	for i := 0; i < len(content); i += 16 {
		content[i] ^= 0x40
	}
	return errors.Join(err, os.WriteFile(name, content, 0o600))
}

func empty(name string) error { return os.Truncate(name, 0) }

// sessions makes a repository of count snapshots, each in an index blob and a pack of its own, and
// one more from the command line. copies are independent of each other.
func sessions(t *testing.T, count int, args ...string) (p *peer, copyTo func(t *testing.T) string) {
	t.Helper()
	p = newPeer(t, args...)
	writeSessions(t, p, p.rootEntry(t), 0, count)
	return p, func(t *testing.T) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(dir, os.DirFS(p.Dir)))
		return dir
	}
}

// TestListingWithDamage breaks one file after the other: the rest is listed, and the gap says that
// the answer is not whole.
func TestListingWithDamage(t *testing.T) {
	t.Parallel()
	p, copyTo := sessions(t, 6)
	_, copyOld := sessions(t, 6, "--format-version=1")
	for name, test := range map[string]struct {
		prefix string
		damage func(string) error
		copyTo func(*testing.T) string
		gap    string
	}{
		"truncated index blob":               {"xn", truncate, copyTo, "index blob xn"},
		"corrupt index blob":                 {"xn", flip, copyTo, "index blob xn"},
		"empty index blob":                   {"xn", empty, copyTo, "index blob xn"},
		"corrupt index blob of the old kind": {"n", flip, copyOld, "index blob n"},
		"truncated pack of manifests":        {"q", truncate, copyTo, "manifest content m"},
		"corrupt pack of manifests":          {"q", flip, copyTo, "manifest content m"},
		"missing pack of manifests":          {"q", os.Remove, copyTo, "manifest content m"},
		"missing old pack of manifests":      {"q", os.Remove, copyOld, "manifest content m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := test.copyTo(t)
			all, gaps, err := listOnce(t.Context(), dir, kopia.Options{Password: password(p.Password)})
			require.NoError(t, err)
			require.Empty(t, gaps)
			require.Len(t, all, 7)
			partial := false
			for _, file := range files(t, dir, test.prefix) {
				whole, err := os.ReadFile(file)
				require.NoError(t, err)
				require.NoError(t, test.damage(file))
				snapshots, gaps, err := listOnce(t.Context(), dir, kopia.Options{Password: password(p.Password)})
				require.NoError(t, err)
				require.Subset(t, all, snapshots)
				if test.prefix != "q" || len(snapshots) < len(all) {
					partial = true
					require.Len(t, gaps, 1, "%s: %d snapshots", file, len(snapshots))
					require.ErrorIs(t, gaps[0], recovery.ErrDamaged)
					require.Contains(t, gaps[0].What, test.gap)
					require.Contains(t, gaps[0].Why, "missing from the list")
					require.NotContains(t, gaps[0].Error(), "CANARY")
					require.NotEmpty(t, gaps[0].Next)
				}
				require.NoError(t, os.WriteFile(file, whole, 0o600))
			}
			require.True(t, partial, "the damage was never seen")
		})
	}
}

func TestListingWhenNothingIsReadable(t *testing.T) {
	t.Parallel()
	for prefix, next := range map[string]string{"xn": "kopia index recover", "q": "kopia snapshot verify"} {
		p, _ := sessions(t, 3)
		for _, file := range files(t, p.Dir, prefix) {
			require.NoError(t, flip(file))
		}
		_, _, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: password(p.Password)})
		requireProblem(t, err, recovery.ErrDamaged, "more", next)
	}
}

// faulty breaks chosen reads of a storage.
type faulty struct {
	blob.Storage
	get  func(blob.ID) error
	list func(blob.ID) error
}

func (s faulty) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	if s.get != nil {
		if err := s.get(id); err != nil {
			return err
		}
	}
	return s.Storage.GetBlob(ctx, id, offset, length, output)
}

func (s faulty) ListBlobs(ctx context.Context, prefix blob.ID, each func(blob.Metadata) error) error {
	if s.list != nil {
		if err := s.list(prefix); err != nil {
			return err
		}
	}
	return s.Storage.ListBlobs(ctx, prefix, each)
}

// TestListingWhenTheServerGoes cuts the connection after each possible number of reads.
func TestListingWhenTheServerGoes(t *testing.T) {
	t.Parallel()
	p, _ := sessions(t, 3)
	gone := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	whole := false
	for after := int64(0); !whole; after++ {
		var reads atomic.Int64
		fail := func(blob.ID) error {
			if reads.Add(1) > after {
				return gone
			}
			return nil
		}
		snapshots, gaps, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: password(p.Password), Wrap: func(st blob.Storage) blob.Storage {
			return faulty{Storage: st, get: fail, list: fail}
		}})
		switch {
		case err != nil:
			require.ErrorIs(t, err, recovery.ErrUnreachable, "after %d reads", after)
		case len(gaps) > 0:
			require.ErrorIs(t, gaps[0], recovery.ErrUnreachable, "after %d reads", after)
		default:
			require.Len(t, snapshots, 4, "after %d reads: unknown is never success", after)
			whole = true
		}
		require.Less(t, after, int64(100))
	}
}

// TestListingDuringMaintenance lets an index blob, and then a pack, vanish between the listing and
// the reading, as when another process compacts: a second look finds the new state.
func TestListingDuringMaintenance(t *testing.T) {
	t.Parallel()
	p, _ := sessions(t, 3)
	for _, prefix := range []string{"x", "q"} {
		var vanished, listings atomic.Int64
		snapshots, gaps, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: password(p.Password), Wrap: func(st blob.Storage) blob.Storage {
			return faulty{
				Storage: st,
				get: func(id blob.ID) error {
					if strings.HasPrefix(string(id), prefix) && vanished.Add(1) == 1 {
						return blob.ErrBlobNotFound
					}
					return nil
				},
				list: func(blob.ID) error { listings.Add(1); return nil },
			}
		}})
		require.NoError(t, err)
		require.Empty(t, gaps)
		require.Len(t, snapshots, 4)
		require.Equal(t, int64(2), listings.Load())
	}
}

// TestListingOfWhatCanNotBeRead is a server that lists an index blob and never serves it.
func TestListingOfWhatCanNotBeRead(t *testing.T) {
	t.Parallel()
	p, _ := sessions(t, 3)
	indexes := files(t, p.Dir, "xn")
	lost := blob.ID("xn0_" + strings.TrimSuffix(filepath.Base(indexes[0]), ".f"))
	for _, err := range []error{blob.ErrBlobNotFound, os.ErrPermission} {
		snapshots, gaps, listErr := listOnce(t.Context(), p.Dir, kopia.Options{Password: password(p.Password), Wrap: func(st blob.Storage) blob.Storage {
			return faulty{Storage: st, get: func(id blob.ID) error {
				if id == lost {
					return err
				}
				return nil
			}}
		}})
		require.NoError(t, listErr)
		require.Less(t, len(snapshots), 4+1)
		require.Len(t, gaps, 1)
		require.Contains(t, gaps[0].What, string(lost))
	}
}
