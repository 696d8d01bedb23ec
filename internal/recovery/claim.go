package recovery

import "time"

// Claim is a PersistentVolumeClaim as far as recovery is concerned: from the API, or from the GitOps
// tree, in which case UID, Phase and CreatedAt are empty.
type Claim struct {
	Namespace string
	Name      string
	UID       string
	// Phase is the claim's status.phase (Pending, Bound, Lost), empty when it is unknown.
	Phase     string
	CreatedAt time.Time
	Labels    map[string]string
	// Backup is the value of the label "backup" (hourly, daily, anything else), empty without it.
	Backup string
	// CNPGCluster is the value of the label cnpg.io/cluster: the claim belongs to CloudNativePG.
	CNPGCluster string
	// Deleting is true once the claim has a deletionTimestamp.
	Deleting bool
}

// ReplicationSource is a VolSync ReplicationSource with the Kopia mover.
type ReplicationSource struct {
	Namespace string
	Name      string
	// Claim is spec.sourcePVC.
	Claim string
	// Identity is where the mover writes: computed by the volsync package from the fork's rules.
	Identity KopiaSource
	// Schedule is spec.trigger.schedule in cron syntax; empty for a manual trigger.
	Schedule string
	Paused   bool
	// RepositorySecret is spec.kopia.repository, the name of a Secret in the namespace.
	RepositorySecret string
	// LastSyncTime is status.lastSyncTime, zero when there was none.
	LastSyncTime time.Time
	// LastResult is status.latestMoverStatus.result (Successful, Failed), empty when unknown.
	LastResult string
	// Inferred is true when there is no such object and the platform's naming rule stands in for it
	// (a GitOps tree does not hold what Kyverno generates).
	Inferred bool
}
