package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// fakeContents is an opened repository with one small tree in every snapshot. The file that broken
// names can't be read.
type fakeContents struct {
	fakeRepository
	broken string
}

func (f fakeContents) Contents(context.Context) (pvc.Contents, error) { return f, nil }

func (f fakeContents) Close(context.Context) error { return nil }

func (f fakeContents) Files(_ context.Context, _ recovery.Snapshot, at string, recursive bool) ([]recovery.File, recovery.Gaps, error) {
	entry := func(path string, kind recovery.FileType, mode os.FileMode, size int64) recovery.File {
		return recovery.File{Path: path, Type: kind, Mode: mode, UserID: 568, GroupID: 568, SizeBytes: size, ModTime: noon.Add(-30 * time.Hour)}
	}
	link := entry("current", recovery.TypeSymlink, 0o777, 9)
	link.Target = "assets/v2"
	all := []recovery.File{
		entry("assets", recovery.TypeDirectory, 0o755, 6), entry("assets/a.png", recovery.TypeFile, 0o640, 6), link, entry("db.db", recovery.TypeFile, 0o600, 7),
	}
	var found []recovery.File
	for _, file := range all {
		below := at == "" || strings.HasPrefix(file.Path, at+"/")
		if file.Path == at && file.Type != recovery.TypeDirectory || below && (recursive || strings.Count(file.Path, "/") == strings.Count(at+"/", "/")-1+min(len(at), 1)) {
			found = append(found, file)
		}
	}
	if len(found) == 0 {
		return nil, nil, &recovery.Problem{What: "there is no " + at, Err: recovery.ErrNotFound}
	}
	return found, nil, nil
}

func (f fakeContents) Read(_ context.Context, files []recovery.File, _ int, sink recovery.FileSink) error {
	for i, file := range files {
		if file.Path == f.broken {
			sink.Failed(i, errors.New("invalid checksum"))
			continue
		}
		if err := errors.Join(sink.Part(i, 0, []byte("content")[:file.SizeBytes]), sink.Done(i)); err != nil {
			return err
		}
	}
	return nil
}

func TestExtract(t *testing.T) {
	t.Chdir(t.TempDir())
	extract := func(wiring command.Wiring, more ...string) (int, string, string) {
		return answer(t, wiring, append([]string{"pvc", "extract", "karakeep/data-pvc", "--output-dir", "out"}, more...)...)
	}
	code, out, errs := extract(newFakeWiring())
	require.Zero(t, code, errs)
	require.Equal(t, "2 files (13 B), 1 folder, 1 link of snapshot k2b3 (2026-11-23 11:30Z) are in out\n", out)
	content, err := os.ReadFile(filepath.Join("out", "assets", "a.png"))
	require.NoError(t, err)
	require.Equal(t, "conten", string(content))

	code, out, errs = extract(newFakeWiring())
	require.Equal(t, command.ExitFailed, code)
	require.Empty(t, out)
	require.Contains(t, errs, "assets/a.png, current, db.db")
	require.Contains(t, errs, "--overwrite")

	broken := newFakeWiring()
	broken.broken = "db.db"
	require.NoError(t, os.RemoveAll("out"))
	code, out, errs = extract(broken)
	require.Equal(t, command.ExitPartial, code)
	require.Contains(t, out, "1 file (6 B)")
	require.Contains(t, errs, "Warning: db.db was not taken out: invalid checksum")
	require.NoFileExists(t, filepath.Join("out", "db.db"))

	code, _, errs = extract(broken, "db.db", "--overwrite")
	require.Equal(t, command.ExitFailed, code, "nothing of what was asked for is there")
	require.Contains(t, errs, "nothing could be taken out")
	code, out, _ = extract(newFakeWiring(), "--overwrite", "-o", "json")
	require.Zero(t, code)
	require.Contains(t, out, `"failed": []`)
}
