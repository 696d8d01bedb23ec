package recovery

import (
	"io/fs"
	"time"
)

// FileType says what an entry of a snapshot is.
type FileType string

// The types of entries that Kopia keeps. Source: kopia snapshot/manifest.go, EntryType.
const (
	TypeFile      FileType = "file"
	TypeDirectory FileType = "directory"
	TypeSymlink   FileType = "symlink"
)

// File is one entry of a snapshot: a file, a folder or a symbolic link.
type File struct {
	// Path is relative to the snapshot's root, with slashes. It never leaves the root.
	Path string
	Type FileType
	// Mode holds the permissions and setuid, setgid and sticky, as Go's bits; never a type.
	Mode            fs.FileMode
	UserID, GroupID uint32
	// SizeBytes of a folder is the size of all files below it.
	SizeBytes int64
	ModTime   time.Time
	// Target is what a symbolic link says, as it stands in the snapshot: it may lead anywhere.
	Target string
	// ObjectID is where Kopia keeps the content.
	ObjectID string
}

// FileSink takes the contents of files as they come out of a repository. Files are named by their
// index in what was asked for. Its methods are called from several goroutines, for one file too.
type FileSink interface {
	// Part gives a part of a file, each once, in any order; a file without content is one empty part.
	// The content is only valid during the call. An error stops everything.
	Part(file int, offset int64, content []byte) error
	// Done says that all parts of a file were given, each with a hash that is right. An error stops
	// everything.
	Done(file int) error
	// Failed says that a file can't be read whole. What was given of it is worth nothing.
	Failed(file int, err error)
}
