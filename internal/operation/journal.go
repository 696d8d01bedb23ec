package operation

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Journal is a plan that was opened: the only one who writes to it until Close.
type Journal struct {
	Plan Plan

	*record
	dir  string
	file *os.File
	lock *flock.Flock
	// raw is the file's content.
	raw   []byte
	crash func(point string)
}

// Entries are the entries so far, oldest first.
func (j *Journal) Entries() []Entry { return j.entries }

// Bytes is the file's content.
func (j *Journal) Bytes() []byte { return j.raw }

// Append writes an entry; it is on the disk when Append returns.
func (j *Journal) Append(entry Entry) error {
	line, err := encode(entry)
	if err != nil {
		return err
	}
	j.at("append " + string(entry.Event))
	if err := j.write(line); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(j.dir, journalFile), err)
	}
	j.at("appended " + string(entry.Event))
	j.raw = append(j.raw, line...)
	j.add(entry)
	return nil
}

// write appends a line. Of one that could not be written nothing stays, so that the next one does not
// make a damaged line of it.
func (j *Journal) write(line []byte) error {
	_, err := j.file.Write(line)
	if err == nil {
		err = j.file.Sync()
	}
	if err == nil {
		return nil
	}
	if undo := j.file.Truncate(int64(len(j.raw))); undo != nil {
		_ = j.file.Close()
	}
	return err
}

// open opens the file to append to it, and cuts off what a crash left behind its last whole line.
func (j *Journal) open(raw []byte) error {
	entries, whole, err := ParseJournal(raw)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(j.dir, journalFile), os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	if err := cut(file, int64(whole)); err != nil {
		_ = file.Close()
		return err
	}
	j.file, j.raw, j.record = file, append([]byte{}, raw[:whole]...), replay(entries)
	return nil
}

func cut(file *os.File, size int64) error {
	info, err := file.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	return file.Sync()
}

// replace puts another journal in the place of this one, at once.
func (j *Journal) replace(raw []byte) error {
	_, whole, err := ParseJournal(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", journalFile, err)
	}
	if err := writeFile(filepath.Join(j.dir, journalFile), raw[:whole]); err != nil {
		return err
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	return j.open(raw[:whole])
}

// remove takes the plan away, and lets go of it.
func (j *Journal) remove() error {
	defer j.Close()
	// Without its plan.json it is no plan, whatever else stays.
	if err := os.Remove(filepath.Join(j.dir, planFile)); err != nil {
		return err
	}
	if err := syncFolder(j.dir); err != nil {
		return err
	}
	return os.RemoveAll(j.dir)
}

// Close lets another process have the plan.
func (j *Journal) Close() {
	if j.file != nil {
		_ = j.file.Close()
	}
	_ = j.lock.Unlock()
}

func (j *Journal) at(point string) {
	if j.crash != nil {
		j.crash(point)
	}
}

// writeFile writes a file so that after a crash there is the old one or the new one.
func writeFile(path string, content []byte) error {
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder last.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	return folder.Sync()
}
