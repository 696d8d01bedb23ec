package pvc

import (
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// firstBackupAfter is how old a claim must be before the platform's policy generates its
// ReplicationSource. Source: the platform's Kyverno policy, rule 3.
const firstBackupAfter = 2 * time.Hour

// joined is an item with what the filter needs to know of its claim.
type joined struct {
	Item
	hasClaim bool
	labels   map[string]string
}

type claimKey struct{ namespace, name string }

// join matches claims to sources to snapshots, at one moment.
type join struct {
	gathered
	rules Rules
	now   time.Time
	// sourceOf are the ReplicationSources of each claim.
	sourceOf map[claimKey][]recovery.ReplicationSource
	// writers are the ReplicationSources that write under each identity: two are a collision.
	writers map[recovery.KopiaSource][]recovery.ReplicationSource
	// taken are the identities that some claim stands for.
	taken map[recovery.KopiaSource]bool
}

func newJoin(got gathered, rules Rules, now time.Time) *join {
	j := &join{
		gathered: got, rules: rules, now: now,
		sourceOf: map[claimKey][]recovery.ReplicationSource{},
		writers:  map[recovery.KopiaSource][]recovery.ReplicationSource{},
		taken:    map[recovery.KopiaSource]bool{},
	}
	for _, source := range got.sources {
		key := claimKey{source.Namespace, source.Claim}
		j.sourceOf[key] = append(j.sourceOf[key], source)
		j.writers[source.Identity] = append(j.writers[source.Identity], source)
	}
	return j
}

// items gives one item for each claim, then one for each source that no claim stands for.
func (j *join) items() []joined {
	items := make([]joined, 0, len(j.claims))
	for _, claim := range j.claims {
		items = append(items, j.claimItem(claim))
	}
	for source := range j.snapshots {
		if !j.taken[source] {
			items = append(items, joined{Item: j.sourceItem(source)})
		}
	}
	return items
}

func (j *join) claimItem(claim recovery.Claim) joined {
	item := Item{Namespace: claim.Namespace, Name: claim.Name, Backup: claim.Backup, Phase: claim.Phase, Warnings: []string{}}
	sources := j.sourceOf[claimKey{claim.Namespace, claim.Name}]
	var source *recovery.ReplicationSource
	if len(sources) > 0 {
		source = &sources[0]
	}
	reads := source
	if reads == nil && claim.Backup != "" {
		// Earlier snapshots stand under the name that the policy would give, so they are shown even
		// while nothing writes new ones.
		inferred := j.rules.Inferred(claim)
		reads = &inferred
	}
	if reads != nil {
		identity := reads.Identity
		item.Source = &identity
		j.taken[identity] = true
		j.fill(&item, j.snapshots[identity])
		item.Schedule = reads.Schedule
	}
	interval := j.interval(&item, claim, reads)
	item.IntervalSeconds = int64(interval / time.Second)
	item.State = j.claimState(&item, source != nil, interval)
	j.warnClaim(&item, claim, sources)
	return joined{Item: item, hasClaim: true, labels: claim.Labels}
}

// interval is the time between two backups: the schedule's, or what the label says.
func (j *join) interval(item *Item, claim recovery.Claim, source *recovery.ReplicationSource) time.Duration {
	if source == nil {
		return 0
	}
	if source.Schedule != "" {
		interval, err := j.rules.Interval(source.Schedule, j.now)
		if err == nil {
			return interval
		}
		item.warn("the schedule %q is no cron expression that drctl can read; a day is assumed", source.Schedule)
		return 24 * time.Hour
	}
	if claim.Backup == "hourly" {
		return time.Hour
	}
	return 24 * time.Hour
}

// fill puts the snapshots' summary into the item; they are sorted, oldest first.
func (j *join) fill(item *Item, snapshots []recovery.Snapshot) {
	var complete []recovery.Snapshot
	for _, s := range snapshots {
		if s.Complete() {
			complete = append(complete, s)
		}
	}
	item.SnapshotCount = len(complete)
	item.IncompleteCount = len(snapshots) - len(complete)
	if len(complete) == 0 {
		return
	}
	latest, oldest := newSnapshotItem(complete[len(complete)-1]), newSnapshotItem(complete[0])
	item.Latest, item.Oldest = &latest, &oldest
	age := int64(j.now.Sub(latest.StartTime) / time.Second)
	item.AgeSeconds = &age
	warnCollapse(item, complete)
}

func (j *join) claimState(item *Item, hasSource bool, interval time.Duration) State {
	switch {
	case j.repositoryFailed:
		return Unknown
	case !hasSource && j.sourcesIncomplete:
		return Unknown
	case !hasSource:
		return Unprotected
	case item.Latest != nil && j.now.Sub(item.Latest.StartTime) < 2*interval:
		return Protected
	case j.snapshotsIncomplete:
		// A newer snapshot may be among those that could not be read.
		return Unknown
	case item.Latest == nil:
		return Unprotected
	}
	return Stale
}

// sourceItem is a source of the repository that no claim stands for.
func (j *join) sourceItem(source recovery.KopiaSource) Item {
	item := Item{Namespace: source.Hostname, Source: &source, State: Orphaned, Warnings: []string{}}
	item.Name = source.Username
	if name, ok := j.rules.ClaimOf(source.Username); ok {
		item.Name = name
	}
	if j.inventoryFailed || j.claimsIncomplete || j.sourcesIncomplete {
		// Whether a claim stands for it is just what could not be read.
		item.State = Unknown
	}
	j.fill(&item, j.snapshots[source])
	if item.SnapshotCount == 0 {
		item.warn("only incomplete snapshots: nothing to restore")
	}
	for _, writer := range j.writers[source] {
		item.warn("ReplicationSource %s/%s writes here, but its claim %s does not exist", writer.Namespace, writer.Name, writer.Claim)
	}
	return item
}

func (i *Item) warn(format string, args ...any) {
	i.Warnings = append(i.Warnings, fmt.Sprintf(format, args...))
}

// names lists ReplicationSources for a message.
func names(sources []recovery.ReplicationSource) string {
	list := make([]string, 0, len(sources))
	for _, s := range sources {
		list = append(list, s.Namespace+"/"+s.Name)
	}
	return strings.Join(list, ", ")
}
