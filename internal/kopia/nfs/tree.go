package nfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/recovery"
)

// maxKnownHandles bounds what is remembered of a large repository: about 10 MB.
const maxKnownHandles = 1 << 16

// readSize is the most that is asked for in one READ; a server may allow less.
const readSize = 1 << 20

// tree finds files below a root by path, and remembers handles, so that a blob that was listed is
// read with a single call. Paths are absolute within it: "/x/n0_/….f".
type tree struct {
	*client
	root      []byte
	readBytes uint32

	mu    sync.RWMutex
	known map[string][]byte
}

func newTree(c *client, root []byte, l limits) *tree {
	t := &tree{client: c, root: root, readBytes: readSize, known: map[string][]byte{}}
	if l.maxReadBytes > 0 {
		t.readBytes = min(t.readBytes, l.maxReadBytes)
	}
	return t
}

// onHandle runs use with the handle of p. Remembered handles may have gone stale: then the whole way
// is looked up again, once.
func (t *tree) onHandle(ctx context.Context, p string, use func(handle []byte) error) error {
	err := t.tryHandle(ctx, p, use)
	if !isStale(err) {
		return err
	}
	for _, stale := range prefixes(p) {
		t.forget(stale)
	}
	return t.tryHandle(ctx, p, use)
}

func (t *tree) tryHandle(ctx context.Context, p string, use func(handle []byte) error) error {
	handle, err := t.find(ctx, p)
	if err != nil {
		return err
	}
	return use(handle)
}

// find gives the handle of p, looking up whatever part of the way is not known.
func (t *tree) find(ctx context.Context, p string) ([]byte, error) {
	if p == "/" {
		return t.root, nil
	}
	t.mu.RLock()
	handle, ok := t.known[p]
	t.mu.RUnlock()
	if ok {
		return handle, nil
	}
	handle, _, err := t.findName(ctx, p)
	return handle, err
}

// findName looks p up in its folder, whether or not it is known.
func (t *tree) findName(ctx context.Context, p string) ([]byte, *attributes, error) {
	parent, err := t.find(ctx, path.Dir(p))
	if err != nil {
		return nil, nil, err
	}
	handle, found, err := t.lookup(ctx, parent, path.Base(p))
	if err != nil {
		return nil, nil, err
	}
	switch found.Type {
	case nfs.NF3Lnk:
		return nil, nil, t.symlinkProblem(ctx, p, handle)
	case nfs.NF3Dir:
		t.remember(p, handle)
	}
	return handle, found, nil
}

// folder gives the handle of p, which must be a folder.
func (t *tree) folder(ctx context.Context, p string) ([]byte, error) {
	if p == "/" {
		return t.root, nil
	}
	handle, found, err := t.findName(ctx, p)
	if err == nil && found.Type != nfs.NF3Dir {
		err = &statusError{code: nfs.NFS3ErrNotDir}
	}
	return handle, err
}

// symlinkProblem: links are for the client to follow, and where they lead is not always exported.
func (t *tree) symlinkProblem(ctx context.Context, p string, handle []byte) error {
	target, err := t.readlink(ctx, handle)
	if err != nil {
		return fmt.Errorf("read symbolic link %s: %w", p, err)
	}
	return &recovery.Problem{
		What: "find " + p + " on " + t.host, Why: "it is a symbolic link to " + target,
		Next: "give the folder itself in --repo", Err: recovery.ErrUnsupported,
	}
}

// list reads a folder, in as few calls as the server allows.
func (t *tree) list(ctx context.Context, p string) ([]entry, error) {
	var entries []entry
	err := t.onHandle(ctx, p, func(handle []byte) error {
		var err error
		if entries, err = t.readdir(ctx, handle); err != nil {
			return err
		}
		entries, err = t.completeEntries(ctx, handle, entries)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		// A name in the root may get other content (kopia.repository, kopia.blobcfg); below it content
		// gives the name, so that a handle stays right for as long as the server knows it.
		if e.attributes.Type == nfs.NF3Dir || (e.attributes.Type == nfs.NF3Reg && p != "/") {
			t.remember(path.Join(p, e.name), e.handle)
		}
	}
	return entries, nil
}

// completeEntries asks for what the server left out, which it may do for any entry. An entry that is
// gone by then is left out.
func (t *tree) completeEntries(ctx context.Context, folder []byte, entries []entry) ([]entry, error) {
	complete := entries[:0]
	for _, e := range entries {
		if e.handle == nil || e.attributes == nil {
			var err error
			e.handle, e.attributes, err = t.lookup(ctx, folder, e.name)
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look up %s: %w", e.name, err)
			}
		}
		complete = append(complete, e)
	}
	return complete, nil
}

// withOwner adds whom a file belongs to, where the server refused it without saying so: anybody may
// ask for attributes.
func (t *tree) withOwner(ctx context.Context, handle []byte, err error) error {
	var status *statusError
	if !errors.As(err, &status) || status.attributes != nil || !isStatus(err, nfs.NFS3ErrAcces, nfs.NFS3ErrPerm) {
		return err
	}
	found, failed := t.getattr(ctx, handle)
	if failed != nil {
		return err // the refusal matters more
	}
	return &statusError{status.code, found}
}

func (t *tree) remember(p string, handle []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) < maxKnownHandles {
		t.known[p] = append([]byte(nil), handle...) // the reply must not stay in memory with it
	}
}

func (t *tree) forget(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, p)
}

// forgetAll forgets every handle but the root's.
func (t *tree) forgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
}
