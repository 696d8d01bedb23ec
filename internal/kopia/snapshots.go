package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/content/index"
	"github.com/kopia/kopia/repo/manifest"
	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/recovery"
)

// Snapshots gives every snapshot of the repository, complete and incomplete, sorted by source and
// then by start time. Each call lists the repository anew, and reads only what is new since the last.
//
// What can't be read while the rest can is in the gaps: the list may then lack snapshots, or hold
// some that were deleted since. The error is for when nothing can be said.
func (r *Repository) Snapshots(ctx context.Context) ([]recovery.Snapshot, recovery.Gaps, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx = quiet(ctx)
	if !r.listed {
		if err := r.relist(ctx); err != nil {
			return nil, nil, readProblem(r.location, err)
		}
	}
	r.listed = false
	if err := r.loadIndex(ctx); err != nil {
		return nil, nil, readProblem(r.location, err)
	}
	broken, err := r.loadManifests(ctx)
	if needsFreshIndex(broken) {
		// Maintenance moved contents between the two reads. What is still missing after a second look
		// is missing.
		if err := r.relist(ctx); err != nil {
			return nil, nil, readProblem(r.location, err)
		}
		if err := r.loadIndex(ctx); err != nil {
			return nil, nil, readProblem(r.location, err)
		}
		broken, err = r.loadManifests(ctx)
	}
	if err != nil {
		return nil, nil, readProblem(r.location, err)
	}
	return r.answer(broken)
}

// answer puts together what was read, and what was not.
func (r *Repository) answer(broken map[content.ID]error) ([]recovery.Snapshot, recovery.Gaps, error) {
	failures := r.reader.failures()
	r.reader.settle()
	r.cache.sweep()
	gaps := indexGaps(r.location, failures)
	gaps = append(gaps, contentGaps(r.location, broken)...)
	if len(gaps) > 0 && len(r.manifests) == 0 {
		return nil, nil, gaps[0] // nothing was read, so nothing is known
	}
	snapshots, unreadable := merge(r.manifests)
	gaps = append(gaps, snapshotGaps(r.location, unreadable)...)
	return snapshots, gaps, nil
}

// loadManifests brings r.manifests up to the index. It gives the contents that can't be read.
func (r *Repository) loadManifests(ctx context.Context) (broken map[content.ID]error, err error) {
	infos, err := r.manifestContents(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for manifests in the index: %w", err)
	}
	var wanted []content.Info
	present := make(map[content.ID]bool, len(infos))
	for _, info := range infos {
		present[info.ContentID] = true
		if _, have := r.manifests[info.ContentID]; !have {
			wanted = append(wanted, info)
		}
	}
	maps.DeleteFunc(r.manifests, func(id content.ID, _ []manifestEntry) bool { return !present[id] })
	if err := r.reader.prefetchExtents(ctx, wanted); err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	broken, err = r.decodeContents(ctx, wanted)
	if err != nil || len(broken) == 0 || !r.cache.enabled() {
		r.reader.dropExtents()
		return broken, err
	}
	return r.rereadContents(ctx, wanted, broken)
}

// rereadContents tries again without the copies in the cache folder: those may be what is broken.
func (r *Repository) rereadContents(ctx context.Context, wanted []content.Info, broken map[content.ID]error) (map[content.ID]error, error) {
	for pack, parts := range extentsOf(wanted) {
		for _, part := range parts {
			r.cache.remove(pack, part.offset, part.length)
		}
	}
	r.reader.dropExtents()
	again := slices.DeleteFunc(slices.Clone(wanted), func(c content.Info) bool { return broken[c.ContentID] == nil })
	if err := r.reader.prefetchExtents(ctx, again); err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer r.reader.dropExtents()
	return r.decodeContents(ctx, again)
}

func (r *Repository) manifestContents(ctx context.Context) ([]content.Info, error) {
	var infos []content.Info
	err := r.contents.IterateContents(ctx, content.IterateOptions{Range: index.PrefixRange(manifest.ContentPrefix)},
		func(info content.Info) error {
			infos = append(infos, info)
			return nil
		})
	return infos, err
}

// decodeContents decodes manifest contents on all processors.
func (r *Repository) decodeContents(ctx context.Context, infos []content.Info) (broken map[content.ID]error, err error) {
	decoded := make([][]manifestEntry, len(infos))
	failed := make([]error, len(infos))
	group := new(errgroup.Group)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, info := range infos {
		group.Go(func() error {
			decoded[i], failed[i] = r.decodeContent(ctx, info.ContentID)
			return nil
		})
	}
	_ = group.Wait() // failures are kept one by one
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	broken = map[content.ID]error{}
	for i, info := range infos {
		if failed[i] != nil {
			broken[info.ContentID] = failed[i]
			continue
		}
		r.manifests[info.ContentID] = decoded[i]
	}
	return broken, nil
}

func (r *Repository) decodeContent(ctx context.Context, id content.ID) ([]manifestEntry, error) {
	packed, err := r.contents.GetContent(ctx, id)
	if err != nil {
		return nil, err
	}
	return decodeManifests(packed)
}

// needsFreshIndex reports whether contents were not where the index said.
func needsFreshIndex(broken map[content.ID]error) bool {
	for _, err := range broken {
		if isGone(err) || errors.Is(err, content.ErrContentNotFound) {
			return true
		}
	}
	return false
}

// merge gives the newest state of each manifest that is a snapshot, and those that can't be read.
// Source: kopia repo/manifest/committed_manifest_manager.go.
func merge(manifests map[content.ID][]manifestEntry) (snapshots []recovery.Snapshot, unreadable []manifestEntry) {
	total := 0
	for _, entries := range manifests {
		total += len(entries)
	}
	newest := make(map[string]*manifestEntry, total)
	for _, entries := range manifests {
		for i := range entries {
			e := &entries[i]
			if have, ok := newest[e.id]; !ok || e.modified.After(have.modified) {
				newest[e.id] = e
			}
		}
	}
	sorted := make([]*recovery.Snapshot, 0, len(newest))
	for _, e := range newest {
		switch {
		case e.err != nil:
			unreadable = append(unreadable, *e)
		case e.snapshot != nil:
			sorted = append(sorted, e.snapshot)
		}
	}
	slices.SortFunc(sorted, compareSnapshots)
	snapshots = make([]recovery.Snapshot, 0, len(sorted))
	for _, s := range sorted {
		snapshots = append(snapshots, *s)
	}
	slices.SortFunc(unreadable, func(a, b manifestEntry) int { return cmp.Compare(a.id, b.id) })
	return snapshots, unreadable
}

func compareSnapshots(a, b *recovery.Snapshot) int {
	if a.Source != b.Source {
		return cmp.Or(
			cmp.Compare(a.Source.Hostname, b.Source.Hostname),
			cmp.Compare(a.Source.Username, b.Source.Username),
			cmp.Compare(a.Source.Path, b.Source.Path),
		)
	}
	return cmp.Or(
		a.StartTime.Compare(b.StartTime),
		a.EndTime.Compare(b.EndTime),
		cmp.Compare(a.ID, b.ID),
	)
}
