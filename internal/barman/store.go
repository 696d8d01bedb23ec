package barman

import (
	"context"
	"errors"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// Store is the object store that holds the catalog. Its errors are recovery.Problems.
type Store interface {
	// List reads one page, sorted by key, with one request.
	List(ctx context.Context, q recovery.ObjectQuery) (recovery.ObjectPage, error)
	// Get reads a whole object; one larger than limitBytes is ErrDamaged.
	Get(ctx context.Context, bucket, key string, limitBytes int64) ([]byte, error)
}

// Options say which catalog.
type Options struct {
	// Bucket and Prefix are the destination path s3://BUCKET/PREFIX, without the server's name.
	Bucket, Prefix string
	// Servers are the names to read; none means all that are there.
	Servers []string
	// Parallel is how many requests may be under way at once; 0 means 128.
	Parallel int
}

// defaultParallel makes two waves out of the backup.infos of 200 backups.
const defaultParallel = 128

// errPageOrder is a store that does not honour StartAfter.
var errPageOrder = errors.New("the store ignores start-after")

// destination is the catalog's place in the store, with a bound on the requests under way.
type destination struct {
	store  Store
	bucket string
	// root is empty or ends in a slash.
	root  string
	slots chan struct{}
}

func newDestination(store Store, o Options) *destination {
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = defaultParallel
	}
	d := &destination{store: store, bucket: o.Bucket, slots: make(chan struct{}, parallel)}
	if prefix := strings.Trim(o.Prefix, "/"); prefix != "" {
		d.root = prefix + "/"
	}
	return d
}

// url is the destination path as it is shown.
func (d *destination) url() string {
	return strings.TrimSuffix("s3://"+d.bucket+"/"+d.root, "/")
}

// list reads one page; q.Bucket is filled in.
func (d *destination) list(ctx context.Context, q recovery.ObjectQuery) (recovery.ObjectPage, error) {
	if err := d.enter(ctx); err != nil {
		return recovery.ObjectPage{}, err
	}
	defer d.leave()
	q.Bucket = d.bucket
	return d.store.List(ctx, q)
}

// listAll reads all pages, one after the other; on an error it gives what was read until then too.
func (d *destination) listAll(ctx context.Context, q recovery.ObjectQuery) (recovery.ObjectPage, error) {
	var all recovery.ObjectPage
	for {
		page, err := d.list(ctx, q)
		all.Objects = append(all.Objects, page.Objects...)
		all.Folders = append(all.Folders, page.Folders...)
		if err != nil || page.NextToken == "" {
			return all, err
		}
		q.Token = page.NextToken
	}
}

func (d *destination) get(ctx context.Context, key string, limitBytes int64) ([]byte, error) {
	if err := d.enter(ctx); err != nil {
		return nil, err
	}
	defer d.leave()
	return d.store.Get(ctx, d.bucket, key, limitBytes)
}

func (d *destination) enter(ctx context.Context) error {
	select {
	case d.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *destination) leave() { <-d.slots }
