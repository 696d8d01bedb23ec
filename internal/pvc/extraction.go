package pvc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/drctl/drctl/internal/recovery"
)

// temporaryPrefix begins the names of files that are not whole yet. An interrupted run removes them;
// after a crash of the computer they can be removed by hand.
const temporaryPrefix = ".drctl-extract-"

// extraction writes entries of a snapshot below a folder. It is the recovery.FileSink of its files.
type extraction struct {
	root      *os.Root
	base      string
	overwrite bool
	progress  func(ExtractProgress)
	parallel  int
	// mark is in every temporary name, so that two runs do not meet.
	mark string
	// owner: only root may give files away.
	owner bool

	all     []recovery.File
	folders []recovery.File
	links   []recovery.File
	states  []*fileState
	dirs    *folderHandles
	// open counts unfinished files that are open.
	open atomic.Int64

	mu      sync.Mutex
	now     ExtractProgress
	made    int
	linked  int
	failed  []FailedFile
	refused map[string]int
}

// newExtraction sorts the entries by what is done with them.
func newExtraction(root *os.Root, files []recovery.File, at string, o ExtractOptions) *extraction {
	e := &extraction{
		root: root, base: at, overwrite: o.Overwrite, progress: o.Progress, parallel: o.Parallel, all: files,
		mark: fmt.Sprintf("%s%d-", temporaryPrefix, os.Getpid()), owner: os.Geteuid() == 0,
		dirs: newFolderHandles(root), failed: []FailedFile{}, refused: map[string]int{},
	}
	for _, f := range files {
		switch f.Type {
		case recovery.TypeDirectory:
			e.folders = append(e.folders, f)
		case recovery.TypeSymlink:
			e.links = append(e.links, f)
		default:
			local := e.local(f)
			e.states = append(e.states, &fileState{file: f, folder: filepath.Dir(local), name: filepath.Base(local)})
			e.now.TotalBytes += f.SizeBytes
		}
	}
	e.now.TotalFiles = len(e.states)
	return e
}

// run makes the folders, brings the files, then the links, and gives the folders their attributes last:
// writing into a folder changes its time, and may need a right that its mode takes away.
func (e *extraction) run(ctx context.Context, contents Contents) error {
	if err := e.makeFolders(ctx); err != nil {
		return err
	}
	wanted := make([]recovery.File, len(e.states))
	for i, s := range e.states {
		wanted[i] = s.file
	}
	err := contents.Read(ctx, wanted, e.parallel, e)
	if err == nil {
		err = e.makeLinks(ctx)
	}
	e.abandon()
	e.finishFolders()
	return errors.Join(err, e.dirs.close())
}

func (e *extraction) makeFolders(ctx context.Context) error {
	for _, f := range e.folders {
		if err := ctx.Err(); err != nil {
			return err
		}
		local := e.local(f)
		err := e.makeFolder(local)
		if stops(err) {
			return e.explain(err)
		}
		if err != nil {
			e.dirs.refuse(local)
			e.fail(f.Path, err)
		}
	}
	return nil
}

// makeFolder makes one folder. One that is there already is used, a link in its place is not.
func (e *extraction) makeFolder(local string) error {
	if err := e.dirs.refusal(filepath.Dir(local)); err != nil {
		return err
	}
	err := e.root.Mkdir(local, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := e.root.Lstat(local)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is there already and is no folder", filepath.ToSlash(local))
	}
	return err
}

func (e *extraction) makeLinks(ctx context.Context) error {
	for _, f := range e.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := e.makeLink(f)
		if stops(err) {
			return e.explain(err)
		}
		if err != nil {
			e.fail(f.Path, err)
			continue
		}
		e.linked++
	}
	return nil
}

// makeLink writes a link as it stands in the snapshot. Nothing ever goes through it.
func (e *extraction) makeLink(f recovery.File) error {
	local := e.local(f)
	folder, err := e.dirs.open(filepath.Dir(local))
	if err != nil {
		return err
	}
	defer e.dirs.done(filepath.Dir(local))
	name := filepath.Base(local)
	if e.overwrite {
		if info, err := folder.Lstat(name); err == nil && !info.IsDir() {
			if err := folder.Remove(name); err != nil {
				return err
			}
		}
	}
	if err := folder.Symlink(f.Target, name); err != nil {
		return err
	}
	e.dress(folder, name, f)
	return nil
}

// finishFolders sets the attributes of folders, the deepest first.
func (e *extraction) finishFolders() {
	for _, f := range slices.Backward(e.folders) {
		local := e.local(f)
		if e.dirs.refusal(local) != nil {
			continue // it could not be made, and that was said
		}
		if _, err := e.root.Lstat(local); err != nil {
			continue // the run was stopped ahead of it
		}
		e.made++
		e.dress(e.root, local, f)
	}
}

// fail notes what could not be taken out.
func (e *extraction) fail(name string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = append(e.failed, FailedFile{Path: name, Reason: err.Error()})
}

// stops reports whether an error of the folder will meet every other file as well.
func stops(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO) ||
		errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// explain says what stopped the writing.
func (e *extraction) explain(err error) error {
	problem := &recovery.Problem{What: "write to " + e.root.Name(), Why: err.Error(), Next: "give another --output-dir", Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		problem.Why = fmt.Sprintf("the disk is full: all files together need %d bytes", e.now.TotalBytes)
		problem.Next = "free that much there, or give an --output-dir on another disk"
	}
	return problem
}

// report counts what is there.
func (e *extraction) report(s recovery.Snapshot, at, directory string) *ExtractReport {
	slices.SortFunc(e.failed, func(a, b FailedFile) int { return cmp.Compare(a.Path, b.Path) })
	return &ExtractReport{
		APIVersion: recovery.APIVersion, Kind: "ExtractReport", Snapshot: newSnapshotItem(s), Path: at, Directory: directory,
		FileCount: e.now.Files, DirCount: e.made, SymlinkCount: e.linked, SizeBytes: e.now.Bytes, Failed: e.failed,
	}
}
