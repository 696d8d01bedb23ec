package storage

import (
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const restored = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  namespace: %NS%
  name: data
  labels: {backup: hourly, drctl.dev/plan: p1}
  annotations: {drctl.dev/plan: p1, argocd.argoproj.io/sync-wave: "-2"}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: longhorn
  resources: {requests: {storage: 2Gi}}
  dataSourceRef: {apiGroup: volsync.backube, kind: ReplicationDestination, name: p1}
`

func readsClaims(c *cluster) {
	claim, err := c.Claim(c.Context(), "claims", "data")
	require.NoError(c, err)
	require.Nil(c, claim)
	made := c.create(claims(), inNamespace(restored, "claims"))
	claim, err = c.Claim(c.Context(), "claims", "data")
	require.NoError(c, err)
	require.Contains(c, string(claim.Manifest), `"storageClassName":"longhorn"`)
	claim.Manifest = nil
	require.Equal(c, &recovery.LiveClaim{
		Namespace: "claims", Name: "data", UID: string(made.GetUID()), PlanID: "p1", Holding: []string{"kubernetes.io/pvc-protection"},
		Phase: "Pending", Backup: "hourly", Source: "p1", StorageClass: "longhorn", AccessModes: []string{"ReadWriteOnce"},
		RequestBytes: 2 << 30, Wave: -2,
	}, claim)

	require.Eventually(c, func() bool {
		look, err := c.LookClaim(c.Context(), "claims", "data")
		return err == nil && look != nil && look.UID == claim.UID
	}, within, time.Millisecond)
	all, err := c.Claims(c.Context(), "claims")
	require.NoError(c, err)
	require.Len(c, all, 1)
	look, err := c.LookClaim(c.Context(), "claims", "other")
	require.NoError(c, err)
	require.Nil(c, look)

	require.ErrorIs(c, c.DeleteClaim(c.Context(), "claims", "data", "another"), recovery.ErrConflict)
	require.NoError(c, c.DeleteClaim(c.Context(), "claims", "data", claim.UID))
	require.Eventually(c, func() bool {
		gone, err := c.LookClaim(c.Context(), "claims", "data")
		return err == nil && gone == nil
	}, within, time.Millisecond)
	require.ErrorIs(c, c.DeleteClaim(c.Context(), "claims", "data", claim.UID), recovery.ErrNotFound)
}

func createsClaims(c *cluster) {
	manifest := c.manifest(inNamespace(restored, "creation"))
	require.NoError(c, c.AdmitClaim(c.Context(), manifest))
	claim, err := c.Claim(c.Context(), "creation", "data")
	require.NoError(c, err)
	require.Nil(c, claim, "a dry run makes nothing")
	uid, err := c.CreateClaim(c.Context(), manifest)
	require.NoError(c, err)
	require.NotEmpty(c, uid)
	_, err = c.CreateClaim(c.Context(), manifest)
	require.ErrorIs(c, err, recovery.ErrExists)
	require.NoError(c, c.AdmitClaim(c.Context(), manifest), "the claim that is there is no objection")

	c.create(core("resourcequotas"), `{apiVersion: v1, kind: ResourceQuota, metadata: {namespace: creation, name: small}, spec: {hard: {requests.storage: 3Gi}}}`)
	require.Eventually(c, func() bool {
		_, found := c.get(core("resourcequotas"), "creation", "small").Object["status"].(map[string]any)["used"]
		return found
	}, within, 50*time.Millisecond)
	require.ErrorIs(c, c.AdmitClaim(c.Context(), manifest), recovery.ErrInvalid, "a quota is asked as well")
	require.ErrorIs(c, c.AdmitClaim(c.Context(), c.manifest(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: creation, name: x}, spec: {}}`)), recovery.ErrInvalid)
}

func releasesClaims(c *cluster) {
	uid, err := c.CreateClaim(c.Context(), c.manifest(inNamespace(restored, "release")))
	require.NoError(c, err)
	git := c.object(inNamespace(restored, "release"))
	git.SetAnnotations(map[string]string{"argocd.argoproj.io/sync-wave": "-2"})
	git.SetLabels(map[string]string{"backup": "hourly"})
	_, err = c.kube.Apply(c.Context(), claims(), git, kube.WriteOptions{FieldManager: "argocd-controller", Force: true})
	require.NoError(c, err)

	require.ErrorIs(c, c.ReleaseClaim(c.Context(), "release", "data", "another", "p1"), recovery.ErrConflict)
	require.NoError(c, c.ReleaseClaim(c.Context(), "release", "data", uid, "p1"))
	live := c.get(claims(), "release", "data")
	require.NotContains(c, live.GetAnnotations(), recovery.PlanMark)
	require.NotContains(c, live.GetLabels(), recovery.PlanMark)
	require.NotContains(c, managers(live), kube.FieldManager)
	require.Contains(c, managers(live), "argocd-controller")
	require.Equal(c, "hourly", live.GetLabels()["backup"])
	before := live.GetResourceVersion()
	require.NoError(c, c.ReleaseClaim(c.Context(), "release", "data", uid, "p1"), "once more")
	require.Equal(c, before, c.get(claims(), "release", "data").GetResourceVersion())

	git.SetLabels(nil)
	_, err = c.kube.Apply(c.Context(), claims(), git, kube.WriteOptions{FieldManager: "argocd-controller", Force: true})
	require.NoError(c, err)
	require.NotContains(c, c.get(claims(), "release", "data").GetLabels(), "backup", "a label that leaves Git leaves the claim")
}

func releasesUnowned(c *cluster) {
	uid, err := c.CreateClaim(c.Context(), c.manifest(inNamespace(restored, "release-unowned")))
	require.NoError(c, err)
	require.NoError(c, c.ReleaseClaim(c.Context(), "release-unowned", "data", uid, "another-plan"))
	require.Equal(c, "p1", c.get(claims(), "release-unowned", "data").GetAnnotations()[recovery.PlanMark], "that mark is another plan's")
	require.NoError(c, c.ReleaseClaim(c.Context(), "release-unowned", "data", uid, "p1"))
	live := c.get(claims(), "release-unowned", "data")
	require.NotContains(c, live.GetAnnotations(), recovery.PlanMark)
	require.Contains(c, managers(live), kube.FieldManager, "somebody must own the spec")
}

func keepsVolumes(c *cluster) {
	c.create(core("persistentvolumes"), `{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv-old}, spec: {
		capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Delete, storageClassName: folders,
		hostPath: {path: /tmp/none}, claimRef: {namespace: volumes, name: data}}}`)
	made := c.create(claims(), `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: volumes, name: data}, spec: {
		accessModes: [ReadWriteOnce], storageClassName: folders, volumeName: pv-old, resources: {requests: {storage: 1Gi}}}}`)
	uid := string(made.GetUID())
	volume := func() *recovery.LiveVolume {
		found, err := c.Volume(c.Context(), "pv-old")
		require.NoError(c, err)
		return found
	}
	require.Eventually(c, func() bool { return volume().Phase == "Bound" }, within, 50*time.Millisecond)
	require.Equal(c, &recovery.LiveVolume{Name: "pv-old", Phase: "Bound", ReclaimPolicy: "Delete", ClaimUID: uid, SizeBytes: 1 << 30}, volume())

	require.ErrorIs(c, c.SetReclaimPolicy(c.Context(), "pv-old", "another", "Retain"), recovery.ErrConflict)
	require.NoError(c, c.SetReclaimPolicy(c.Context(), "pv-old", uid, "Retain"))
	require.NoError(c, c.SetReclaimPolicy(c.Context(), "pv-old", uid, "Retain"), "once more")
	require.NoError(c, c.DeleteClaim(c.Context(), "volumes", "data", uid))
	require.Eventually(c, func() bool { return volume().Phase == "Released" }, within, 50*time.Millisecond)
	require.ErrorIs(c, c.SetReclaimPolicy(c.Context(), "pv-old", uid, "Delete"), recovery.ErrConflict, "it would be gone within seconds")
	require.Equal(c, "Retain", volume().ReclaimPolicy)

	gone, err := c.Volume(c.Context(), "pv-none")
	require.NoError(c, err)
	require.Nil(c, gone)
	require.NoError(c, c.kube.Delete(c.Context(), core("persistentvolumes"), "", "pv-old", kube.Preconditions{}, metav1.DeletePropagationBackground))
}
