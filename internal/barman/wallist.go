package barman

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
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
// what the first page does not hold is read in spans of about a page, all at once: M segments cost
// little more than M/1000 requests, and two or three round trips.
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
	if foldersErr == nil && len(first.Objects) > 0 {
		// Not before the folders are known to the end: the newest .history files come last.
		histories(listing.files.historyObjects())
		perLog := d.segmentsPerLog(ctx, prefix, first.Objects)
		d.listSpans(ctx, prefix, planSpans(prefix, first.Objects, folders.Folders, perLog), listing)
	}
	deaf := errors.Is(errors.Join(listing.errs...), errPageOrder)
	if deaf || foldersErr != nil || len(first.Objects) == 0 {
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
	q := recovery.ObjectQuery{Prefix: prefix, StartAfter: s.after}
	for {
		page, err := d.list(ctx, q)
		if err != nil {
			return err
		}
		if len(page.Objects) > 0 && page.Objects[0].Key <= s.after {
			return errPageOrder
		}
		inside := page.Objects
		for s.until != "" && len(inside) > 0 && inside[len(inside)-1].Key > s.until {
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
