package barman

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Reach says how far recovery from a backup gets without a gap: along the way that PostgreSQL follows
// with recovery_target_timeline=latest. It is a lower bound: where the next segment is there as .partial
// only, barman-cloud-wal-restore hands that out too, and recovery goes on in it.
type Reach struct {
	// Timeline and Segment are the last contiguous segment and its timeline.
	Timeline    uint32
	Segment     string
	SegmentSize SegmentSize
	// EndLSN is the end of that segment, exclusive: the first position that is not in the archive.
	EndLSN LSN
	// ArrivedAt is when the store received that segment, an upper bound of the commits in it.
	// BeforeArrivedAt is when it received the one before: zero when the backup needs only one.
	ArrivedAt, BeforeArrivedAt time.Time
	// Gap is the hole that ends it; nil at the archive's end.
	Gap *recovery.WALGap
	// MissingHistory is the .history file without which recovery cannot follow to a newer timeline that
	// the archive has; empty when none is missing.
	MissingHistory string
	// StraysFrom is the newest timeline, when the backup lies behind the point where its own timeline
	// was left for that one: PostgreSQL refuses to recover it to the latest timeline. Zero otherwise.
	// Source: PostgreSQL xlog.c, "requested timeline %u is not a child of this server's history".
	StraysFrom uint32
	// Tail is what the last segments themselves show; nil when they were not read.
	Tail *Tail

	// last are the last segments on the way, newest first, back to the backup's own first one, at most
	// tailSegments.
	last []string
	// histories are the .history files that recovery asks for on the way, by timeline.
	histories []uint32
}

// Lineage is a catalog with what a recovery has to know beyond it.
type Lineage struct {
	recovery.Catalog
	// Reaches has every backup of the catalog that is restorable.
	Reaches map[BackupRef]Reach
	// Unknown says, by server, why nothing may be concluded of its archive: a part of it that decides
	// could not be read. A single unreadable backup.info is none of that.
	Unknown map[string]error
}

// ReadLineage is ReadCatalog with the reach of every backup, for the same requests.
func ReadLineage(ctx context.Context, store Store, o Options) (Lineage, recovery.Gaps, error) {
	d := newDestination(store, o)
	lineage := Lineage{
		Catalog: recovery.Catalog{DestinationPath: d.url(), Servers: []recovery.Server{}, Warnings: []string{}},
		Reaches: map[BackupRef]Reach{}, Unknown: map[string]error{},
	}
	readings, err := d.readAll(ctx, o.Servers)
	if err != nil {
		return lineage, nil, err
	}
	var gaps recovery.Gaps
	for _, r := range readings {
		gaps = append(gaps, r.gaps()...)
		server, reaches := r.server()
		lineage.Servers = append(lineage.Servers, server)
		for id, reach := range reaches {
			lineage.Reaches[BackupRef{r.name, id}] = reach
		}
		if err := r.undecided(); err != nil {
			lineage.Unknown[r.name] = err
		}
	}
	compareLineage(&lineage.Catalog)
	return lineage, gaps, nil
}

// undecided is the first failure that leaves open which backups there are, or how far they reach.
func (r *reading) undecided() error {
	if err := errors.Join(r.baseErr, r.walErr); err != nil {
		return firstProblem(err)
	}
	for _, err := range r.historyErrs {
		return err
	}
	return nil
}

func firstProblem(err error) error {
	var p *recovery.Problem
	if errors.As(err, &p) {
		return p
	}
	return err
}

// ReadReach reads one server (the one of o.Servers) and says how far one of its backups reaches, with
// what its last segments show. Any part that could not be read is an error, and so is a backup that is
// not restorable. Segments that are whole but in a form that drctl does not read leave Tail nil.
func ReadReach(ctx context.Context, store Store, o Options, backupID string) (Reach, recovery.Backup, recovery.Server, error) {
	server, err := o.oneServer()
	if err != nil {
		return Reach{}, recovery.Backup{}, recovery.Server{}, err
	}
	lineage, gaps, err := ReadLineage(ctx, store, o)
	if err == nil && len(gaps) > 0 {
		err = gaps[0]
	}
	if err != nil {
		return Reach{}, recovery.Backup{}, recovery.Server{}, err
	}
	choice, reach, err := lineage.Choose(ChooseOptions{Server: server, BackupID: backupID})
	if err != nil {
		return Reach{}, choice.Backup, choice.Server, err
	}
	tail, err := ReadTail(ctx, store, o, choice.Backup, reach)
	if err != nil && !errors.Is(err, recovery.ErrUnsupported) {
		return reach, choice.Backup, choice.Server, err
	}
	reach.Tail = tail
	return reach, choice.Backup, choice.Server, nil
}

// oneServer is the single server that the options name.
func (o Options) oneServer() (string, error) {
	if len(o.Servers) != 1 || o.Servers[0] == "" {
		return "", fmt.Errorf("one Barman server is needed, not %q: %w", o.Servers, recovery.ErrUsage)
	}
	return o.Servers[0], nil
}

// describeReaches puts the ends of the unbroken WAL into words, by backup ID.
func (r *reading) describeReaches(a *archive, ends map[string]end) map[string]Reach {
	described := map[string]Reach{}
	gaps := a.gaps()
	for id, e := range ends {
		info := r.infos[id]
		timeline, first, _, err := info.segments()
		if err != nil {
			continue
		}
		reach := a.describeReach(e, gaps)
		if a.strays(timeline, first) {
			reach.StraysFrom = a.newest(timeline)
		}
		for i, at := range a.back(e, end{timeline, first}, tailSegments) {
			reach.last = append(reach.last, a.size.Name(at.timeline, at.number))
			if i == 1 {
				reach.BeforeArrivedAt = a.arrivedAt(at.timeline, at.number)
			}
		}
		for _, history := range slices.Sorted(maps.Keys(a.histories)) {
			if history > timeline && history <= a.newest(timeline) {
				reach.histories = append(reach.histories, history)
			}
		}
		described[id] = reach
	}
	return described
}

func (a *archive) describeReach(e end, gaps []gap) Reach {
	reach := Reach{
		Timeline: e.timeline, Segment: a.size.Name(e.timeline, e.number), SegmentSize: a.size,
		EndLSN: LSN((e.number + 1) * uint64(a.size)), ArrivedAt: a.arrivedAt(e.timeline, e.number),
	}
	for _, g := range gaps {
		if g.afterTimeline == e.timeline && g.after == e.number && (g.beforeTimeline != e.timeline || !a.leftAt(e)) {
			hole := a.words(g)
			reach.Gap = &hole
			break
		}
	}
	for _, missing := range a.missingHistories() {
		if missing > e.timeline {
			reach.MissingHistory = historyName(missing)
			break
		}
	}
	return reach
}

// words is a gap as all of drctl knows it.
func (a *archive) words(g gap) recovery.WALGap {
	return recovery.WALGap{
		Timeline: int64(g.timeline), After: a.size.Name(g.afterTimeline, g.after),
		Before: a.size.Name(g.beforeTimeline, g.before), Missing: int64(g.missing()),
	}
}

// strays reports whether the way to the newest timeline does not lead over that segment.
func (a *archive) strays(timeline uint32, number uint64) bool {
	newest := a.newest(timeline)
	if newest == timeline {
		return false
	}
	for _, s := range a.way(newest) {
		if s.timeline == timeline && number < s.until {
			return false
		}
	}
	return true
}

// back goes from one segment back to another, along the way, over at most so many. Both are included.
func (a *archive) back(from, to end, most int) []end {
	stretches := a.way(from.timeline)
	at := len(stretches) - 1
	var visited []end
	for number := from.number; len(visited) < most; number-- {
		for at > 0 && number < stretches[at].from {
			at--
		}
		timeline := stretches[at].timeline
		if _, found := a.lines[timeline].runEnd(number); !found {
			return visited
		}
		visited = append(visited, end{timeline, number})
		if number == 0 || number == to.number {
			return visited
		}
	}
	return visited
}
