package pvc

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// List is the answer of `drctl pvc list`.
type List struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Items      []Item   `json:"items"`
	Warnings   []string `json:"warnings"`
}

// Item is one claim, or one source of the repository that no claim stands for.
type Item struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Backup is the value of the claim's backup label.
	Backup string `json:"backup"`
	// Phase is the claim's phase, empty without a claim.
	Phase string `json:"phase"`
	// Source is whom the snapshots belong to; null when nothing would write any.
	Source *recovery.KopiaSource `json:"source"`
	// SnapshotCount counts complete snapshots.
	SnapshotCount   int           `json:"snapshotCount"`
	IncompleteCount int           `json:"incompleteCount"`
	Latest          *SnapshotItem `json:"latest"`
	Oldest          *SnapshotItem `json:"oldest"`
	// AgeSeconds is the age of the newest complete snapshot's start.
	AgeSeconds *int64 `json:"ageSeconds"`
	// IntervalSeconds is the longest time between two scheduled backups, 0 without a schedule.
	IntervalSeconds int64    `json:"intervalSeconds"`
	Schedule        string   `json:"schedule"`
	State           State    `json:"state"`
	Warnings        []string `json:"warnings"`
}

// Lister joins an inventory and a repository. Either may be nil: without an inventory every source of
// the repository is listed by itself, without a repository every state is unknown.
type Lister struct {
	Inventory  Inventory
	Repository Repository
	// Contents opens the repository for looking into snapshots.
	Contents ContentSource
	Rules    Rules
	Now      func() time.Time
}

// Filter narrows a listing. The zero value means everything.
type Filter struct {
	Namespace string
	// Labels tells by its labels whether a claim is wanted; nil wants all. With it, sources that no
	// claim stands for are left out: they have no labels.
	Labels func(labels map[string]string) bool
}

// gathered is what one look at both sides gave.
type gathered struct {
	claims    []recovery.Claim
	sources   []recovery.ReplicationSource
	snapshots map[recovery.KopiaSource][]recovery.Snapshot
	gaps      recovery.Gaps
	// inventoryFailed and repositoryFailed: nothing of it is known.
	inventoryFailed, repositoryFailed bool
	// claimsIncomplete, sourcesIncomplete, snapshotsIncomplete: some may be missing.
	claimsIncomplete, sourcesIncomplete, snapshotsIncomplete bool
}

// List reads both sides at once and joins them. Gaps say what could not be read; the error is only
// non-nil when nothing at all could be.
func (l *Lister) List(ctx context.Context, filter Filter) (*List, recovery.Gaps, error) {
	got, err := l.gather(ctx, filter.Namespace)
	if err != nil {
		return nil, got.gaps, err
	}
	now := l.Now().UTC()
	join := newJoin(got, l.Rules, now)
	list := &List{APIVersion: recovery.APIVersion, Kind: "PVCList", Items: []Item{}, Warnings: []string{}}
	for _, item := range join.items() {
		if filter.keeps(item) {
			list.Items = append(list.Items, item.Item)
		}
	}
	sort.SliceStable(list.Items, func(i, j int) bool {
		a, b := list.Items[i], list.Items[j]
		if a.Namespace != b.Namespace {
			return a.Namespace < b.Namespace
		}
		return a.Name < b.Name
	})
	for _, gap := range got.gaps {
		list.Warnings = append(list.Warnings, gap.Error())
	}
	return list, got.gaps, nil
}

func (f Filter) keeps(item joined) bool {
	if f.Namespace != "" && item.Namespace != f.Namespace {
		return false
	}
	if f.Labels == nil {
		return true
	}
	return item.hasClaim && f.Labels(item.labels)
}

// gather reads claims, ReplicationSources and snapshots at the same time. With a namespace it asks
// the inventory for that one only: an operator may have no right to read the others.
func (l *Lister) gather(ctx context.Context, namespace string) (gathered, error) {
	var got gathered
	type side struct {
		gaps recovery.Gaps
		err  error
	}
	fromRepository := make(chan side, 1)
	var snapshots []recovery.Snapshot
	go func() {
		if l.Repository == nil {
			fromRepository <- side{err: noRepository()}
			return
		}
		var s side
		snapshots, s.gaps, s.err = l.Repository.Snapshots(ctx)
		fromRepository <- s
	}()
	inventoryErr := l.gatherInventory(ctx, namespace, &got)
	repository := <-fromRepository
	if err := ctx.Err(); err != nil {
		return got, err
	}
	got.repositoryFailed = repository.err != nil
	got.snapshotsIncomplete = len(repository.gaps) > 0
	got.gaps = append(got.gaps, repository.gaps...)
	got.gaps.Add("read the Kopia repository", repository.err)
	got.snapshots = bySource(snapshots)
	if got.repositoryFailed && (got.inventoryFailed || l.Inventory == nil) {
		return got, errors.Join(repository.err, inventoryErr)
	}
	return got, nil
}

func noRepository() error {
	return &recovery.Problem{
		What: "no Kopia repository is known",
		Why:  "neither a flag, the environment, the config file nor the cluster names one",
		Next: "give --repo, set DRCTL_REPO, or write repo: into the config file",
		Err:  recovery.ErrUsage,
	}
}

func (l *Lister) gatherInventory(ctx context.Context, namespace string, got *gathered) error {
	if l.Inventory == nil {
		return nil
	}
	claims, gaps, err := l.Inventory.Claims(ctx, namespace)
	got.claims = claims
	got.gaps = append(got.gaps, gaps...)
	got.claimsIncomplete = len(gaps) > 0
	if err != nil {
		got.inventoryFailed = true
		got.gaps.Add("list PersistentVolumeClaims", err)
		return fmt.Errorf("list PersistentVolumeClaims: %w", err)
	}
	sources, gaps, err := l.Inventory.Sources(ctx, namespace)
	got.sources = sources
	got.sourcesIncomplete = len(gaps) > 0 || err != nil
	got.gaps = append(got.gaps, gaps...)
	got.gaps.Add("list ReplicationSources", err)
	return nil
}

// bySource groups snapshots by whom they belong to, oldest first.
func bySource(snapshots []recovery.Snapshot) map[recovery.KopiaSource][]recovery.Snapshot {
	groups := map[recovery.KopiaSource][]recovery.Snapshot{}
	for _, s := range snapshots {
		groups[s.Source] = append(groups[s.Source], s)
	}
	for _, group := range groups {
		sort.SliceStable(group, func(i, j int) bool { return group[i].StartTime.Before(group[j].StartTime) })
	}
	return groups
}
