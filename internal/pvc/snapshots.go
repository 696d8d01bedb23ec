package pvc

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// SnapshotList is the answer of `drctl pvc snapshots`.
type SnapshotList struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Items      []SnapshotItem `json:"items"`
	Warnings   []string       `json:"warnings"`
}

// SnapshotItem is one snapshot. SizeBytes is rootEntry.summ.size of its manifest.
type SnapshotItem struct {
	ID         string               `json:"id"`
	StartTime  time.Time            `json:"startTime"`
	EndTime    time.Time            `json:"endTime"`
	SizeBytes  int64                `json:"sizeBytes"`
	FileCount  int64                `json:"fileCount"`
	DirCount   int64                `json:"dirCount"`
	ErrorCount int64                `json:"errorCount"`
	Incomplete string               `json:"incomplete"`
	Pins       []string             `json:"pins"`
	Source     recovery.KopiaSource `json:"source"`
}

// NewSnapshotItem is a snapshot as it is shown.
func NewSnapshotItem(s recovery.Snapshot) SnapshotItem { return newSnapshotItem(s) }

func newSnapshotItem(s recovery.Snapshot) SnapshotItem {
	pins := s.Pins
	if pins == nil {
		pins = []string{}
	}
	return SnapshotItem{
		ID: s.ID, StartTime: s.StartTime.UTC(), EndTime: s.EndTime.UTC(), SizeBytes: s.SizeBytes,
		FileCount: s.FileCount, DirCount: s.DirCount, ErrorCount: s.ErrorCount,
		Incomplete: s.Incomplete, Pins: pins, Source: s.Source,
	}
}

// Query says which snapshots are wanted.
type Query struct {
	// Name is NAMESPACE/PVC, PVC, or a source in Kopia's notation USER@HOST:PATH. Empty means all.
	Name string
	// Namespace narrows a bare name, and a listing of all.
	Namespace string
	// Incomplete adds checkpoints of unfinished uploads.
	Incomplete bool
}

// Snapshots lists points in time, grouped by source, oldest first. A claim's name is looked up in the
// inventory for its identity; where there is none, the platform's naming rule answers.
func (l *Lister) Snapshots(ctx context.Context, q Query) (*SnapshotList, recovery.Gaps, error) {
	if l.Repository == nil {
		return nil, nil, noRepository()
	}
	wanted, gaps, err := l.wanted(ctx, q)
	if err != nil {
		return nil, gaps, err
	}
	snapshots, unread, err := l.Repository.Snapshots(ctx)
	gaps = append(gaps, unread...)
	if err != nil {
		return nil, gaps, err
	}
	list := &SnapshotList{APIVersion: recovery.APIVersion, Kind: "SnapshotList", Items: []SnapshotItem{}, Warnings: []string{}}
	known := map[recovery.KopiaSource]bool{}
	for _, s := range snapshots {
		known[s.Source] = true
		if wanted(s.Source) && (q.Incomplete || s.Complete()) {
			list.Items = append(list.Items, newSnapshotItem(s))
		}
	}
	sortSnapshots(list.Items)
	for _, gap := range gaps {
		list.Warnings = append(list.Warnings, gap.Error())
	}
	if len(list.Items) == 0 && q.Name != "" {
		return list, gaps, nothingFound(q, wanted, known, len(unread) > 0)
	}
	return list, gaps, nil
}

func sortSnapshots(items []SnapshotItem) {
	sort.SliceStable(items, func(i, j int) bool {
		a, b := items[i], items[j]
		if a.Source != b.Source {
			if a.Source.Hostname != b.Source.Hostname {
				return a.Source.Hostname < b.Source.Hostname
			}
			return a.Source.String() < b.Source.String()
		}
		return a.StartTime.Before(b.StartTime)
	})
}

// nothingFound explains an empty answer for a name. With part of the repository unread it is unknown,
// not empty, and the gap says so already.
func nothingFound(q Query, wanted func(recovery.KopiaSource) bool, known map[recovery.KopiaSource]bool, unread bool) error {
	if unread {
		return nil
	}
	for source := range known {
		if wanted(source) {
			return &recovery.Problem{
				What: "no complete snapshot of " + q.Name, Why: "the repository holds only checkpoints of unfinished uploads",
				Next: "add --incomplete to see them", Err: recovery.ErrNotFound,
			}
		}
	}
	return &recovery.Problem{
		What: "no snapshot of " + q.Name, Why: "no source in the repository has its identity",
		Next: "compare the sources that are there: drctl pvc list -o wide", Err: recovery.ErrNotFound,
	}
}

// wanted turns the query into a test of sources.
func (l *Lister) wanted(ctx context.Context, q Query) (func(recovery.KopiaSource) bool, recovery.Gaps, error) {
	if q.Name == "" {
		return func(s recovery.KopiaSource) bool { return q.Namespace == "" || s.Hostname == q.Namespace }, nil, nil
	}
	if strings.Contains(q.Name, "@") {
		return func(s recovery.KopiaSource) bool {
			return s.String() == q.Name || s.Username+"@"+s.Hostname == q.Name
		}, nil, nil
	}
	namespace, name := q.Namespace, q.Name
	if before, after, found := strings.Cut(q.Name, "/"); found {
		if namespace != "" && namespace != before {
			return nil, nil, &recovery.Problem{What: fmt.Sprintf("-n %s and %s name two namespaces", namespace, q.Name), Next: "give one of them", Err: recovery.ErrUsage}
		}
		namespace, name = before, after
	}
	identities, gaps, err := l.identities(ctx, namespace, name)
	if err != nil {
		return nil, gaps, err
	}
	return func(s recovery.KopiaSource) bool {
		if len(identities) > 0 {
			return identities[s]
		}
		inferred := l.Rules.Inferred(recovery.Claim{Namespace: s.Hostname, Name: name}).Identity
		return (namespace == "" || s.Hostname == namespace) && (s.Username == inferred.Username || s.Username == name)
	}, gaps, nil
}

// identities looks the claim up in the inventory. None at all means that no claim of that name stands
// there: then the naming rule decides.
func (l *Lister) identities(ctx context.Context, namespace, name string) (map[recovery.KopiaSource]bool, recovery.Gaps, error) {
	if l.Inventory == nil {
		return nil, nil, nil
	}
	claims, gaps, err := l.Inventory.Claims(ctx, namespace)
	if err != nil {
		gaps.Add("look the claim up", err)
		return nil, gaps, nil
	}
	var found []recovery.Claim
	for _, claim := range claims {
		if claim.Name == name {
			found = append(found, claim)
		}
	}
	if len(found) == 0 {
		return nil, gaps, nil
	}
	if len(found) > 1 {
		return nil, gaps, ambiguous(name, found)
	}
	sources, more, err := l.Inventory.Sources(ctx, found[0].Namespace)
	gaps = append(gaps, more...)
	gaps.Add("look the ReplicationSource up", err)
	identities := map[recovery.KopiaSource]bool{}
	for _, source := range sources {
		if source.Claim == name {
			identities[source.Identity] = true
		}
	}
	if len(identities) == 0 {
		identities[l.Rules.Inferred(found[0]).Identity] = true
	}
	return identities, gaps, nil
}

func ambiguous(name string, found []recovery.Claim) error {
	list := make([]string, 0, len(found))
	for _, claim := range found {
		list = append(list, claim.Namespace+"/"+claim.Name)
	}
	return &recovery.Problem{
		What: fmt.Sprintf("%d claims are called %s", len(found), name), Why: strings.Join(list, ", "),
		Next: "give the namespace: drctl pvc snapshots " + list[0], Err: recovery.ErrUsage,
	}
}
