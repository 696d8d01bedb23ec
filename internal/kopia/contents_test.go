package kopia_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// volume is the source that the tests of contents back up.
const volume = "data-pvc-backup@karakeep:/data"

// source opens a repository for the use case.
type source struct {
	dir     string
	options kopia.Options
}

func (s source) Contents(ctx context.Context) (pvc.Contents, error) {
	location, err := kopia.ParseLocation(s.dir)
	if err != nil {
		return nil, err
	}
	return kopia.Open(ctx, location, s.options)
}

// extract takes everything out of the newest snapshot of the volume, as `drctl pvc extract` does.
func extract(ctx context.Context, s source, into string, change ...func(*pvc.ExtractOptions)) (*pvc.ExtractReport, recovery.Gaps, error) {
	o := pvc.ExtractOptions{FilesQuery: pvc.FilesQuery{Name: volume}, Directory: into, Parallel: 4}
	for _, f := range change {
		f(&o)
	}
	l := &pvc.Lister{Contents: s}
	return l.Extract(ctx, o)
}

// random gives bytes that can't be compressed, the same ones for the same seed.
func random(seed uint64, size int) []byte {
	content := make([]byte, size)
	generator := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = generator.Read(content)
	return content
}

// makeVolume makes a tree with everything that a volume may hold.
func makeVolume(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	for i := range 40 {
		write(fmt.Sprintf("many/of/them/%02d", i), fmt.Appendf(nil, "small file %d", i), 0o644)
	}
	write("large", random(1, 24<<20), 0o640)
	write("twice", random(1, 24<<20), 0o600)
	write("zeros", make([]byte, 9<<20), 0o600)
	write("empty", nil, 0o600)
	write("mode/program", []byte("#!/bin/sh"), 0o755|fs.ModeSetuid)
	write("mode/nobody", []byte("unreadable"), 0)
	write("name/"+strings.Repeat("x", 255), []byte("long"), 0o644)
	write("name/with\nline, \x1b[31m and ü", []byte("odd"), 0o644)
	write(".drctl-extract-1-0", []byte("a name of ours"), 0o644)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "folder", "of", "nothing"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(dir, "folder"), 0o777|fs.ModeSticky))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "absolute")))
	require.NoError(t, os.Symlink("../../large", filepath.Join(dir, "many", "of", "relative")))
	require.NoError(t, os.Symlink("nothing", filepath.Join(dir, "dangling")))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Lchown(filepath.Join(dir, "large"), 568, 1000))
		require.NoError(t, os.Lchown(filepath.Join(dir, "dangling"), 568, 568))
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 789012345, time.UTC)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "empty"), old, old))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "folder", "of"), old, old))
	return dir
}

// treeOf renders everything that must come back: names, types, modes, owners, times, links and contents.
// times says of which entries the time counts: Kopia's own restore gives a folder the newest time of
// what is in it, and a link only microseconds.
func treeOf(t *testing.T, root string, times func(fs.FileMode) bool) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		info, err := entry.Info()
		require.NoError(t, err)
		relative, err := filepath.Rel(root, name)
		require.NoError(t, err)
		_, err = fmt.Fprintf(&all, "%q %s %s", relative, info.Mode(), ownerOf(info))
		require.NoError(t, err)
		if times(info.Mode()) {
			all.WriteString(" " + info.ModTime().UTC().Format(time.RFC3339Nano))
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			require.NoError(t, err)
			all.WriteString(" -> " + target)
		case info.Mode().IsRegular():
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			_, err = fmt.Fprintf(&all, " %d %x", len(content), sha256.Sum256(content))
			require.NoError(t, err)
		}
		all.WriteString("\n")
		return nil
	}))
	return all.String()
}

func always(fs.FileMode) bool       { return true }
func ofFiles(mode fs.FileMode) bool { return mode.IsRegular() }
func (p *peer) source() source {
	return source{dir: p.Dir, options: kopia.Options{Password: password(p.Password)}}
}
func (p *peer) newest(t *testing.T) string { m := p.manifests(t); return string(m[len(m)-1].ID) }

// TestExtractEqualsKopia takes a volume out of a repository of each format: it is the volume as it was,
// and what `kopia restore` gives, up to the times that Kopia does not restore. The repository stays the
// same.
func TestExtractEqualsKopia(t *testing.T) {
	t.Parallel()
	data := makeVolume(t)
	for name, args := range map[string][]string{
		"default":                      nil,
		"format 1, index of Kopia 0.8": {"--format-version=1"},
		"format 2":                     {"--format-version=2"},
		"format 3, error correction":   {"--format-version=3", "--ecc=REED-SOLOMON-CRC32", "--ecc-overhead-percent=5"},
		"other ciphers":                {"--encryption=CHACHA20-POLY1305-HMAC-SHA256", "--block-hash=BLAKE3-256"},
		"small chunks":                 {"--object-splitter=FIXED-1M"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, args...)
			p.run(t, "policy", "set", "--global", "--compression=zstd-fastest")
			require.NoError(t, p.Snapshot(t.Context(), volume, data))
			before := fingerprint(t, p.Dir)
			ours, theirs := filepath.Join(t.TempDir(), "ours"), filepath.Join(t.TempDir(), "theirs")
			report, gaps, err := extract(t.Context(), p.source(), ours)
			require.NoError(t, err)
			require.Empty(t, gaps)
			require.Empty(t, report.Failed)
			require.Equal(t, 49, report.FileCount)
			require.Equal(t, 3, report.SymlinkCount)
			require.Equal(t, before, fingerprint(t, p.Dir), "reading left a trace in the repository")
			require.Equal(t, treeOf(t, data, always), treeOf(t, ours, always))
			p.run(t, "restore", p.newest(t), theirs)
			require.Equal(t, treeOf(t, theirs, ofFiles), treeOf(t, ours, ofFiles))
		})
	}
}

// TestExtractOfAPath takes parts of a snapshot out.
func TestExtractOfAPath(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, makeVolume(t)))
	for path, want := range map[string]int{"/many/of/": 40, "large": 1, "many/of/relative": 0, "mode/program": 1, "folder": 0} {
		into := filepath.Join(t.TempDir(), "out")
		report, gaps, err := extract(t.Context(), p.source(), into, func(o *pvc.ExtractOptions) { o.Path = path })
		require.NoError(t, err)
		require.Empty(t, gaps)
		require.Equal(t, want, report.FileCount, path)
	}
	for _, path := range []string{"nothing", "large/below", "many/nothing"} {
		_, _, err := extract(t.Context(), p.source(), t.TempDir(), func(o *pvc.ExtractOptions) { o.Path = path })
		require.ErrorIs(t, err, recovery.ErrNotFound, path)
	}
}

// countedReads counts the reads of blobs.
type countedReads struct {
	blob.Storage
	reads *atomic.Int64
}

func (s countedReads) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	s.reads.Add(1)
	return s.Storage.GetBlob(ctx, id, offset, length, output)
}

// TestExtractReads holds the number of reads: by the megabytes of packs, not by the number of files.
// Kopia reads once for each.
func TestExtractReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const count = 3000
	for i := range count {
		folder := filepath.Join(dir, fmt.Sprint(i%50))
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), random(uint64(i), 1000), 0o600))
	}
	p := newPeer(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, dir))
	var reads atomic.Int64
	s := p.source()
	s.options.Wrap = func(st blob.Storage) blob.Storage { return countedReads{st, &reads} }
	report, gaps, err := extract(t.Context(), s, filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Equal(t, count, report.FileCount)
	packs := len(files(t, p.Dir, "p")) + len(files(t, p.Dir, "q")) + len(files(t, p.Dir, "xn"))
	require.LessOrEqual(t, reads.Load(), int64(1+3*packs), "%d packs and index blobs", packs)
	require.LessOrEqual(t, reads.Load(), int64(count/50))
}

// TestExtractCancelled stops in the middle: what is there is whole, and nothing unfinished is left.
func TestExtractCancelled(t *testing.T) {
	t.Parallel()
	data := makeVolume(t)
	p := newPeer(t)
	require.NoError(t, p.Snapshot(t.Context(), volume, data))
	for after := range int64(12) {
		ctx, cancel := context.WithCancel(t.Context())
		var reads atomic.Int64
		s := p.source()
		s.options.Wrap = func(st blob.Storage) blob.Storage {
			return faulty{Storage: st, get: func(id blob.ID) error {
				if strings.HasPrefix(string(id), "p") && reads.Add(1) > after {
					cancel()
					return ctx.Err()
				}
				return nil
			}}
		}
		into := t.TempDir()
		report, _, err := extract(ctx, s, into)
		if err != nil {
			requireOnlyWhole(t, data, into)
		} else {
			require.Equal(t, 49, report.FileCount)
		}
		cancel()
	}
}

// requireOnlyWhole asks each file of an extraction to be the one of the volume.
func requireOnlyWhole(t *testing.T, data, into string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(into, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(into, name)
		require.NoError(t, err)
		want, err := os.ReadFile(filepath.Join(data, relative))
		require.NoError(t, err, "what is there has the name of a file of the volume")
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(want), sha256.Sum256(got), relative)
		return nil
	}))
}
