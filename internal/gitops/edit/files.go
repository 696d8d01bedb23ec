package edit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/drctl/drctl/internal/recovery"
)

// maxBytes is the size above which a file is not taken for a manifest.
const maxBytes = 8 << 20

// treeFile is a YAML file of the tree.
type treeFile struct {
	path          string // below the root, with slashes
	content       []byte
	kustomization bool
	// selected is set when a kustomization uses it as a patch whose target is the Cluster.
	selected bool
}

// readTree reads the YAML files of a tree, in lexical order. Symbolic links are passed over: what they
// lead to inside the tree is found anyway.
func readTree(ctx context.Context, root string) ([]treeFile, error) {
	var files []treeFile
	err := walk(ctx, root, func(path string, item fs.DirEntry) error {
		isManifest := isYAML(path) || isKustomization(path)
		info, err := item.Info()
		if err != nil || !isManifest || !item.Type().IsRegular() || info.Size() > maxBytes {
			return err
		}
		content, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrPermission) {
			return nil // the build has named it as a gap
		}
		files = append(files, treeFile{path: filepath.ToSlash(path), content: content, kustomization: isKustomization(path)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the GitOps tree %s: %w", root, err)
	}
	return files, nil
}

// markPatches completes files with what the kustomizations say of them.
func markPatches(files []treeFile, target Target) {
	selected := patchFiles(files, target)
	for i := range files {
		files[i].selected = selected[files[i].path]
	}
}

// walk calls visit with every file below the root, by its path there; Git's own folders are left out.
func walk(ctx context.Context, root string, visit func(path string, item fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, item fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if item != nil && item.IsDir() {
			if item.Name() == ".git" || errors.Is(err, fs.ErrPermission) {
				return fs.SkipDir
			}
			return err
		}
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		if err != nil {
			return fmt.Errorf("below %s: %w", root, err)
		}
		return visit(short, item)
	})
}

// trial is a copy of the tree to try changes in.
type trial struct{ root string }

// newTrial copies a tree into the temporary folder. Symbolic links stay links, so those out of the tree break.
func newTrial(ctx context.Context, root string) (*trial, error) {
	dir, err := os.MkdirTemp("", "drctl-edit-")
	if err != nil {
		return nil, fmt.Errorf("copy the GitOps tree: %w", err)
	}
	t := &trial{root: dir}
	err = walk(ctx, root, func(path string, item fs.DirEntry) error { return t.copy(root, path, item) })
	if err != nil {
		t.remove()
		return nil, fmt.Errorf("copy the GitOps tree %s: %w", root, err)
	}
	return t, nil
}

func (t *trial) copy(root, path string, item fs.DirEntry) error {
	from, to := filepath.Join(root, path), filepath.Join(t.root, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	switch {
	case item.Type()&fs.ModeSymlink != 0:
		link, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(link, to)
	case item.Type().IsRegular():
		content, err := os.ReadFile(from)
		if errors.Is(err, fs.ErrPermission) {
			return os.WriteFile(to, nil, 0) // unreadable in the copy as well
		}
		return errors.Join(err, os.WriteFile(to, content, 0o600))
	}
	return nil
}

// put changes a file of the copy.
func (t *trial) put(path string, content []byte) error {
	if err := os.WriteFile(filepath.Join(t.root, filepath.FromSlash(path)), content, 0o600); err != nil {
		return fmt.Errorf("try a change of %s: %w", path, err)
	}
	return nil
}

func (t *trial) remove() {
	_ = os.RemoveAll(t.root) // a leftover in the temporary folder does no harm
}

// Write writes edits to a tree: each file at once or not at all, with its mode. A file that is as it is to
// be is left alone, so it may be called again; one that somebody else changed meanwhile is a problem, and
// no file is written then. Files with changes in comments only come first: after a crash between two of
// them the tree still names the old server, and FindAndSet finds the rest.
func Write(root string, edits []Edited) error {
	var pending []Edited
	for _, e := range edits {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.Path)))
		switch {
		case err != nil:
			return &recovery.Problem{What: "write " + e.Path, Why: "it can't be read any more", Next: "see git status, then run the command again", Err: err}
		case bytes.Equal(content, e.After):
		case bytes.Equal(content, e.Before):
			pending = append(pending, e)
		default:
			return changedMeanwhile(e.Path)
		}
	}
	sort.SliceStable(pending, func(i, j int) bool { return pending[i].commentsOnly() && !pending[j].commentsOnly() })
	for _, e := range pending {
		if err := replaceFile(filepath.Join(root, filepath.FromSlash(e.Path)), e.After); err != nil {
			return &recovery.Problem{What: "write " + e.Path, Why: "the file system refuses it", Next: "check space and permissions of the checkout", Err: err}
		}
	}
	return nil
}

// commentsOnly reports whether no value changes.
func (e Edited) commentsOnly() bool {
	return !slices.ContainsFunc(e.Changes, func(c Change) bool { return !c.Commented })
}

// replaceFile writes beside a file and renames, so that a crash leaves the old or the new one.
func replaceFile(path string, content []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".drctl-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(info.Mode().Perm()), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
