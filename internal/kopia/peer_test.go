package kopia_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/snapshot"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// row is what a listing of drctl and one of Kopia must agree in.
type row struct {
	ID, Username, Hostname, Path string
	Start, End                   string
	Size                         int64
	Incomplete                   string
	Pins                         int
	Root                         string
}

// peer is a real repository made by the real Kopia, with its command line connected to it.
type peer struct {
	*lab.Kopia
	Dir string
}

func newPeer(t *testing.T, args ...string) *peer {
	t.Helper()
	k, err := lab.ForTest(t).Kopia(t.Context())
	require.NoError(t, err)
	p := &peer{Kopia: k, Dir: filepath.Join(t.TempDir(), "repository")}
	require.NoError(t, k.CreateRepository(t.Context(), p.Dir, args...))
	return p
}

func (p *peer) run(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := p.Run(t.Context(), args...)
	require.NoError(t, err)
	return out
}

func (p *peer) manifests(t *testing.T) []snapshot.Manifest {
	t.Helper()
	var manifests []snapshot.Manifest
	require.NoError(t, json.Unmarshal(p.run(t, "snapshot", "list", "--all", "--json", "--incomplete"), &manifests))
	return manifests
}

// rootEntry makes a real snapshot, and gives its root for others to share.
func (p *peer) rootEntry(t *testing.T) *snapshot.DirEntry {
	t.Helper()
	require.NoError(t, p.Snapshot(t.Context(), "first@peer:/data", data(t, "content")))
	manifests := p.manifests(t)
	return manifests[len(manifests)-1].RootEntry
}

// list is what the Kopia command line says.
func (p *peer) list(t *testing.T) []row {
	t.Helper()
	rows := []row{}
	for _, m := range p.manifests(t) {
		r := row{
			ID: string(m.ID), Username: m.Source.UserName, Hostname: m.Source.Host, Path: m.Source.Path,
			Start: m.StartTime.Format(time.RFC3339Nano), End: m.EndTime.Format(time.RFC3339Nano),
			Incomplete: m.IncompleteReason, Pins: len(m.Pins), Root: m.RootObjectID().String(),
		}
		if m.RootEntry != nil && m.RootEntry.DirSummary != nil {
			r.Size = m.RootEntry.DirSummary.TotalFileSize
		}
		rows = append(rows, r)
	}
	return rows
}

func rowsOf(snapshots []recovery.Snapshot) []row {
	rows := []row{}
	for _, s := range snapshots {
		rows = append(rows, row{
			ID: s.ID, Username: s.Source.Username, Hostname: s.Source.Hostname, Path: s.Source.Path,
			Start: s.StartTime.Format(time.RFC3339Nano), End: s.EndTime.Format(time.RFC3339Nano),
			Size: s.SizeBytes, Incomplete: s.Incomplete, Pins: len(s.Pins), Root: s.RootID,
		})
	}
	return rows
}

func password(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// listing opens a repository in a folder with drctl and lists it; everything must be readable.
func listing(t *testing.T, dir string, o kopia.Options) []row {
	t.Helper()
	location, err := kopia.ParseLocation(dir)
	require.NoError(t, err)
	r, err := kopia.Open(t.Context(), location, o)
	require.NoError(t, err)
	snapshots, gaps, err := r.Snapshots(t.Context())
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.NoError(t, r.Close(t.Context()))
	return rowsOf(snapshots)
}

// requireEqual compares drctl's listing with Kopia's.
func (p *peer) requireEqual(t *testing.T, wantCount int) {
	t.Helper()
	want := p.list(t)
	require.Len(t, want, wantCount, "the repository is not what the test meant to make")
	require.ElementsMatch(t, want, listing(t, p.Dir, kopia.Options{Password: password(p.Password)}))
}

// open opens the peer's repository with Kopia's library, for writing what the command line can't.
func (p *peer) open(t *testing.T) repo.DirectRepository {
	t.Helper()
	r, err := repo.Open(t.Context(), filepath.Join(p.Home, "repository.config"), p.Password, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close(context.WithoutCancel(t.Context()))) })
	direct, ok := r.(repo.DirectRepository)
	require.True(t, ok)
	return direct
}

// save writes one snapshot manifest in a session of its own: one more index blob.
func save(t *testing.T, r repo.DirectRepository, m *snapshot.Manifest) {
	t.Helper()
	require.NoError(t, repo.WriteSession(t.Context(), r, repo.WriteSessionOptions{Purpose: "test"},
		func(ctx context.Context, w repo.RepositoryWriter) error {
			_, err := snapshot.SaveSnapshot(ctx, w, m)
			return err
		}))
}

// data makes a folder with a few files.
func data(t *testing.T, texts ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, text := range texts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file"+string(rune('a'+i))), []byte(text), 0o600))
	}
	return dir
}
