package pvc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// FileList is the answer of `drctl pvc files`.
type FileList struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Snapshot is the one that was looked into.
	Snapshot SnapshotItem `json:"snapshot"`
	// Path is what was asked for, "" for the root.
	Path     string     `json:"path"`
	Items    []FileItem `json:"items"`
	Warnings []string   `json:"warnings"`
	// Doubts are what the snapshot's manifest says against it; they stand in Warnings as well.
	Doubts []string `json:"-"`
}

// FileItem is one entry of a snapshot. SizeBytes of a folder is the size of all files below it.
type FileItem struct {
	Path string            `json:"path"`
	Type recovery.FileType `json:"type"`
	// Mode is octal, as chmod takes it: "0644", "1777".
	Mode      string    `json:"mode"`
	UserID    uint32    `json:"userID"`
	GroupID   uint32    `json:"groupID"`
	SizeBytes int64     `json:"sizeBytes"`
	ModTime   time.Time `json:"modTime"`
	// Target is where a symbolic link leads.
	Target string `json:"target,omitempty"`
}

// FilesQuery says what of which snapshot is wanted.
type FilesQuery struct {
	// Name and Namespace are those of Query; Name must not be empty.
	Name, Namespace string
	Choice          Choice
	// Path is below the snapshot's root; "" and "/" are the root itself.
	Path string
	// Recursive lists folders below folders too.
	Recursive bool
}

// Files lists what a snapshot holds. Gaps say what of it could not be read.
func (l *Lister) Files(ctx context.Context, q FilesQuery) (list *FileList, gaps recovery.Gaps, err error) {
	at, err := CleanPath(q.Path)
	if err != nil {
		return nil, nil, err
	}
	contents, chosen, gaps, err := l.open(ctx, q.Name, q.Namespace, q.Choice)
	if err != nil {
		return nil, gaps, err
	}
	defer func() { err = errors.Join(err, contents.Close(ctx)) }()
	files, unread, err := contents.Files(ctx, chosen, at, q.Recursive)
	gaps = append(gaps, unread...)
	if err != nil {
		return nil, gaps, err
	}
	list = &FileList{
		APIVersion: recovery.APIVersion, Kind: "FileList", Snapshot: newSnapshotItem(chosen), Path: at,
		Items: make([]FileItem, 0, len(files)), Warnings: warnings(chosen, gaps), Doubts: doubts(chosen),
	}
	for _, f := range files {
		list.Items = append(list.Items, FileItem{
			Path: f.Path, Type: f.Type, Mode: octal(f), UserID: f.UserID, GroupID: f.GroupID, SizeBytes: f.SizeBytes, ModTime: f.ModTime, Target: f.Target,
		})
	}
	return list, gaps, nil
}

// warnings are those of the snapshot itself and what could not be read.
func warnings(s recovery.Snapshot, gaps recovery.Gaps) []string {
	all := doubts(s)
	for _, gap := range gaps {
		all = append(all, gap.Error())
	}
	return all
}

// doubts are what a snapshot's manifest says against it.
func doubts(s recovery.Snapshot) []string {
	all := []string{}
	if !s.Complete() {
		all = append(all, fmt.Sprintf("snapshot %s is incomplete (%s): files are missing in it", s.ID, s.Incomplete))
	}
	if s.ErrorCount > 0 {
		all = append(all, fmt.Sprintf("snapshot %s was made with %d errors: what could not be read then is not in it", s.ID, s.ErrorCount))
	}
	return all
}

// CleanPath gives a path below a snapshot's root without slashes at the ends; "" is the root.
func CleanPath(text string) (string, error) {
	for part := range strings.SplitSeq(text, "/") {
		if part == ".." {
			return "", &recovery.Problem{
				What: fmt.Sprintf("the path %q leaves the snapshot", text), Next: "give a path below its root, as drctl pvc files prints it", Err: recovery.ErrUsage,
			}
		}
	}
	return strings.TrimPrefix(path.Clean("/"+text), "/"), nil
}

// octal renders a mode as chmod takes it.
func octal(f recovery.File) string {
	return fmt.Sprintf("%04o", UnixMode(f.Mode))
}

// Names gives the paths of the entries.
func (l *FileList) Names() []string {
	names := make([]string, 0, len(l.Items))
	for _, item := range l.Items {
		names = append(names, cmp.Or(item.Path, "."))
	}
	return names
}
