package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// WriteRestoreTree writes a tree of files below a folder, the same for the same seed: several modes, times of the
// past to the nanosecond, folders (an empty one, a deep one), an empty file and one of a megabyte, symbolic
// links (one that leads nowhere, one to a folder), and names that shells and listings stumble over. Everything
// belongs to owner.
func WriteRestoreTree(folder string, seed uint64, owner int) error {
	random := rand.New(rand.NewPCG(seed, 1))
	for name, mode := range map[string]fs.FileMode{"empty": 0o700, "deep/er/still": 0o750, "with spaces": 0o755, "shared": 0o2775} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
		if err := unix.Chmod(filepath.Join(folder, name), uint32(mode)); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
	}
	files := map[string]struct {
		mode fs.FileMode
		size int
	}{
		"plain.txt": {0o644, 1000}, "secret.key": {0o600, 64}, "run.sh": {0o755, 200}, ".hidden": {0o640, 10}, "zero": {0o644, 0},
		"large.bin": {0o644, 1 << 20}, "deep/er/still/leaf": {0o444, 77}, "with spaces/and \"quotes\" 'both'": {0o644, 5},
		"line\nbreak": {0o644, 6}, "Grüße ☃": {0o644, 7}, "-rf": {0o644, 8}, strings.Repeat("n", 200): {0o644, 9}, "shared/*?[x]": {0o664, 11},
	}
	for name, file := range files {
		content := make([]byte, file.size)
		// Content by name, too: files are written in no order.
		own := rand.New(rand.NewPCG(seed, uint64(len(name))*7919+uint64(name[0])))
		for i := range content {
			content[i] = byte(own.IntN(256))
		}
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
		if err := unix.Chmod(path, uint32(file.mode)); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
	}
	for name, target := range map[string]string{"to-file": "plain.txt", "to-folder": "deep/er", "to-nowhere": "/no/such/file", "deep/up": "../run.sh"} {
		path := filepath.Join(folder, name)
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
		if err := os.Symlink(target, path); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
	}
	return settleTree(folder, random, owner)
}

// settleTree sets owners and times, the inner ones first: writing into a folder changes its time. The times are
// such that Kopia gives them back: of a folder it keeps the newest time below it, and a link's time it restores to
// the microsecond.
func settleTree(folder string, random *rand.Rand, owner int) error {
	var paths []string
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if path != folder {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: write a tree: %w", err)
	}
	newest := map[string]int64{}
	for i := len(paths) - 1; i >= 0; i-- {
		var info unix.Stat_t
		if err := unix.Lstat(paths[i], &info); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
		if err := os.Lchown(paths[i], owner, owner); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
		if info.Mode&unix.S_IFMT != unix.S_IFLNK {
			// A change of owner takes the bits for another identity off.
			if err := unix.Chmod(paths[i], info.Mode&0o7777); err != nil {
				return fmt.Errorf("lab: write a tree: %w", err)
			}
		}
		nanoseconds := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() + random.Int64N(int64(300*day))
		if info.Mode&unix.S_IFMT == unix.S_IFLNK {
			nanoseconds -= nanoseconds % int64(time.Microsecond)
		}
		if below, isFull := newest[paths[i]]; isFull {
			nanoseconds = below
		}
		parent := filepath.Dir(paths[i])
		newest[parent] = max(newest[parent], nanoseconds)
		at := unix.NsecToTimespec(nanoseconds)
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, paths[i], []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("lab: write a tree: %w", err)
		}
	}
	return nil
}

// TreeHash is a hash over TreeLines.
func TreeHash(folder string) (string, error) {
	lines, err := TreeLines(folder)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:]), nil
}

// TreeLines says everything about what is below a folder, a line each: path, type, mode, owner, time of change to
// the nanosecond, the target of a link, size and content's hash. The folder itself does not count, nor a file
// system's own lost+found: they belong to the volume.
func TreeLines(folder string) ([]string, error) {
	lines := []string{}
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if name == "lost+found" {
			return filepath.SkipDir
		}
		line, err := describeEntry(path, name)
		lines = append(lines, line)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lab: describe the tree %s: %w", folder, err)
	}
	return lines, nil
}

func describeEntry(path, name string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("the owner of %s cannot be told", path)
	}
	line := fmt.Sprintf("%q %s %d:%d %d", name, info.Mode(), owner.Uid, owner.Gid, info.ModTime().UnixNano())
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return fmt.Sprintf("%s -> %q", line, target), err
	case info.Mode().IsRegular():
		content, err := os.ReadFile(path)
		return fmt.Sprintf("%s %d %x", line, info.Size(), sha256.Sum256(content)), err
	}
	return line, nil
}
