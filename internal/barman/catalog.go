package barman

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// ReadCatalog reads every server below a destination, or those that are named, all at the same time.
// Servers are in natural order (v2 before v10), backups in order of time.
//
// What could not be read is in the gaps, and what is concluded from it is unknown. An error is for a
// catalog of which nothing could be read.
func ReadCatalog(ctx context.Context, store Store, o Options) (recovery.Catalog, recovery.Gaps, error) {
	lineage, gaps, err := ReadLineage(ctx, store, o)
	return lineage.Catalog, gaps, err
}

// readAll reads the servers that are asked for, all at the same time.
func (d *destination) readAll(ctx context.Context, named []string) ([]*reading, error) {
	found, err := d.servers(ctx, named)
	if err != nil {
		return nil, err
	}
	readings := make([]*reading, len(found))
	var all sync.WaitGroup
	for i, name := range found {
		all.Go(func() { readings[i] = d.readServer(ctx, name) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.url(), err)
	}
	if len(named) == 0 {
		if readings = d.barmanOnly(readings); len(readings) == 0 {
			return nil, d.noServer(found)
		}
	}
	return readings, allFailed(readings)
}

// server concludes what one reading shows, and how far each restorable backup reaches, by its ID.
func (r *reading) server() (recovery.Server, map[string]Reach) {
	archives := r.archives()
	a := archives.of(r.segmentSize())
	complete := r.walErr == nil
	s := recovery.Server{Name: r.name, Backups: []recovery.Backup{}, WAL: a.describe(r.wal, complete)}
	for _, folder := range r.folders {
		s.Backups = append(s.Backups, r.judge(folder, archives))
	}
	ends := map[string]end{}
	if complete {
		ends = r.reaches(a, s.Backups)
		s.RecoveryWindow = window(a, s.Backups, ends)
	}
	s.Warnings = r.serverWarnings(a, s, ends)
	return s, r.describeReaches(a, ends)
}

// servers are the names to read, in natural order: the given ones, else every folder below the
// destination.
func (d *destination) servers(ctx context.Context, named []string) ([]string, error) {
	if len(named) > 0 {
		names := slices.Clone(named)
		slices.SortFunc(names, compareNatural)
		return slices.Compact(names), nil
	}
	page, err := d.listAll(ctx, recovery.ObjectQuery{Prefix: d.root, Delimiter: "/"})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, folder := range page.Folders {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(folder, d.root), "/"))
	}
	if len(names) == 0 || slices.Contains(names, "base") || slices.Contains(names, "wals") {
		return nil, d.noServer(names)
	}
	slices.SortFunc(names, compareNatural)
	return names, nil
}

// barmanOnly drops folders that hold neither backups nor WAL: somebody else's. A folder that could not
// be read stays.
func (d *destination) barmanOnly(readings []*reading) []*reading {
	return slices.DeleteFunc(readings, func(r *reading) bool { return r.nothing() && r.baseErr == nil && r.walErr == nil })
}

// noServer says what stands there instead of Barman servers, and guesses what was meant.
func (d *destination) noServer(folders []string) error {
	p := &recovery.Problem{
		What: "there is no Barman server under " + d.url(), Why: "the path is empty or does not exist",
		Next: "check --destination-path: it is the path without the server's name, as in the Cluster's destinationPath", Err: recovery.ErrNotFound,
	}
	parent := d.url()
	if at := strings.LastIndexByte(parent, '/'); at > len("s3://") {
		parent = parent[:at]
	}
	switch {
	case slices.Contains(folders, "base") || slices.Contains(folders, "wals"):
		p.Why = "the path is itself that of a server"
		p.Next = "give the path above it: --destination-path " + parent
	case len(folders) > 0:
		p.Why = "its folders hold neither backups nor WAL: " + shorten(strings.Join(folders, ", "))
		p.Next = "one of them may be what you want: --destination-path " + d.url() + "/" + folders[0]
	}
	return p
}

// allFailed gives the first failure when no server could be read at all.
func allFailed(readings []*reading) error {
	for _, r := range readings {
		if r.baseErr == nil || r.walErr == nil || !r.nothing() {
			return nil
		}
	}
	if len(readings) == 0 {
		return nil
	}
	return readings[0].baseErr
}

// BackupRef names a backup.
type BackupRef struct{ Server, ID string }

// BackupIDs lists the IDs of all backups, newest first, cheaply: one request for the servers and one a
// server. It looks at names only, for shell completion.
func BackupIDs(ctx context.Context, store Store, o Options) ([]BackupRef, error) {
	d := newDestination(store, o)
	names, err := d.servers(ctx, o.Servers)
	if err != nil {
		return nil, err
	}
	pages, errs := make([]recovery.ObjectPage, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			pages[i], errs[i] = d.listAll(ctx, recovery.ObjectQuery{Prefix: d.root + name + "/base/", Delimiter: "/"})
		})
	}
	all.Wait()
	var refs []BackupRef
	for i, page := range pages {
		for _, folder := range page.Folders {
			parts := strings.Split(strings.TrimSuffix(folder, "/"), "/")
			if id := parts[len(parts)-1]; isBackupID(id) {
				refs = append(refs, BackupRef{names[i], id})
			}
		}
	}
	slices.SortStableFunc(refs, func(a, b BackupRef) int { return strings.Compare(b.ID, a.ID) })
	return refs, errors.Join(errs...)
}
