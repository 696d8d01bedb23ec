package pvc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// ExtractOptions say what is taken out of a snapshot, and where to.
type ExtractOptions struct {
	FilesQuery
	// Directory is where the files go; it is made where it is missing. Its own mode stays.
	Directory string
	// Parallel is how many parts of packs are read at once.
	Parallel int
	// Overwrite replaces files that stand there already; without it nothing is written then.
	Overwrite bool
	// Progress is told how many files and bytes are whole out of how many. Calls may overlap.
	Progress func(p ExtractProgress)
}

// ExtractProgress is how far an extraction is.
type ExtractProgress struct {
	Files, TotalFiles int
	Bytes, TotalBytes int64
}

// ExtractReport is the answer of `drctl pvc extract`.
type ExtractReport struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Snapshot   SnapshotItem `json:"snapshot"`
	Path       string       `json:"path"`
	Directory  string       `json:"directory"`
	// FileCount, DirCount, SymlinkCount and SizeBytes are what is there now, whole.
	FileCount    int   `json:"fileCount"`
	DirCount     int   `json:"dirCount"`
	SymlinkCount int   `json:"symlinkCount"`
	SizeBytes    int64 `json:"sizeBytes"`
	// Failed are those that are not there.
	Failed   []FailedFile `json:"failed"`
	Warnings []string     `json:"warnings"`
	// Doubts are those of the warnings that are about the snapshot or this system's folder, and no gaps.
	Doubts []string `json:"-"`
}

// FailedFile is an entry of the snapshot that could not be taken out.
type FailedFile struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Extract takes files out of a snapshot. A file gets its name when it is whole: what fails, or is
// interrupted, leaves nothing of that name. Gaps say what could not be taken out while the rest was;
// the error is for when that is nothing, or when it was stopped.
func (l *Lister) Extract(ctx context.Context, o ExtractOptions) (report *ExtractReport, gaps recovery.Gaps, err error) {
	at, err := CleanPath(o.Path)
	if err != nil {
		return nil, nil, err
	}
	contents, chosen, gaps, err := l.open(ctx, o.Name, o.Namespace, o.Choice)
	if err != nil {
		return nil, gaps, err
	}
	defer func() { err = errors.Join(err, contents.Close(ctx)) }()
	files, unread, err := contents.Files(ctx, chosen, at, true)
	gaps = append(gaps, unread...)
	if err != nil {
		return nil, gaps, err
	}
	root, err := openDirectory(o.Directory)
	if err != nil {
		return nil, gaps, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	e := newExtraction(root, files, at, o)
	if err := e.refuseExisting(); err != nil {
		return nil, gaps, err
	}
	runErr := e.run(ctx, contents)
	report = e.report(chosen, at, o.Directory)
	for _, failed := range report.Failed {
		gaps = append(gaps, &recovery.Problem{What: failed.Path + " was not taken out", Why: failed.Reason, Err: recovery.ErrDamaged})
	}
	report.Doubts = append(doubts(chosen), e.notes()...)
	report.Warnings = append(warnings(chosen, unread), e.notes()...)
	return report, gaps, e.outcome(report, runErr)
}

// openDirectory makes the folder for the files and opens it, so that nothing can be written outside.
func openDirectory(name string) (*os.Root, error) {
	err := os.MkdirAll(name, 0o777)
	if err == nil {
		var root *os.Root
		if root, err = os.OpenRoot(name); err == nil {
			return root, nil
		}
	}
	return nil, &recovery.Problem{What: "open the folder " + name, Why: err.Error(), Next: "give another --output-dir", Err: err}
}

// outcome says how it ended.
func (e *extraction) outcome(r *ExtractReport, err error) error {
	there := r.FileCount + r.SymlinkCount
	if err == nil {
		if len(r.Failed) > 0 && there == 0 {
			return &recovery.Problem{
				What: fmt.Sprintf("nothing could be taken out of snapshot %s", r.Snapshot.ID), Why: r.Failed[0].Path + ": " + r.Failed[0].Reason,
				Next: "try an older snapshot: --previous 1", Err: recovery.ErrDamaged,
			}
		}
		return nil
	}
	if errors.Is(err, context.Canceled) && there == 0 {
		return err
	}
	result := &recovery.Problem{
		What: fmt.Sprintf("only %d of %d files are in %s, each of them whole", there, len(e.states)+len(e.links), r.Directory),
		Why:  err.Error(), Next: "run the same command again with --overwrite", Err: err,
	}
	var cause *recovery.Problem
	switch {
	case errors.Is(err, context.Canceled):
		result.Why, result.Err = "it was cancelled", operation.ErrUnfinished
	case errors.As(err, &cause):
		result.Why, result.Next = cause.What+": "+cause.Cause(), cause.Next
	}
	return result
}

// refuseExisting finds what stands in the way before anything is written.
func (e *extraction) refuseExisting() error {
	entries, err := os.ReadDir(e.root.Name())
	if err != nil {
		return &recovery.Problem{What: "look into " + e.root.Name(), Why: err.Error(), Next: "give another --output-dir", Err: err}
	}
	if e.overwrite || len(entries) == 0 {
		return nil
	}
	var there []string
	for _, f := range e.all {
		if f.Type == recovery.TypeDirectory {
			continue
		}
		if _, err := e.root.Lstat(e.local(f)); err == nil {
			there = append(there, f.Path)
		}
	}
	if len(there) == 0 {
		return nil
	}
	const most = 3
	why := strings.Join(there[:min(most, len(there))], ", ")
	if len(there) > most {
		why += ", …"
	}
	return &recovery.Problem{
		What: fmt.Sprintf("%d of the files are in %s already, so nothing was written", len(there), e.root.Name()), Why: why,
		Next: "give an empty --output-dir, or --overwrite", Err: recovery.ErrExists,
	}
}

// local gives an entry's name below the folder, in this system's notation.
func (e *extraction) local(f recovery.File) string {
	below := f.Path
	if e.base != "" {
		below = strings.TrimPrefix(strings.TrimPrefix(f.Path, e.base), "/")
	}
	if below == "" {
		below = path.Base(f.Path) // the path named this one file
	}
	return filepath.FromSlash(below)
}
