package nfs

import (
	"context"
	"fmt"

	"github.com/willscott/go-nfs-client/nfs"
)

// listSize is how many bytes of names and attributes are asked for at once: about 5,000 files. A
// server may give less.
const listSize = 1 << 20

// maxListRestarts is how often a folder is read from the start again because it changed so much that
// the server forgot the place (NFS3ERR_BAD_COOKIE).
const maxListRestarts = 3

// entry is one name in a folder. Handle and attributes are nil where the server did not send them.
type entry struct {
	name       string
	handle     []byte
	attributes *attributes
}

// page is one answer to READDIRPLUS.
type page struct {
	verifier uint64
	// cookie is the place of the last entry.
	cookie  uint64
	entries []entry
	eof     bool
}

// readdir lists a folder, without "." and "..".
func (c *client) readdir(ctx context.Context, folder []byte) ([]entry, error) {
	for restart := 0; ; restart++ {
		entries, err := c.readPages(ctx, folder)
		if !isStatus(err, nfs.NFS3ErrBadCookie) || restart == maxListRestarts {
			return entries, err
		}
	}
}

func (c *client) readPages(ctx context.Context, folder []byte) ([]entry, error) {
	var entries []entry
	var at page
	for {
		next, err := c.readdirplus(ctx, folder, at.cookie, at.verifier)
		if err != nil {
			return nil, err
		}
		entries = append(entries, next.entries...)
		if next.eof {
			return entries, nil
		}
		if next.cookie == at.cookie {
			return nil, fmt.Errorf("the listing does not advance: %w", errMalformed)
		}
		at = next
	}
}

func (c *client) readdirplus(ctx context.Context, folder []byte, cookie, verifier uint64) (page, error) {
	reply, err := c.nfs(ctx, nfs.NFSProc3ReadDirPlus, struct {
		FH                 []byte
		Cookie, Verifier   uint64
		DirCount, MaxCount uint32
	}{folder, cookie, verifier, listSize, listSize})
	if err != nil {
		return page{}, err
	}
	next := reply.page()
	return next, reply.err
}

// page reads the results of READDIRPLUS. Source: RFC 1813, 3.3.17.
func (d *decoder) page() page {
	d.optionalAttributes()
	p := page{verifier: d.uint64()}
	for d.bool() {
		d.uint64() // fileid
		e := entry{name: string(d.opaque())}
		p.cookie = d.uint64()
		e.attributes = d.optionalAttributes()
		if d.bool() {
			e.handle = d.opaque()
		}
		if d.err != nil {
			return page{}
		}
		if e.name != "." && e.name != ".." {
			p.entries = append(p.entries, e)
		}
	}
	p.eof = d.bool()
	return p
}
