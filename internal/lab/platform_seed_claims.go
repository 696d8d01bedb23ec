package lab

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	volsyncAPI = "volsync.backube/v1alpha1"
	cnpgAPI    = "postgresql.cnpg.io/v1"
)

// seedClaim binds one claim to a volume and makes what the policy generates for its label.
func (s *seeder) seedClaim(ctx context.Context, claim PlatformClaim) error {
	if claim.CNPGCluster != "" {
		if err := s.makeCNPGClaim(ctx, claim); err != nil {
			return err
		}
	}
	if !claim.Pending {
		if err := s.bind(ctx, claim); err != nil {
			return err
		}
	}
	schedule := claim.schedule()
	if schedule == "" {
		return nil
	}
	err := s.render(ctx, "claim", struct {
		PlatformClaim
		Schedule, KopiaPassword string
	}{claim, schedule, s.KopiaPassword})
	if err != nil || !claim.Source {
		return err
	}
	return s.reportSync(ctx, claim)
}

// schedule is the cron line that the policy gives a label's value, empty for a value it does not know.
func (c PlatformClaim) schedule() string {
	switch c.Backup {
	case "hourly":
		return "0 * * * *"
	case "daily":
		return "0 2 * * *"
	}
	return ""
}

func (s *seeder) makeCNPGClaim(ctx context.Context, claim PlatformClaim) error {
	cluster, err := s.apply.Get(ctx, reference(cnpgAPI, "Cluster", claim.Namespace, claim.CNPGCluster))
	if err != nil {
		return wrap(err, "read the Cluster that owns claim "+claim.Name)
	}
	role := "PG_DATA"
	if strings.HasSuffix(claim.Name, "-wal") {
		role = "PG_WAL"
	}
	return s.render(ctx, "cnpg-claim", struct {
		PlatformClaim
		ClusterUID, Role string
	}{claim, string(cluster.GetUID()), role})
}

// bind does what a provisioner and the volume controller do: a volume for exactly this claim, and both
// Bound.
func (s *seeder) bind(ctx context.Context, claim PlatformClaim) error {
	found, err := s.apply.Get(ctx, reference("v1", "PersistentVolumeClaim", claim.Namespace, claim.Name))
	if err != nil {
		return wrap(err, "read claim "+claim.Name)
	}
	volume := "pvc-" + string(found.GetUID())
	objects, err := renderObjects("volume", struct {
		PlatformClaim
		Volume, ClaimUID string
	}{claim, volume, string(found.GetUID())})
	if err != nil {
		return err
	}
	if err := s.apply.Apply(ctx, objects...); err != nil {
		return err
	}
	if err := s.apply.Merge(ctx, objects[0], "status", map[string]any{"phase": "Bound"}); err != nil {
		return err
	}
	bound := map[string]any{"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
	if err := s.apply.Merge(ctx, found, "metadata", map[string]any{"annotations": bound}); err != nil {
		return err
	}
	if err := s.apply.Merge(ctx, found, "spec", map[string]any{"volumeName": volume}); err != nil {
		return err
	}
	return s.apply.Merge(ctx, found, "status", map[string]any{
		"phase": "Bound", "accessModes": []any{"ReadWriteOnce"}, "capacity": map[string]any{"storage": "10Gi"},
	})
}

// reportSync writes the status that VolSync reports for a source and its destination.
func (s *seeder) reportSync(ctx context.Context, claim PlatformClaim) error {
	source := reference(volsyncAPI, "ReplicationSource", claim.Namespace, claim.Name+"-backup")
	if status := s.sourceStatus(claim); status != nil {
		if err := s.apply.Merge(ctx, source, "status", status); err != nil {
			return err
		}
	}
	destination := reference(volsyncAPI, "ReplicationDestination", claim.Namespace, claim.Name+"-backup")
	return s.apply.Merge(ctx, destination, "status", map[string]any{
		"lastManualSync": "restore-once", "lastSyncTime": stamp(s.SeededAt.Add(-90 * day)), "lastSyncDuration": "9.5s",
		"latestImage":       map[string]any{"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "volsync-" + claim.Name + "-backup-dest"},
		"latestMoverStatus": map[string]any{"result": "Successful", "logs": "No data will be restored"},
	})
}

// sourceStatus is nil for a source that never ran.
func (s *seeder) sourceStatus(claim PlatformClaim) map[string]any {
	if len(claim.Snapshots) == 0 {
		return nil
	}
	for _, snapshot := range claim.Snapshots {
		if snapshot.Incomplete != "" {
			continue
		}
		last := s.SeededAt.Add(-snapshot.Age)
		return map[string]any{
			"lastSyncTime": stamp(last), "lastSyncDuration": "12.5s", "nextSyncTime": stamp(s.SeededAt.Truncate(time.Hour).Add(time.Hour)),
			"latestMoverStatus": map[string]any{"result": "Successful", "logs": "Snapshot created successfully"},
			"conditions":        []any{condition("Synchronizing", "False", "WaitingForSchedule", last)},
		}
	}
	began := s.SeededAt.Add(-claim.Snapshots[0].Age)
	return map[string]any{
		"lastSyncStartTime": stamp(began),
		"latestMoverStatus": map[string]any{"result": "Failed", "logs": "context canceled"},
		"conditions":        []any{condition("Synchronizing", "True", "SyncInProgress", began)},
	}
}

func condition(kind, status, reason string, since time.Time) map[string]any {
	return map[string]any{
		"type": kind, "status": status, "reason": reason, "message": reason, "lastTransitionTime": stamp(since),
	}
}

// stamp is a time as the API writes it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// seedDatabase reports a healthy Cluster that archives, and leaves a finished Backup behind.
func (s *seeder) seedDatabase(ctx context.Context, database PlatformDatabase) error {
	cluster, err := s.apply.Get(ctx, reference(cnpgAPI, "Cluster", database.Namespace, database.Name))
	if err != nil {
		return wrap(err, "read Cluster "+database.Name)
	}
	since := s.SeededAt.Add(-14 * day)
	err = s.apply.Merge(ctx, cluster, "status", map[string]any{
		"phase": "Cluster in healthy state", "instances": int64(1), "readyInstances": int64(1),
		"currentPrimary": database.Name + "-1", "targetPrimary": database.Name + "-1", "latestGeneratedNode": int64(1),
		"conditions": []any{
			condition("Ready", "True", "ClusterIsReady", since),
			condition("ContinuousArchiving", "True", "ContinuousArchivingSuccess", since),
		},
	})
	if err != nil {
		return err
	}
	if err := s.reportBackup(ctx, database, cluster); err != nil || !database.Plugin {
		return err
	}
	store := reference("barmancloud.cnpg.io/v1", "ObjectStore", database.Namespace, database.ObjectStore)
	return s.apply.Merge(ctx, store, "status", map[string]any{"serverRecoveryWindow": map[string]any{
		database.ServerName: map[string]any{
			"firstRecoverabilityPoint": stamp(since), "lastSuccessfulBackupTime": stamp(s.SeededAt.Add(-6 * time.Hour)),
		},
	}})
}

func (s *seeder) reportBackup(ctx context.Context, database PlatformDatabase, cluster *unstructured.Unstructured) error {
	err := s.render(ctx, "backup", struct {
		PlatformDatabase
		ClusterUID string
	}{database, string(cluster.GetUID())})
	if err != nil {
		return err
	}
	backup := reference(cnpgAPI, "Backup", database.Namespace, database.Name+"-scheduled")
	status := map[string]any{
		"phase": "completed", "serverName": database.ServerName, "destinationPath": database.DestinationPath, "endpointURL": s.EndpointURL,
		"startedAt": stamp(s.SeededAt.Add(-6 * time.Hour)), "stoppedAt": stamp(s.SeededAt.Add(-6*time.Hour + time.Minute)),
	}
	return s.apply.Merge(ctx, backup, "status", status)
}
