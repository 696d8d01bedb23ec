package kopia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
)

// loadAttempts bounds how often the index is loaded anew. Each attempt leaves out what the one before
// found unreadable, or starts from a fresh listing.
const loadAttempts = 5

// loadIndex has Kopia decode the index. Index blobs that can't be read or decoded are left out and
// stay in reader.failures.
func (r *Repository) loadIndex(ctx context.Context) error {
	relisted := false
	var err error
	for range loadAttempts {
		if gone := r.anyGone(); gone && !relisted {
			relisted = true
			if err := r.relist(ctx); err != nil {
				return err
			}
		}
		known := len(r.reader.failures())
		if err = r.decodeIndex(ctx); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("load the index: %w", ctx.Err())
		}
		repaired, damageErr := r.findDamage(ctx)
		if damageErr != nil {
			return damageErr
		}
		if !repaired && len(r.reader.failures()) == known {
			break
		}
	}
	return fmt.Errorf("load the index: %w", err)
}

// relist lists and fetches the index anew.
func (r *Repository) relist(ctx context.Context) error {
	r.reader.forget()
	old, err := r.oldIndex(ctx)
	if err != nil {
		return err
	}
	return r.fetchIndex(ctx, old)
}

// anyGone reports whether an index blob vanished between listing and reading: maintenance is running.
func (r *Repository) anyGone() bool {
	for _, err := range r.reader.failures() {
		if errors.Is(err, errGone) {
			return true
		}
	}
	return false
}

// decodeIndex lets Kopia choose and decode the index blobs. Neither a log nor metrics are kept.
func (r *Repository) decodeIndex(ctx context.Context) error {
	if r.shared != nil {
		return r.shared.Refresh(ctx)
	}
	shared, err := content.NewSharedManager(ctx, r.reader, r.format, &content.CachingOptions{}, &content.ManagerOptions{}, nil, nil)
	if err != nil {
		return err
	}
	r.shared = shared
	r.contents = content.NewWriteManager(ctx, shared, content.SessionOptions{}, "drctl")
	r.contents.DisableIndexRefresh() // Snapshots refreshes, with a prefetch
	return nil
}

// findDamage decodes the fetched index blobs one by one and marks those that are not whole. A copy in
// the cache folder that is not whole is first replaced from the repository; repaired says that this
// helped.
func (r *Repository) findDamage(ctx context.Context) (repaired bool, err error) {
	damaged := r.undecodable()
	if len(damaged) > 0 && r.cache.enabled() {
		r.reader.reread(damaged)
		if err := r.reader.prefetch(ctx, damaged); err != nil {
			return false, err
		}
		again := r.undecodable()
		repaired = len(again) < len(damaged)
		damaged = again
	}
	for _, id := range damaged {
		_ = r.reader.fail(id, errUndecodable)
	}
	return repaired, nil
}

// errUndecodable says that a blob was read and is not what was once written.
var errUndecodable = errors.New("its checksum is wrong: it is damaged or cut short")

// undecodable gives the fetched index blobs that Kopia can't decode.
func (r *Repository) undecodable() []blob.ID {
	var damaged []blob.ID
	for id, bytes := range r.reader.wholeIndex() {
		input := argumentOf((*content.SharedManager).LoadIndexBlob)
		_, _ = input.Write(bytes) // it only grows memory
		_, err := content.ParseIndexBlob(id, input.Bytes(), r.format)
		input.Close()
		if err == nil || isCompactionLog(id, err) {
			continue
		}
		damaged = append(damaged, id)
	}
	slices.Sort(damaged)
	return damaged
}

// isCompactionLog reports whether a blob could be decrypted and only is no index: in old repositories
// the compaction logs are beside the index blobs.
func isCompactionLog(id blob.ID, err error) bool {
	prefix, _ := indexPrefix(id)
	return prefix == prefixOldCompactions && !strings.Contains(err.Error(), "unable to decrypt")
}

// argumentOf makes a buffer of the type that Kopia's functions take: it is in an internal package, so
// it can't be named here, but the compiler infers it.
func argumentOf[Buffer any](func(*content.SharedManager, context.Context, blob.ID, *Buffer) ([]content.Info, error)) *Buffer {
	return new(Buffer)
}
