package pvc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Choice says which point in time of a claim is meant. The zero value is the newest complete snapshot.
type Choice struct {
	// SnapshotID names one snapshot, also by the beginning of its ID; an incomplete one only so.
	SnapshotID string
	// AsOf is the moment that must not be later than the snapshot's start; zero for none.
	AsOf time.Time
	// Previous goes back by so many complete snapshots.
	Previous int
}

// Validate refuses what contradicts itself. It does no I/O.
func (c Choice) Validate() error {
	if c.Previous < 0 {
		return &recovery.Problem{What: fmt.Sprintf("--previous %d goes into the future", c.Previous), Next: "give 1 for the one before the newest", Err: recovery.ErrUsage}
	}
	if c.SnapshotID != "" && (c.Previous > 0 || !c.AsOf.IsZero()) {
		return &recovery.Problem{What: "--snapshot already names the snapshot", Next: "leave --as-of and --previous out", Err: recovery.ErrUsage}
	}
	return nil
}

// ContentSource opens the repository for looking into its snapshots.
type ContentSource interface {
	Contents(ctx context.Context) (Contents, error)
}

// Contents is an opened repository.
type Contents interface {
	Repository
	// Files gives what a snapshot holds at a path, folders ahead of what is in them.
	Files(ctx context.Context, s recovery.Snapshot, at string, recursive bool) ([]recovery.File, recovery.Gaps, error)
	// Read gives the contents of files to the sink, with so many reads at once.
	Read(ctx context.Context, files []recovery.File, parallel int, sink recovery.FileSink) error
	Close(ctx context.Context) error
}

// open opens the repository and finds the one snapshot that is meant.
func (l *Lister) open(ctx context.Context, name, namespace string, choice Choice) (Contents, recovery.Snapshot, recovery.Gaps, error) {
	var none recovery.Snapshot
	if l.Contents == nil {
		return nil, none, nil, noRepository()
	}
	wanted, gaps, err := l.wanted(ctx, Query{Name: name, Namespace: namespace})
	if err != nil {
		return nil, none, gaps, err
	}
	contents, err := l.Contents.Contents(ctx)
	if err != nil {
		return nil, none, gaps, err
	}
	snapshots, unread, err := contents.Snapshots(ctx)
	gaps = append(gaps, unread...)
	var chosen recovery.Snapshot
	if err == nil {
		chosen, err = choose(snapshots, wanted, name, choice)
	}
	if err != nil {
		_ = contents.Close(ctx) // the error that matters is the first one
		return nil, none, gaps, err
	}
	return contents, chosen, gaps, nil
}

// Pick picks the snapshot of one source, called name in messages, out of all that the repository has.
func Pick(all []recovery.Snapshot, source recovery.KopiaSource, name string, c Choice) (recovery.Snapshot, error) {
	return choose(all, func(s recovery.KopiaSource) bool { return s == source }, name, c)
}

// choose picks the snapshot out of all that the repository has.
func choose(all []recovery.Snapshot, wanted func(recovery.KopiaSource) bool, name string, c Choice) (recovery.Snapshot, error) {
	var own []recovery.Snapshot
	known := map[recovery.KopiaSource]bool{}
	for _, s := range all {
		known[s.Source] = true
		if wanted(s.Source) {
			own = append(own, s)
		}
	}
	if c.SnapshotID != "" {
		return chooseID(own, name, c.SnapshotID)
	}
	complete := slices.DeleteFunc(own, func(s recovery.Snapshot) bool { return !s.Complete() })
	if len(complete) == 0 {
		return recovery.Snapshot{}, nothingFound(Query{Name: name}, wanted, known, false)
	}
	if err := oneSource(complete, name); err != nil {
		return recovery.Snapshot{}, err
	}
	slices.SortStableFunc(complete, func(a, b recovery.Snapshot) int { return b.StartTime.Compare(a.StartTime) })
	if !c.AsOf.IsZero() {
		oldest := complete[len(complete)-1]
		complete = slices.DeleteFunc(complete, func(s recovery.Snapshot) bool { return s.StartTime.After(c.AsOf) })
		if len(complete) == 0 {
			return recovery.Snapshot{}, tooFar(name, fmt.Sprintf("the oldest one is of %s", oldest.StartTime.UTC().Format(time.RFC3339)))
		}
	}
	if c.Previous >= len(complete) {
		return recovery.Snapshot{}, tooFar(name, fmt.Sprintf("there are %d complete ones to choose from", len(complete)))
	}
	return complete[c.Previous], nil
}

func tooFar(name, why string) error {
	return &recovery.Problem{
		What: "no snapshot of " + name + " is that old", Why: why, Next: "see them all: drctl pvc snapshots " + name, Err: recovery.ErrNotFound,
	}
}

// chooseID finds the one snapshot whose ID begins so.
func chooseID(own []recovery.Snapshot, name, id string) (recovery.Snapshot, error) {
	var found []recovery.Snapshot
	for _, s := range own {
		if s.ID == id {
			return s, nil
		}
		if strings.HasPrefix(s.ID, id) {
			found = append(found, s)
		}
	}
	next := "see them all: drctl pvc snapshots " + name + " --incomplete"
	switch len(found) {
	case 0:
		return recovery.Snapshot{}, &recovery.Problem{What: "there is no snapshot " + id + " of " + name, Next: next, Err: recovery.ErrNotFound}
	case 1:
		return found[0], nil
	}
	return recovery.Snapshot{}, &recovery.Problem{What: fmt.Sprintf("%d snapshots of %s begin with %s", len(found), name, id), Next: next, Err: recovery.ErrUsage}
}

// oneSource refuses a name that several sources of the repository answer to.
func oneSource(snapshots []recovery.Snapshot, name string) error {
	var sources []string
	for _, s := range snapshots {
		if text := s.Source.String(); !slices.Contains(sources, text) {
			sources = append(sources, text)
		}
	}
	if len(sources) < 2 {
		return nil
	}
	slices.SortFunc(sources, cmp.Compare)
	return &recovery.Problem{
		What: fmt.Sprintf("%d sources answer to %s", len(sources), name), Why: strings.Join(sources, ", "),
		Next: "name one of them in Kopia's notation, or give --snapshot", Err: recovery.ErrUsage,
	}
}
