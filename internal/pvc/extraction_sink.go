package pvc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// mostOpen is how many unfinished files stay open between two of their parts.
const mostOpen = 128

// hole is from how many zeros on nothing is written, so that sparse files stay sparse.
const hole = 64 << 10

// fileState is one file on its way.
type fileState struct {
	file         recovery.File
	folder, name string

	mu     sync.Mutex
	handle *os.File
	// begun: there is a temporary file; ended: it has its name, or failed.
	begun, ended bool
	err          error
}

func (e *extraction) temporary(file int) string { return fmt.Sprintf("%s%d", e.mark, file) }

// Part implements recovery.FileSink.
func (e *extraction) Part(file int, offset int64, content []byte) error {
	s := e.states[file]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil
	}
	s.err = e.write(s, file, offset, content)
	if stops(s.err) {
		return e.explain(s.err)
	}
	return nil
}

func (e *extraction) write(s *fileState, file int, offset int64, content []byte) error {
	if s.handle == nil {
		if err := e.begin(s, file); err != nil {
			return err
		}
	}
	if err := writeSparse(s.handle, offset, content); err != nil {
		return err
	}
	if int64(len(content)) == s.file.SizeBytes || e.open.Load() <= mostOpen {
		return nil
	}
	return e.close(s)
}

func (e *extraction) close(s *fileState) error {
	e.open.Add(-1)
	err := s.handle.Close()
	s.handle = nil
	return err
}

// begin opens the temporary file, which nobody takes for the file itself.
func (e *extraction) begin(s *fileState, file int) error {
	folder, err := e.dirs.open(s.folder)
	if err != nil {
		return err
	}
	defer e.dirs.done(s.folder)
	flags := os.O_WRONLY
	if !s.begun {
		flags |= os.O_CREATE | os.O_EXCL
	}
	handle, err := folder.OpenFile(e.temporary(file), flags, 0o600)
	if err != nil {
		return err
	}
	s.handle, s.begun = handle, true
	e.open.Add(1)
	return nil
}

// writeSparse leaves long runs of zeros out; the end is set when the file is done. What stands between them
// is written in pieces all the same: one write of 4 MB took several times as long as 64 of 64 KB (ext4).
func writeSparse(file *os.File, offset int64, content []byte) error {
	for len(content) > 0 {
		part := content[:min(hole, len(content))]
		if len(part) < hole || !zeros(part) {
			if _, err := file.WriteAt(part, offset); err != nil {
				return err
			}
		}
		offset, content = offset+int64(len(part)), content[len(part):]
	}
	return nil
}

func zeros(content []byte) bool {
	for _, b := range content {
		if b != 0 {
			return false
		}
	}
	return true
}

// Done implements recovery.FileSink: the file gets its attributes, and then its name.
func (e *extraction) Done(file int) error {
	s := e.states[file]
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	if err == nil {
		err = e.finish(s, file)
	}
	if err == nil {
		s.ended = true
		e.count(s.file)
		return nil
	}
	s.err = err
	if stops(err) {
		return e.explain(err)
	}
	e.drop(s, file)
	e.fail(s.file.Path, err)
	return nil
}

func (e *extraction) finish(s *fileState, file int) error {
	if s.handle == nil {
		if err := e.begin(s, file); err != nil {
			return err
		}
	}
	if err := errors.Join(s.handle.Truncate(s.file.SizeBytes), e.close(s)); err != nil {
		return err
	}
	folder, err := e.dirs.open(s.folder)
	if err != nil {
		return err
	}
	defer e.dirs.done(s.folder)
	e.dress(folder, e.temporary(file), s.file)
	if !e.overwrite {
		if _, err := folder.Lstat(s.name); err == nil {
			return fmt.Errorf("%s came to be there meanwhile", s.name)
		}
	}
	return folder.Rename(e.temporary(file), s.name)
}

func (e *extraction) count(f recovery.File) {
	e.mu.Lock()
	e.now.Files++
	e.now.Bytes += f.SizeBytes
	now := e.now
	e.mu.Unlock()
	if e.progress != nil {
		e.progress(now)
	}
}

// Failed implements recovery.FileSink.
func (e *extraction) Failed(file int, err error) {
	s := e.states[file]
	s.mu.Lock()
	defer s.mu.Unlock()
	e.drop(s, file)
	e.fail(s.file.Path, err)
}

// drop removes what there is of a file that will not be whole.
func (e *extraction) drop(s *fileState, file int) {
	s.ended = true
	if s.handle != nil {
		_ = e.close(s) // what was written is thrown away
	}
	if !s.begun {
		return
	}
	folder, err := e.dirs.open(s.folder)
	if err != nil {
		return
	}
	defer e.dirs.done(s.folder)
	if err := folder.Remove(e.temporary(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.note("%d unfinished files could not be removed; their names begin with " + temporaryPrefix)
	}
}

// abandon removes the files that were begun and did not become whole. No reads run any more.
func (e *extraction) abandon() {
	for i, s := range e.states {
		if s.begun && !s.ended {
			e.drop(s, i)
		}
	}
}

// note counts something that is not as in the snapshot; the text has one %d.
func (e *extraction) note(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused[text]++
}

func (e *extraction) notes() []string {
	var all []string
	for text, count := range e.refused {
		all = append(all, fmt.Sprintf(text, count))
	}
	return all
}
