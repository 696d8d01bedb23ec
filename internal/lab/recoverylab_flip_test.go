package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
)

// identity is what a recovered database has in common with its origin, and its timeline.
const identity = "select (select system_identifier from pg_control_system()), (select timeline_id from pg_control_checkpoint())"

func (r recoveries) endToEnd(t *testing.T) {
	hash, err := r.RowHash(t.Context(), lab.RecoveryDatabase, lab.RecoveryTable)
	require.NoError(t, err)
	before, err := r.SQL(t.Context(), identity)
	require.NoError(t, err)
	data, wal := r.volumesOf(t, lab.RecoveryCluster)
	retain := []byte(`{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}`)
	_, err = r.client.CoreV1().PersistentVolumes().Patch(t.Context(), data.Name, types.MergePatchType, retain, metav1.PatchOptions{})
	require.NoError(t, err)

	begin := time.Now()
	r.delete(t, lab.RecoveryCluster, metav1.DeletePropagationBackground)
	require.NoError(t, r.WaitGone(t.Context(), lab.RecoveryCluster))
	gone := time.Since(begin)
	eventually(t, "the volume that was to be deleted is", func() bool { return r.volume(t, wal.Name).Folder == "" })
	require.DirExists(t, r.volume(t, data.Name).Folder, "the retained volume keeps its data")
	require.Equal(t, corev1.VolumeReleased, r.volume(t, data.Name).Phase)

	r.recover(t, lab.RecoveryCluster, "", "immich-database-v2")
	require.NoError(t, r.WaitHealthy(t.Context(), lab.RecoveryCluster))
	t.Logf("gone after %s, healthy again after %s", gone.Round(time.Second), time.Since(begin).Round(time.Second))
	recovered, err := r.RowHash(t.Context(), lab.RecoveryDatabase, lab.RecoveryTable)
	require.NoError(t, err)
	require.Equal(t, hash, recovered)
	after, err := r.SQL(t.Context(), identity)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSuffix(before, "|1")+"|2", after, "the same system on a new timeline")
	r.archivesAndBacksUp(t)
}

// archivesAndBacksUp has CloudNativePG itself take a backup into the new server.
func (r recoveries) archivesAndBacksUp(t *testing.T) {
	eventually(t, "ContinuousArchiving", func() bool {
		cluster, err := r.Cluster(t.Context(), lab.RecoveryCluster)
		require.NoError(t, err)
		for _, condition := range cluster.Status.Conditions {
			if condition.Type == string(apiv1.ConditionContinuousArchiving) {
				return condition.Status == metav1.ConditionTrue
			}
		}
		return false
	})
	applier, err := r.Kubernetes.Applier()
	require.NoError(t, err)
	backup := decodeOne(t, `apiVersion: postgresql.cnpg.io/v1
kind: Backup
metadata: {name: proof, namespace: cloudnative-pg}
spec: {cluster: {name: immich-database}, method: barmanObjectStore}
`)
	require.NoError(t, applier.Apply(t.Context(), backup))
	var status map[string]any
	eventually(t, "the backup is complete", func() bool {
		object, err := applier.Get(t.Context(), backup)
		require.NoError(t, err)
		status, _ = object.Object["status"].(map[string]any)
		require.NotEqual(t, "failed", status["phase"], "%v", status)
		return status["phase"] == "completed"
	})
	require.Equal(t, "immich-database-v2", status["serverName"])
	inventory, err := r.Inventory(t.Context())
	require.NoError(t, err)
	require.Contains(t, inventory, fmt.Sprintf("cnpg/immich/immich-database-v2/base/%s/backup.info", status["backupId"]))
	require.Contains(t, inventory, "cnpg/immich/immich-database-v2/wals/00000002.history.gz", "CloudNativePG compresses it like any segment")
}

func (r recoveries) volumesOf(t *testing.T, cluster string) (data, wal lab.ProvisionedVolume) {
	t.Helper()
	volumes, err := r.Volumes(t.Context())
	require.NoError(t, err)
	for _, volume := range volumes {
		switch volume.Claim {
		case lab.RecoveryNamespace + "/" + cluster + "-1":
			data = volume
		case lab.RecoveryNamespace + "/" + cluster + "-1-wal":
			wal = volume
		}
	}
	require.NotEmpty(t, data.Folder)
	require.NotEmpty(t, wal.Folder)
	return data, wal
}

func (r recoveries) volume(t *testing.T, name string) lab.ProvisionedVolume {
	t.Helper()
	volumes, err := r.Volumes(t.Context())
	require.NoError(t, err)
	for _, volume := range volumes {
		if volume.Name == name {
			return volume
		}
	}
	return lab.ProvisionedVolume{}
}
