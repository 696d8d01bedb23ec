package pvc

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// fakeContents is an opened repository that holds the same files in every snapshot. Each file is given
// in parts of two bytes, all files at once.
type fakeContents struct {
	fakeRepository
	files []recovery.File
	texts map[string]string
	// read is called with each part; its error ends everything.
	read   func() error
	closed *int
}

func (f *fakeContents) Contents(context.Context) (Contents, error) { return f, nil }

func (f *fakeContents) Close(context.Context) error {
	*f.closed++
	return nil
}

func (f *fakeContents) Files(context.Context, recovery.Snapshot, string, bool) ([]recovery.File, recovery.Gaps, error) {
	return f.files, nil, nil
}

func (f *fakeContents) Read(_ context.Context, files []recovery.File, _ int, sink recovery.FileSink) error {
	var wait sync.WaitGroup
	failed := make([]error, len(files))
	for i, file := range files {
		wait.Go(func() { failed[i] = f.readOne(i, f.texts[file.Path], sink) })
	}
	wait.Wait()
	return errors.Join(failed...)
}

func (f *fakeContents) readOne(file int, text string, sink recovery.FileSink) error {
	for at := len(text) / 2 * 2; at >= 0; at -= 2 { // the last part first
		if f.read != nil {
			if err := f.read(); err != nil {
				return err
			}
		}
		if err := sink.Part(file, int64(at), []byte(text[at:min(at+2, len(text))])); err != nil {
			return err
		}
	}
	return sink.Done(file)
}

// holding makes a repository with one complete snapshot of karakeep/data that holds these files.
func holding(files map[string]string) *fakeContents {
	f := &fakeContents{texts: files, closed: new(int)}
	f.snapshots = []recovery.Snapshot{{ID: "k1", Source: identity("karakeep", "data"), StartTime: noon}}
	// Folders come ahead of what is in them, as a repository gives them.
	folders := map[string]bool{}
	for path := range files {
		for folder := filepath.Dir(path); folder != "."; folder = filepath.Dir(folder) {
			folders[folder] = true
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		f.files = append(f.files, recovery.File{Path: folder, Type: recovery.TypeDirectory, Mode: 0o755, ModTime: noon})
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f.files = append(f.files, recovery.File{Path: path, Type: recovery.TypeFile, Mode: 0o640, SizeBytes: int64(len(files[path])), ModTime: noon})
	}
	return f
}

func (f *fakeContents) extract(ctx context.Context, o ExtractOptions) (*ExtractReport, recovery.Gaps, error) {
	o.Name = "karakeep/data"
	return (&Lister{Contents: f, Rules: fakeRules{}}).Extract(ctx, o)
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(content)
}

func TestExtractParts(t *testing.T) {
	into := filepath.Join(t.TempDir(), "new", "folder")
	long := strings.Repeat("0123456789", 50)
	f := holding(map[string]string{"a/b/one": "first", "a/two": "", "three": long})
	report, gaps, err := f.extract(t.Context(), ExtractOptions{Directory: into})
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Equal(t, 3, report.FileCount)
	require.Equal(t, "first", read(t, into, "a", "b", "one"))
	require.Empty(t, read(t, into, "a", "two"))
	require.Equal(t, long, read(t, into, "three"))
	info, err := os.Stat(filepath.Join(into, "a", "b"))
	require.NoError(t, err)
	require.True(t, noon.Equal(info.ModTime()), "what is written into a folder does not change its time")
	require.Equal(t, 1, *f.closed)
}

func TestExtractIntoWhatIsThere(t *testing.T) {
	f := holding(map[string]string{"a/one": "new", "two": "new"})
	prepare := func(t *testing.T) (into, elsewhere string) {
		into, elsewhere = t.TempDir(), t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(into, "a"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(into, "a", "one"), []byte("old"), 0o600))
		return into, elsewhere
	}
	t.Run("nothing is written", func(t *testing.T) {
		into, _ := prepare(t)
		_, _, err := f.extract(t.Context(), ExtractOptions{Directory: into})
		require.ErrorIs(t, err, recovery.ErrExists)
		require.Equal(t, "old", read(t, into, "a", "one"))
		require.NoFileExists(t, filepath.Join(into, "two"))
	})
	t.Run("overwritten", func(t *testing.T) {
		into, _ := prepare(t)
		_, gaps, err := f.extract(t.Context(), ExtractOptions{Directory: into, Overwrite: true})
		require.NoError(t, err)
		require.Empty(t, gaps)
		require.Equal(t, "new", read(t, into, "a", "one"))
	})
	t.Run("a link instead of a folder is not followed", func(t *testing.T) {
		into, elsewhere := prepare(t)
		for _, target := range []string{elsewhere, "b"} {
			require.NoError(t, os.RemoveAll(filepath.Join(into, "a")))
			require.NoError(t, os.MkdirAll(filepath.Join(into, "b"), 0o700))
			require.NoError(t, os.Symlink(target, filepath.Join(into, "a")))
			report, gaps, err := f.extract(t.Context(), ExtractOptions{Directory: into, Overwrite: true})
			require.NoError(t, err)
			require.Len(t, gaps, 2, "the folder and the file in it")
			require.Equal(t, 1, report.FileCount)
			require.NoFileExists(t, filepath.Join(elsewhere, "one"))
			require.NoFileExists(t, filepath.Join(into, "b", "one"))
		}
	})
	t.Run("a folder instead of a file stays", func(t *testing.T) {
		into, _ := prepare(t)
		require.NoError(t, os.MkdirAll(filepath.Join(into, "two", "below"), 0o700))
		_, gaps, err := f.extract(t.Context(), ExtractOptions{Directory: into, Overwrite: true})
		require.NoError(t, err)
		require.Len(t, gaps, 1)
		require.DirExists(t, filepath.Join(into, "two", "below"))
		requireNothingUnfinished(t, into)
	})
}

func requireNothingUnfinished(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		require.NotContains(t, filepath.Base(path), temporaryPrefix)
		return err
	}))
}

// TestExtractStopped ends the reading after each part: what has a name is whole.
func TestExtractStopped(t *testing.T) {
	texts := map[string]string{"a/one": "the first", "a/two": "the second", "three": "the third"}
	for cause, want := range map[error]error{context.Canceled: operation.ErrUnfinished, recovery.ErrUnreachable: recovery.ErrUnreachable} {
		for after := 0; ; after++ {
			f, parts, mu := holding(texts), 0, sync.Mutex{}
			f.read = func() error {
				mu.Lock()
				defer mu.Unlock()
				parts++
				if parts > after {
					return cause
				}
				return nil
			}
			into := t.TempDir()
			report, _, err := f.extract(t.Context(), ExtractOptions{Directory: into})
			requireNothingUnfinished(t, into)
			whole := 0
			for path, text := range texts {
				if content, err := os.ReadFile(filepath.Join(into, path)); err == nil {
					require.Equal(t, text, string(content))
					whole++
				}
			}
			require.Equal(t, report.FileCount, whole)
			if err == nil {
				require.Equal(t, len(texts), whole)
				break
			}
			if whole == 0 {
				want := cause
				require.ErrorIs(t, err, want, "nothing is there, so nothing is unfinished")
				continue
			}
			require.ErrorIs(t, err, want)
			require.ErrorContains(t, err, "--overwrite")
		}
	}
}

func TestExplainAFullDisk(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()
	e := newExtraction(root, holding(map[string]string{"a": "12345"}).files, "", ExtractOptions{})
	full := &os.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}
	require.True(t, stops(full))
	require.ErrorContains(t, e.explain(full), "the disk is full: all files together need 5 bytes")
	require.False(t, stops(os.ErrPermission))
}

func TestChoose(t *testing.T) {
	mine, other := identity("karakeep", "data"), identity("karakeep", "other")
	at := func(id string, age time.Duration, incomplete string) recovery.Snapshot {
		return recovery.Snapshot{ID: id, Source: mine, StartTime: noon.Add(-age), Incomplete: incomplete}
	}
	all := []recovery.Snapshot{
		at("aa1", 3*time.Hour, ""), at("aa2", 2*time.Hour, ""), at("bb3", time.Hour, ""), at("cc4", time.Minute, "checkpoint"),
		{ID: "dd5", Source: other, StartTime: noon}, {ID: "dd6", Source: recovery.KopiaSource{Username: "x"}, StartTime: noon},
	}
	own := func(s recovery.KopiaSource) bool { return s == mine }
	for name, test := range map[string]struct {
		choice Choice
		wanted func(recovery.KopiaSource) bool
		id     string
		err    error
	}{
		"newest complete":        {Choice{}, own, "bb3", nil},
		"the one before":         {Choice{Previous: 1}, own, "aa2", nil},
		"too far back":           {Choice{Previous: 3}, own, "", recovery.ErrNotFound},
		"as of its very start":   {Choice{AsOf: noon.Add(-2 * time.Hour)}, own, "aa2", nil},
		"as of between":          {Choice{AsOf: noon.Add(-2*time.Hour + time.Minute)}, own, "aa2", nil},
		"as of, and one before":  {Choice{AsOf: noon, Previous: 2}, own, "aa1", nil},
		"as of before all":       {Choice{AsOf: noon.Add(-4 * time.Hour)}, own, "", recovery.ErrNotFound},
		"an ID":                  {Choice{SnapshotID: "aa2"}, own, "aa2", nil},
		"the beginning of an ID": {Choice{SnapshotID: "b"}, own, "bb3", nil},
		"an incomplete one":      {Choice{SnapshotID: "cc4"}, own, "cc4", nil},
		"two begin so":           {Choice{SnapshotID: "aa"}, own, "", recovery.ErrUsage},
		"another's ID":           {Choice{SnapshotID: "dd5"}, own, "", recovery.ErrNotFound},
		"nobody's":               {Choice{}, func(recovery.KopiaSource) bool { return false }, "", recovery.ErrNotFound},
		"two sources":            {Choice{}, func(recovery.KopiaSource) bool { return true }, "", recovery.ErrUsage},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(all, test.wanted, "karakeep/data", test.choice)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.id, got.ID)
		})
	}
}

func TestCleanPath(t *testing.T) {
	for text, want := range map[string]string{"": "", "/": "", "a/b/": "a/b", "//a//b": "a/b", "./a": "a", "a..b": "a..b"} {
		got, err := CleanPath(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"..", "a/..", "../a", "/../a"} {
		_, err := CleanPath(text)
		require.ErrorIs(t, err, recovery.ErrUsage)
	}
}
