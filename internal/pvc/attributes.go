package pvc

import (
	"io/fs"
	"os"

	"github.com/drctl/drctl/internal/recovery"
)

// dress gives an entry its owner (as root), mode and time. The owner comes first, because the system
// takes setuid away with it; whoever may not set the owner does not set setuid and setgid either, which
// would then be somebody else's. What the file system can't keep is noted, and no failure.
func (e *extraction) dress(folder *os.Root, name string, f recovery.File) {
	mode := f.Mode
	if e.owner {
		if err := folder.Lchown(name, int(f.UserID), int(f.GroupID)); err != nil {
			e.note("the owner of %d entries could not be set here")
			mode &^= fs.ModeSetuid | fs.ModeSetgid
		}
	} else {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	if f.Type == recovery.TypeSymlink {
		if err := setLinkTime(folder, name, f.ModTime); err != nil {
			e.note("the time of %d links could not be set here")
		}
		return
	}
	if err := folder.Chmod(name, mode); err != nil {
		e.note("the mode of %d entries could not be set here")
	}
	if err := folder.Chtimes(name, f.ModTime, f.ModTime); err != nil {
		e.note("the time of %d entries could not be set here")
	}
}
