package pvc

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Inventory says what is meant to be protected: the live cluster, or the GitOps tree.
type Inventory interface {
	// Claims lists PersistentVolumeClaims; namespace "" means all.
	Claims(ctx context.Context, namespace string) ([]recovery.Claim, recovery.Gaps, error)
	// Sources lists ReplicationSources with the Kopia mover; namespace "" means all.
	Sources(ctx context.Context, namespace string) ([]recovery.ReplicationSource, recovery.Gaps, error)
}

// Repository lists every snapshot of the one Kopia repository, incomplete ones included.
type Repository interface {
	Snapshots(ctx context.Context) ([]recovery.Snapshot, recovery.Gaps, error)
}

// Rules are the platform's conventions that a listing needs.
type Rules interface {
	// Inferred is the ReplicationSource that the platform's policy generates for a claim.
	Inferred(claim recovery.Claim) recovery.ReplicationSource
	// ClaimOf undoes the naming rule: the claim's name that a Kopia username stands for, and false
	// when the rule did not make that username.
	ClaimOf(username string) (string, bool)
	// Interval is the longest time between two runs of a cron schedule around now.
	Interval(schedule string, now time.Time) (time.Duration, error)
}

// State is what drctl says of a claim's protection.
type State string

// The states of the command-line contract.
const (
	// Protected: the newest complete snapshot is younger than twice the schedule's interval.
	Protected State = "protected"
	// Stale: there is a complete snapshot, and it is older than that.
	Stale State = "stale"
	// Unprotected: no complete snapshot, or no ReplicationSource.
	Unprotected State = "unprotected"
	// Orphaned: snapshots that no claim stands for.
	Orphaned State = "orphaned"
	// Unknown: the repository, or what decides the state, could not be read.
	Unknown State = "unknown"
)
