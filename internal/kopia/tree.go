package kopia

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/drctl/drctl/internal/recovery"
)

// folderStream marks the JSON of a folder. Source: kopia snapshot/snapshotfs/dir_reader.go.
const folderStream = "kopia:directory"

// longestTarget bounds what is read of a symbolic link: no system has longer ones.
const longestTarget = 1 << 16

// Files gives what a snapshot holds at a path ("" is its root): the entry itself where it is no folder,
// else what is in the folder, and below it when recursive. Folders come ahead of what is in them; apart
// from that it is sorted by path.
//
// What can't be read while the rest can is in the gaps. Call Snapshots first: it reads the index.
func (r *Repository) Files(ctx context.Context, s recovery.Snapshot, at string, recursive bool) ([]recovery.File, recovery.Gaps, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx = quiet(ctx)
	if r.contents == nil {
		return nil, nil, fmt.Errorf("read snapshot %s: the index was not read yet", s.ID)
	}
	root, err := object.ParseID(s.RootID)
	if err != nil || !isFolder(root) {
		return nil, nil, &recovery.Problem{
			What: "read snapshot " + s.ID, Why: "its root is no folder", Next: "kopia restore " + s.ID + " DIR", Err: recovery.ErrUnsupported,
		}
	}
	w := &treeWalk{repository: r, snapshot: s}
	start := place{id: root}
	if at != "" {
		entry, err := w.find(ctx, root, at)
		if err != nil {
			return nil, w.gaps, r.treeProblem(s, at, err)
		}
		if entry.Type != snapshot.EntryTypeDirectory {
			w.add(path.Dir(at), entry)
			return w.files, w.gaps, w.finish(ctx)
		}
		start = place{path: at, id: entry.ObjectID}
	}
	if err := w.walk(ctx, start, recursive); err != nil {
		return nil, w.gaps, r.treeProblem(s, start.path, err)
	}
	return w.files, w.gaps, w.finish(ctx)
}

// isFolder reports whether an object is a folder, however long its list is.
// Source: kopia snapshot/snapshotfs/repofs.go, IsDirectoryID.
func isFolder(id object.ID) bool {
	for {
		list, indirect := id.IndexObjectID()
		if !indirect {
			break
		}
		id = list
	}
	held, _, ok := id.ContentID()
	return ok && held.Prefix() == folderPrefix
}

// folderPrefix begins the contents of folders.
const folderPrefix = "k"

// treeProblem explains why a folder of a snapshot can't be read.
func (r *Repository) treeProblem(s recovery.Snapshot, at string, err error) error {
	return explain(fmt.Sprintf("read %s of snapshot %s", cmp.Or(at, "the root"), s.ID), r.location, err, recovery.ErrDamaged)
}

// treeWalk collects entries of a snapshot.
type treeWalk struct {
	repository *Repository
	snapshot   recovery.Snapshot
	files      []recovery.File
	gaps       recovery.Gaps
}

// place is a folder on the way.
type place struct {
	path string
	id   object.ID
}

// find goes down to the entry at a path.
func (w *treeWalk) find(ctx context.Context, root object.ID, at string) (*snapshot.DirEntry, error) {
	folder, entry := root, (*snapshot.DirEntry)(nil)
	parts := strings.Split(at, "/")
	for i, name := range parts {
		read, failed, err := readObjects(ctx, w.repository, []object.ID{folder}, decodeFolder)
		if err = errors.Join(err, first(failed)); err != nil {
			return nil, err
		}
		at := slices.IndexFunc(read[0], func(e *snapshot.DirEntry) bool { return e.Name == name })
		if at < 0 {
			return nil, w.notThere(parts[:i], name)
		}
		entry = read[0][at]
		if i < len(parts)-1 && entry.Type != snapshot.EntryTypeDirectory {
			return nil, w.notThere(parts[:i+1], parts[i+1])
		}
		folder = entry.ObjectID
	}
	return entry, nil
}

func first(failed []error) error {
	if len(failed) == 0 {
		return nil
	}
	return failed[0]
}

func (w *treeWalk) notThere(parents []string, name string) error {
	return &recovery.Problem{
		What: fmt.Sprintf("there is no %s in snapshot %s", path.Join(append(slices.Clone(parents), name)...), w.snapshot.ID),
		Why:  fmt.Sprintf("its %s has no such entry", cmp.Or(path.Join(parents...), "root")),
		Next: "look what there is: drctl pvc files", Err: recovery.ErrNotFound,
	}
}

// walk reads one level of folders after the other, each in one wave. The error is for the first
// folder; others that can't be read are gaps.
func (w *treeWalk) walk(ctx context.Context, start place, recursive bool) error {
	level := []place{start}
	for depth := 0; len(level) > 0; depth++ {
		ids := make([]object.ID, len(level))
		for i, p := range level {
			ids[i] = p.id
		}
		read, failed, err := readObjects(ctx, w.repository, ids, decodeFolder)
		if err != nil {
			return err
		}
		if depth == 0 && failed[0] != nil {
			return failed[0]
		}
		var next []place
		for i, p := range level {
			if failed[i] != nil {
				w.gap(p.path, failed[i], "what is in this folder is left out")
				continue
			}
			next = append(next, w.addFolder(p.path, read[i])...)
		}
		if !recursive {
			break
		}
		level = next
	}
	slices.SortStableFunc(w.files, func(a, b recovery.File) int { return comparePaths(a.Path, b.Path) })
	return nil
}

// comparePaths sorts a folder ahead of what is in it, and that ahead of the folder's neighbours.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// addFolder adds the entries of a folder and gives its folders. A name that could lead out of the
// folder, or that stands there twice, was never written by Kopia: it is a gap.
func (w *treeWalk) addFolder(folder string, entries []*snapshot.DirEntry) []place {
	var below []place
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if unsafeName(e.Name) || seen[e.Name] {
			w.gap(folder, fmt.Errorf("the entry %q: %w", e.Name, errName), "this entry is left out")
			continue
		}
		seen[e.Name] = true
		if w.add(folder, e) && e.Type == snapshot.EntryTypeDirectory {
			below = append(below, place{path: path.Join(folder, e.Name), id: e.ObjectID})
		}
	}
	return below
}

// errName says that an entry must not become a file.
var errName = errors.New("its name leads elsewhere, or stands there twice")

func unsafeName(name string) bool {
	return name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00")
}

func (w *treeWalk) add(folder string, e *snapshot.DirEntry) bool {
	types := map[snapshot.EntryType]recovery.FileType{
		snapshot.EntryTypeFile: recovery.TypeFile, snapshot.EntryTypeDirectory: recovery.TypeDirectory, snapshot.EntryTypeSymlink: recovery.TypeSymlink,
	}
	at := path.Join(folder, e.Name)
	kind, known := types[e.Type]
	if !known {
		w.gap(at, fmt.Errorf("it is of the unknown type %q", e.Type), "this entry is left out")
		return false
	}
	file := recovery.File{
		Path: at, Type: kind, Mode: fs.FileMode(e.Permissions) & keptModeBits, UserID: e.UserID, GroupID: e.GroupID,
		SizeBytes: e.FileSize, ModTime: e.ModTime.ToTime().UTC(), ObjectID: e.ObjectID.String(),
	}
	if kind == recovery.TypeDirectory && e.DirSummary != nil {
		file.SizeBytes = e.DirSummary.TotalFileSize
	}
	w.files = append(w.files, file)
	return true
}

// keptModeBits are the bits of a mode that Kopia keeps. Source: kopia fs/entry.go, ModBits.
const keptModeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func (w *treeWalk) gap(at string, err error, effect string) {
	w.gaps = append(w.gaps, &recovery.Problem{
		What: fmt.Sprintf("read %s of snapshot %s", cmp.Or(at, "the root"), w.snapshot.ID), Why: err.Error() + ": " + effect,
		Next: checkNext, Err: errors.Join(recovery.ErrDamaged, err),
	})
}

// finish reads where the symbolic links lead. A link that can't be read is left out.
func (w *treeWalk) finish(ctx context.Context) error {
	var links []int
	var ids []object.ID
	for i, f := range w.files {
		if f.Type != recovery.TypeSymlink {
			continue
		}
		id, err := object.ParseID(f.ObjectID)
		if err != nil {
			return fmt.Errorf("read the link %s: %w", f.Path, err)
		}
		links, ids = append(links, i), append(ids, id)
	}
	targets, failed, err := readObjects(ctx, w.repository, ids, func(from io.Reader) (string, error) {
		target, err := io.ReadAll(io.LimitReader(from, longestTarget))
		return string(target), err
	})
	if err != nil {
		return w.repository.treeProblem(w.snapshot, "", err)
	}
	unreadable := map[int]bool{}
	for i, at := range links {
		w.files[at].Target, w.files[at].SizeBytes = targets[i], int64(len(targets[i]))
		if failed[i] != nil {
			unreadable[at] = true
			w.gap(w.files[at].Path, failed[i], "this link is left out")
		}
	}
	kept := w.files[:0]
	for i, f := range w.files {
		if !unreadable[i] {
			kept = append(kept, f)
		}
	}
	w.files = kept
	return nil
}

// decodeFolder decodes the entries of a folder.
func decodeFolder(from io.Reader) ([]*snapshot.DirEntry, error) {
	var folder snapshot.DirManifest
	if err := json.NewDecoder(from).Decode(&folder); err != nil {
		return nil, fmt.Errorf("parse the folder: %w", err)
	}
	if folder.StreamType != folderStream {
		return nil, fmt.Errorf("it is no folder but %q", folder.StreamType)
	}
	for _, e := range folder.Entries {
		if e == nil {
			return nil, errors.New("an entry of the folder is empty")
		}
	}
	return folder.Entries, nil
}
