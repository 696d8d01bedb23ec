package pvc

import (
	"errors"
	"os"
	"sync"
)

// folderHandles keeps folders open: opening one by its path for every file in it would cost more than
// the file.
type folderHandles struct {
	root *os.Root

	mu     sync.Mutex
	opened map[string]*folderHandle
	// refused are folders that could not be made: nothing may be written below them.
	refused map[string]bool
}

type folderHandle struct {
	root  *os.Root
	users int
}

// mostFolders is how many folders stay open although nobody uses them.
const mostFolders = 128

func newFolderHandles(root *os.Root) *folderHandles {
	return &folderHandles{root: root, opened: map[string]*folderHandle{}, refused: map[string]bool{}}
}

// open gives a folder, until done is called. No link on the way is followed out of the root.
func (h *folderHandles) open(name string) (*os.Root, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused[name] {
		return nil, errRefused
	}
	folder := h.opened[name]
	if folder == nil {
		h.closeUnused()
		root, err := h.root.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		folder = &folderHandle{root: root}
		h.opened[name] = folder
	}
	folder.users++
	return folder.root, nil
}

func (h *folderHandles) done(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened[name].users--
}

// errRefused is why nothing is written into a folder that could not be made.
var errRefused = errors.New("the folder that it belongs into could not be made")

// refuse notes that a folder could not be made.
func (h *folderHandles) refuse(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused[name] = true
}

// refusal is errRefused for a folder that could not be made.
func (h *folderHandles) refusal(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused[name] {
		return errRefused
	}
	return nil
}

func (h *folderHandles) closeUnused() {
	if len(h.opened) < mostFolders {
		return
	}
	for name, folder := range h.opened {
		if folder.users == 0 {
			_ = folder.root.Close() // it was only read
			delete(h.opened, name)
		}
	}
}

func (h *folderHandles) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	for name, folder := range h.opened {
		err = errors.Join(err, folder.root.Close())
		delete(h.opened, name)
	}
	return err
}
