package lab

import (
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// PlatformSnapshot is one snapshot that the lab's Kopia repository holds for a claim.
type PlatformSnapshot struct {
	// Age is how long before the seeding the snapshot was taken.
	Age time.Duration
	// SizeBytes and Files are what the snapshot's root summary must say.
	SizeBytes int64
	Files     int
	// Incomplete is Kopia's reason ("checkpoint"), empty for a complete snapshot.
	Incomplete string
}

// PlatformClaim is one claim of the lab's platform: what the cluster says about it, what the Kopia
// repository holds for it, and what drctl must make of the two.
type PlatformClaim struct {
	Namespace string
	Name      string
	// Backup is the value of the label "backup", empty without the label.
	Backup string
	// CNPGCluster is the value of the label cnpg.io/cluster, empty for an application's claim.
	CNPGCluster string
	// InCluster is false for a claim that only the repository remembers.
	InCluster bool
	// Pending claims are not bound, all others are.
	Pending bool
	// Source says whether the ReplicationSource NAME-backup exists; SourcePaused that it is paused.
	Source       bool
	SourcePaused bool
	// Username, Hostname and PathOverride are set on the ReplicationSource when not empty.
	Username, Hostname, PathOverride string
	// Identity is where the mover writes, by the fork's rule. It is written out, not computed, so that
	// the rule's implementation can be tested against it.
	Identity recovery.KopiaSource
	// Snapshots are newest first; none for a claim that was never backed up.
	Snapshots []PlatformSnapshot
	// SharesIdentity is true when another claim of the table writes to the same identity: the
	// snapshots are made once, for the first of them.
	SharesIdentity bool
	// State is what `drctl pvc list` must answer: protected, stale, unprotected or orphaned.
	State string
	// Why says in a word or two what this claim is in the table for.
	Why string
}

// kib is the unit of the seeded sizes: real files are written, so they stay small.
const kib = 1024

// PlatformClaims is every claim of the lab's platform. The Kopia repository, the cluster's objects
// and the GitOps tree are all made from it.
func PlatformClaims() []PlatformClaim {
	claims := append(karakeepClaims(), immichClaims()...)
	claims = append(claims, unprotectedImmichClaims()...)
	claims = append(claims, longNamedClaims()...)
	return append(claims, oddClaims()...)
}

// identity is the fork's identity for a mover that writes from /data.
func identity(username, hostname string) recovery.KopiaSource {
	return recovery.KopiaSource{Username: username, Hostname: hostname, Path: "/data"}
}

// series is count snapshots, step apart, the newest newest old, all of one size.
func series(newest, step time.Duration, count int, sizeBytes int64, files int) []PlatformSnapshot {
	snapshots := make([]PlatformSnapshot, 0, count)
	for i := range count {
		snapshots = append(snapshots, PlatformSnapshot{
			Age: newest + time.Duration(i)*step, SizeBytes: sizeBytes, Files: files,
		})
	}
	return snapshots
}

const day = 24 * time.Hour

func karakeepClaims() []PlatformClaim {
	return []PlatformClaim{
		{
			Namespace: "karakeep", Name: "data-pvc", Backup: "hourly", InCluster: true, Source: true,
			Identity:  identity("data-pvc-backup", "karakeep"),
			Snapshots: series(25*time.Minute, time.Hour, 6, 96*kib, 6),
			State:     "protected", Why: "the plain hourly case",
		},
		{
			Namespace: "karakeep", Name: "meilisearch-pvc", Backup: "daily", InCluster: true, Source: true,
			Identity:  identity("meilisearch-pvc-backup", "karakeep"),
			Snapshots: series(5*time.Hour, day, 4, 64*kib, 4),
			State:     "protected", Why: "the plain daily case",
		},
		{
			Namespace: "karakeep", Name: "notes-pvc", Backup: "hourly", InCluster: true, Source: true,
			Identity: identity("notes-pvc-backup", "karakeep"),
			Snapshots: append([]PlatformSnapshot{{Age: 15 * time.Minute, SizeBytes: kib, Files: 1}},
				series(75*time.Minute, time.Hour, 3, 128*kib, 16)...),
			State: "protected", Why: "size and file count collapse in the newest",
		},
		{
			Namespace: "karakeep", Name: "assets-pvc", Backup: "daily", InCluster: true, Source: true,
			Username: "assets", Hostname: "media-server",
			Identity:  identity("assets", "media-server"),
			Snapshots: series(8*time.Hour, day, 2, 32*kib, 3),
			State:     "protected", Why: "username and hostname overridden",
		},
		{
			Namespace: "karakeep", Name: "exports.v2", Backup: "daily", InCluster: true, Source: true,
			Identity:  identity("exportsv2-backup", "karakeep"),
			Snapshots: series(9*time.Hour, day, 2, 16*kib, 2),
			State:     "protected", Why: "dots leave the username",
		},
		{
			Namespace: "karakeep", Name: "cache-pvc", InCluster: true,
			Identity: identity("cache-pvc-backup", "karakeep"),
			State:    "unprotected", Why: "no label, nothing wanted",
		},
		{
			Namespace: "karakeep", Name: "scratch-pvc", Backup: "weekly", InCluster: true,
			Identity: identity("scratch-pvc-backup", "karakeep"),
			State:    "unprotected", Why: "a label that no policy knows",
		},
	}
}

func immichClaims() []PlatformClaim {
	return []PlatformClaim{
		{
			Namespace: "immich", Name: "library-pvc", Backup: "hourly", InCluster: true, Source: true,
			Identity: identity("library-pvc-backup", "immich"),
			Snapshots: append([]PlatformSnapshot{
				{Age: 10 * time.Minute, SizeBytes: 16 * kib, Files: 1, Incomplete: "checkpoint"},
			}, series(40*time.Minute, time.Hour, 8, 256*kib, 24)...),
			State: "protected", Why: "an incomplete snapshot is the newest",
		},
		{
			Namespace: "immich", Name: "thumbs-pvc", Backup: "daily", InCluster: true, Source: true,
			Identity:  identity("thumbs-pvc-backup", "immich"),
			Snapshots: series(3*day, day, 3, 48*kib, 12),
			State:     "stale", Why: "daily, newest three days old",
		},
		{
			Namespace: "immich", Name: "upload-pvc", Backup: "hourly", InCluster: true, Source: true,
			PathOverride: "/usr/src/app/upload",
			Identity: recovery.KopiaSource{
				Username: "upload-pvc-backup", Hostname: "immich", Path: "/usr/src/app/upload",
			},
			Snapshots: series(50*time.Minute, time.Hour, 3, 80*kib, 8),
			State:     "protected", Why: "sourcePathOverride",
		},
		{
			Namespace: "immich", Name: "encoded-video-pvc", Backup: "daily", InCluster: true, Source: true,
			SourcePaused: true,
			Identity:     identity("encoded-video-pvc-backup", "immich"),
			Snapshots:    series(10*day, day, 2, 40*kib, 5),
			State:        "stale", Why: "a paused source",
		},
	}
}

// unprotectedImmichClaims have nothing to restore, each for another reason.
func unprotectedImmichClaims() []PlatformClaim {
	return []PlatformClaim{
		{
			Namespace: "immich", Name: "profile-pvc", Backup: "hourly", InCluster: true, Source: true,
			Identity: identity("profile-pvc-backup", "immich"),
			Snapshots: []PlatformSnapshot{
				{Age: 30 * time.Minute, SizeBytes: 8 * kib, Files: 1, Incomplete: "checkpoint"},
				{Age: 90 * time.Minute, SizeBytes: 8 * kib, Files: 1, Incomplete: "checkpoint"},
			},
			State: "unprotected", Why: "incomplete snapshots only",
		},
		{
			Namespace: "immich", Name: "sidecar-pvc", Backup: "daily", InCluster: true, Source: true,
			Identity: identity("sidecar-pvc-backup", "immich"),
			State:    "unprotected", Why: "a source and no snapshot yet",
		},
		{
			Namespace: "immich", Name: "model-cache-pvc", Backup: "hourly", InCluster: true,
			Identity: identity("model-cache-pvc-backup", "immich"),
			State:    "unprotected", Why: "labelled, and no ReplicationSource in its first two hours",
		},
		{
			Namespace: "immich", Name: "import-pvc", Backup: "daily", InCluster: true, Pending: true,
			Identity: identity("import-pvc-backup", "immich"),
			State:    "unprotected", Why: "not bound",
		},
	}
}
