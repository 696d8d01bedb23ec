package lab

import "time"

// longNamedClaims have names over 43 characters: NAME-backup is cut at 50, so two of them collide.
func longNamedClaims() []PlatformClaim {
	const cut = "karakeep-bookmarks-archive-with-full-page-screensh"
	return []PlatformClaim{
		{
			Namespace: "karakeep", Name: "karakeep-bookmarks-archive-with-full-page-screenshots-2024",
			Backup: "daily", InCluster: true, Source: true,
			Identity:  identity(cut, "karakeep"),
			Snapshots: series(6*time.Hour, day, 3, 24*kib, 4),
			State:     "protected", Why: "collides with -2025 once truncated",
		},
		{
			Namespace: "karakeep", Name: "karakeep-bookmarks-archive-with-full-page-screenshots-2025",
			Backup: "daily", InCluster: true, Source: true,
			Identity:       identity(cut, "karakeep"),
			Snapshots:      series(6*time.Hour, day, 3, 24*kib, 4),
			SharesIdentity: true,
			State:          "protected", Why: "collides with -2024 once truncated",
		},
		{
			Namespace: "immich", Name: "immich-machine-learning-clip-and-face-models-v2",
			Backup: "daily", InCluster: true, Source: true,
			Identity:  identity("immich-machine-learning-clip-and-face-models-v2-ba", "immich"),
			Snapshots: series(7*time.Hour, day, 2, 24*kib, 2),
			State:     "protected", Why: "truncated, and alone with it",
		},
	}
}

// oddClaims are those that belong to somebody else, or to nobody any more.
func oddClaims() []PlatformClaim {
	return []PlatformClaim{
		{
			Namespace: "cloudnative-pg", Name: "immich-database-1", Backup: "daily", InCluster: true,
			CNPGCluster: "immich-database",
			Identity:    identity("immich-database-1-backup", "cloudnative-pg"),
			State:       "unprotected", Why: "a CNPG volume must not carry a backup label",
		},
		{
			Namespace: "cloudnative-pg", Name: "immich-database-1-wal", InCluster: true,
			CNPGCluster: "immich-database",
			Identity:    identity("immich-database-1-wal-backup", "cloudnative-pg"),
			State:       "unprotected", Why: "a CNPG volume as it should be: no label",
		},
		{
			Namespace: "forgejo", Name: "forgejo-database-1", InCluster: true,
			CNPGCluster: "forgejo-database",
			Identity:    identity("forgejo-database-1-backup", "forgejo"),
			State:       "unprotected", Why: "a CNPG volume as it should be: no label",
		},
		{
			Namespace: "karakeep", Name: "attic-pvc",
			Identity:  identity("attic-pvc-backup", "karakeep"),
			Snapshots: series(20*day, day, 2, 32*kib, 3),
			State:     "orphaned", Why: "the claim is gone, its namespace is not",
		},
		{
			Namespace: "paperless", Name: "documents-pvc",
			Identity:  identity("documents-pvc-backup", "paperless"),
			Snapshots: series(40*day, day, 3, 72*kib, 9),
			State:     "orphaned", Why: "claim and namespace are gone",
		},
	}
}
