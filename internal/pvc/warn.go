package pvc

import (
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"github.com/drctl/drctl/internal/recovery"
)

// clockSkew is how far in the future a snapshot may start before it is worth a warning.
const clockSkew = 5 * time.Minute

// warnClaim adds what an operator should know of a claim before trusting its backups.
func (j *join) warnClaim(item *Item, claim recovery.Claim, sources []recovery.ReplicationSource) {
	if claim.CNPGCluster != "" && claim.Backup != "" {
		item.warn("belongs to the CNPG Cluster %s and carries a backup label: a file copy of a running database is no backup; remove the label, see drctl cnpg list", claim.CNPGCluster)
	}
	if claim.Deleting {
		item.warn("is being deleted")
	}
	j.warnMissingSource(item, claim, sources)
	j.warnCollision(item, sources)
	j.warnOtherPath(item, sources)
	for _, source := range sources {
		if source.Paused {
			item.warn("ReplicationSource %s is paused: it reports success without making backups", source.Name)
		}
		if source.LastResult == "Failed" {
			item.warn("the last run of ReplicationSource %s failed", source.Name)
		}
	}
	if len(sources) > 1 {
		item.warn("has %d ReplicationSources (%s); the first is shown", len(sources), names(sources))
	}
	if item.SnapshotCount == 0 && item.IncompleteCount > 0 {
		item.warn("only incomplete snapshots (%d): nothing to restore", item.IncompleteCount)
	}
	if item.Latest != nil && item.Latest.StartTime.Sub(j.now) > clockSkew {
		item.warn("its newest snapshot starts in the future: compare the clocks")
	}
}

func (j *join) warnMissingSource(item *Item, claim recovery.Claim, sources []recovery.ReplicationSource) {
	if claim.Backup == "" || claim.CNPGCluster != "" || len(sources) > 0 || j.sourcesIncomplete {
		return
	}
	age := j.now.Sub(claim.CreatedAt)
	if !claim.CreatedAt.IsZero() && age < firstBackupAfter {
		item.warn("has no ReplicationSource yet: the claim is %d min old and the policy waits until it is 2 h old", int(max(age, 0)/time.Minute))
		return
	}
	item.warn("carries the backup label and has no ReplicationSource: nothing is backed up; look at the Kyverno policy and the claim's phase")
}

// warnCollision names ReplicationSources that write under the same identity: the fork truncates long
// names at 50 characters, and the snapshots of both stand under one name.
// Source: perfectra1n/volsync builder.go.
func (j *join) warnCollision(item *Item, sources []recovery.ReplicationSource) {
	if len(sources) == 0 {
		return
	}
	var others []recovery.ReplicationSource
	for _, writer := range j.writers[sources[0].Identity] {
		if writer.Namespace != sources[0].Namespace || writer.Name != sources[0].Name {
			others = append(others, writer)
		}
	}
	if len(others) > 0 {
		item.warn("shares the identity %s with %s: their snapshots cannot be told apart; give each its own username and hostname", sources[0].Identity, names(others))
	}
}

// warnOtherPath points at snapshots that stand under another path or user of the same claim: where
// the ReplicationSource itself cannot be asked (a GitOps tree), its overrides are not known.
func (j *join) warnOtherPath(item *Item, sources []recovery.ReplicationSource) {
	if len(sources) == 0 || !sources[0].Inferred || item.SnapshotCount > 0 {
		return
	}
	mine := sources[0].Identity
	for source := range j.snapshots {
		if source.Username == mine.Username && source.Hostname == mine.Hostname && source.Path != mine.Path {
			item.warn("has no snapshots as %s, but there are some as %s: compare them (drctl pvc snapshots %s)", mine, source, source)
		}
	}
}

// warnCollapse compares the last two complete snapshots.
func warnCollapse(item *Item, complete []recovery.Snapshot) {
	if len(complete) < 2 {
		return
	}
	last, before := complete[len(complete)-1], complete[len(complete)-2]
	inBytes, inFiles := last.CollapsedSince(before)
	if inBytes {
		item.warn("the newest snapshot has %s, the one before it %s: look before you restore (drctl pvc snapshots %s/%s)",
			humanize.IBytes(uint64(max(last.SizeBytes, 0))), humanize.IBytes(uint64(before.SizeBytes)), item.Namespace, item.Name)
	}
	if inFiles {
		item.warn("the newest snapshot has %s, the one before it %d: look before you restore (drctl pvc snapshots %s/%s)",
			english.Plural(int(last.FileCount), "file", ""), before.FileCount, item.Namespace, item.Name)
	}
}
