package barman

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// keysPerPage is a full page of S3, and keysPerSpan how many of them we plan with: the rest is room
// for .backup files and for folders that are fuller than those seen first.
const (
	keysPerPage = 1000
	keysPerSpan = 960
)

// walListing collects what the listing of one server's wals/ gives. Pages arrive in any order.
type walListing struct {
	lock  sync.Mutex
	files walFiles
	errs  []error
}

func (l *walListing) add(prefix string, objects []recovery.Object) {
	l.lock.Lock()
	defer l.lock.Unlock()
	for _, object := range objects {
		l.files.add(strings.TrimPrefix(object.Key, prefix), object)
	}
}

func (l *walListing) fail(err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.errs = append(l.errs, err)
}

// listWAL lists a server's archive. The first page and the list of folders are asked for together;
// what the first page does not hold is read in spans of several folders, all at once: M segments cost
// little more than M/1000 requests, and about three round trips.
//
// It calls histories as soon as the .history files are known, and gives what could be read besides the
// error.
func (d *destination) listWAL(ctx context.Context, prefix string, histories func([]recovery.Object)) (*walFiles, error) {
	var first, folders recovery.ObjectPage
	var firstErr, foldersErr error
	var both sync.WaitGroup
	both.Go(func() { first, firstErr = d.list(ctx, recovery.ObjectQuery{Prefix: prefix}) })
	both.Go(func() { folders, foldersErr = d.listAll(ctx, recovery.ObjectQuery{Prefix: prefix, Delimiter: "/"}) })
	both.Wait()
	listing := &walListing{files: newWALFiles()}
	listing.add(prefix, first.Objects)
	listing.add(prefix, folders.Objects)
	if firstErr != nil {
		return &listing.files, firstErr
	}
	if first.NextToken == "" {
		histories(listing.files.historyObjects())
		return &listing.files, nil
	}
	if foldersErr == nil {
		// Not before the folders are known to the end: the newest .history files come last.
		histories(listing.files.historyObjects())
		d.listSpans(ctx, prefix, planSpans(first.Objects, folders.Folders), listing)
	}
	if err := errors.Join(listing.errs...); foldersErr != nil || errors.Is(err, errPageOrder) {
		listing.errs = nil
		d.listOn(ctx, prefix, first.NextToken, listing)
		histories(listing.files.historyObjects())
	}
	return &listing.files, firstOf(listing.errs)
}

// listOn reads the rest serially, page by page: for a store that cannot begin in the middle.
func (d *destination) listOn(ctx context.Context, prefix, token string, listing *walListing) {
	for token != "" {
		page, err := d.list(ctx, recovery.ObjectQuery{Prefix: prefix, Token: token})
		listing.add(prefix, page.Objects)
		if err != nil {
			listing.fail(err)
			return
		}
		token = page.NextToken
	}
}

// span is a range of keys: behind after, and below until; an empty until means to the end.
type span struct{ after, until string }

// planSpans cuts what follows the first page into spans of about one page, at the borders of folders.
// The folders that the first page shows in full tell how many keys a folder has: 256 segments of
// 16 MiB, 4 of 1 GiB.
func planSpans(first []recovery.Object, folders []string) []span {
	last := first[len(first)-1].Key
	perFolder := 1
	count, folder := 0, ""
	for _, object := range first {
		at := object.Key[:strings.LastIndexByte(object.Key, '/')+1]
		if at != folder {
			count, folder = 0, at
		}
		count++
		perFolder = max(perFolder, count)
	}
	step := max(1, keysPerSpan/perFolder)
	var spans []span
	after, taken := last, 0
	for _, folder := range folders {
		if folder <= last && !strings.HasPrefix(last, folder) {
			continue
		}
		if taken == step {
			spans = append(spans, span{after, folder})
			after, taken = folder, 0
		}
		taken++
	}
	return append(spans, span{after: after})
}

func (d *destination) listSpans(ctx context.Context, prefix string, spans []span, listing *walListing) {
	var all sync.WaitGroup
	for _, s := range spans {
		all.Go(func() {
			if err := d.listSpan(ctx, prefix, s, listing); err != nil {
				listing.fail(err)
			}
		})
	}
	all.Wait()
}

// listSpan reads one span, in most cases with one request.
func (d *destination) listSpan(ctx context.Context, prefix string, s span, listing *walListing) error {
	q := recovery.ObjectQuery{Prefix: prefix, StartAfter: s.after, MaxKeys: keysPerPage}
	for {
		page, err := d.list(ctx, q)
		if err != nil {
			return err
		}
		if len(page.Objects) > 0 && page.Objects[0].Key <= s.after {
			return errPageOrder
		}
		inside := page.Objects
		for s.until != "" && len(inside) > 0 && inside[len(inside)-1].Key >= s.until {
			inside = inside[:len(inside)-1]
		}
		listing.add(prefix, inside)
		if page.NextToken == "" || len(inside) < len(page.Objects) {
			return nil
		}
		q.Token = page.NextToken
	}
}

func firstOf(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}
