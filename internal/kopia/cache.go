package kopia

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/kopia/kopia/repo/blob"

	"github.com/drctl/drctl/internal/recovery"
)

// diskCache keeps blobs that never change under their name, as they are in the repository: encrypted.
// A nil or folderless cache holds nothing.
type diskCache struct {
	folder string
	used   *usedFiles
}

// newDiskCache makes the private folder of one repository below directory.
func newDiskCache(directory string, l Location) (*diskCache, error) {
	if directory == "" {
		return &diskCache{}, nil
	}
	sum := sha256.Sum256([]byte(l.String()))
	folder := filepath.Join(directory, hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, &recovery.Problem{What: "make the cache folder " + folder, Next: "give another --cache-dir, or none", Err: err}
	}
	return &diskCache{folder: folder, used: newUsedFiles()}, nil
}

func (c *diskCache) enabled() bool { return c != nil && c.folder != "" }

// name tells parts of a blob apart. Blob IDs are hexadecimal with a few separators: safe as names.
func (c *diskCache) name(id blob.ID, offset, length int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", id, offset, length))
	return hex.EncodeToString(sum[:16])
}

func (c *diskCache) read(id blob.ID, offset, length int64) ([]byte, bool) {
	if !c.enabled() {
		return nil, false
	}
	name := c.name(id, offset, length)
	content, err := os.ReadFile(filepath.Join(c.folder, name))
	if err != nil {
		return nil, false
	}
	c.used.add(name)
	return content, true
}

// write keeps a blob. That it could not be kept (a full disk) does not matter: it is read again.
func (c *diskCache) write(id blob.ID, offset, length int64, content []byte) {
	if !c.enabled() {
		return
	}
	name := c.name(id, offset, length)
	temporary, err := os.CreateTemp(c.folder, "new-*")
	if err != nil {
		return
	}
	_, err = temporary.Write(content)
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(c.folder, name))
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return
	}
	c.used.add(name)
}

// remove drops a blob's copy that turned out not to be whole.
func (c *diskCache) remove(id blob.ID, offset, length int64) {
	if c.enabled() {
		_ = os.Remove(filepath.Join(c.folder, c.name(id, offset, length))) // not there is just as well
	}
}

// sweep drops what the listing that just ended did not use.
func (c *diskCache) sweep() {
	if !c.enabled() {
		return
	}
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !c.used.has(entry.Name()) {
			_ = os.Remove(filepath.Join(c.folder, entry.Name())) // another drctl may have been first
		}
	}
}

// usedFiles are the names that were read or written since the repository was opened.
type usedFiles struct {
	mu    sync.Mutex
	names map[string]bool
}

func newUsedFiles() *usedFiles { return &usedFiles{names: map[string]bool{}} }

func (u *usedFiles) add(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.names[name] = true
}

func (u *usedFiles) has(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.names[name]
}
