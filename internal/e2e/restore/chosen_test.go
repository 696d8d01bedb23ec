package restore

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
	"github.com/drctl/drctl/internal/recovery"
)

// identity is whom the platform's movers back a claim up as.
func identity(namespace, claim string) recovery.KopiaSource {
	return recovery.KopiaSource{Username: claim + "-backup", Hostname: namespace, Path: "/data"}
}

// TestWhichSnapshot restores beside the claim what was asked for, and nothing else: by moment, by number, by
// ID, and of another claim.
func TestWhichSnapshot(t *testing.T) {
	a := prepare(t, restoreworld.Beside)
	w := world(t)
	hashes := map[string]string{a.Backup.ID: a.Hash}
	ids, starts := []string{a.Backup.ID}, []string{a.Backup.StartTime}
	for range 2 {
		hash, err := w.FillClaim(t.Context(), restoreworld.Namespace, restoreworld.Claim, uint64(time.Now().UnixNano()))
		require.NoError(t, err)
		backup, err := w.Backup(t.Context(), restoreworld.Namespace, restoreworld.Claim)
		require.NoError(t, err)
		hashes[backup.ID] = hash
		ids, starts = append(ids, backup.ID), append(starts, backup.StartTime)
	}
	require.Len(t, slices.Compact(slices.Sorted(maps.Values(hashes))), 3)
	other, otherHash := otherClaim(t)
	for name, ask := range map[string]struct {
		args []string
		hash string
	}{
		"the newest":             {nil, hashes[ids[2]]},
		"as of a moment":         {[]string{"--as-of", starts[1]}, hashes[ids[1]]},
		"before a moment":        {[]string{"--as-of", justBefore(t, starts[1])}, hashes[ids[0]]},
		"back by one":            {[]string{"--previous", "1"}, hashes[ids[1]]},
		"by the ID's beginning":  {[]string{"--snapshot", ids[0][:12]}, hashes[ids[0]]},
		"back behind a moment":   {[]string{"--as-of", starts[2], "--previous", "2"}, hashes[ids[0]]},
		"what another claim had": {[]string{"--from", other}, otherHash},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, w.Tidy(t.Context()))
			got := run(t, a, restoreworld.Beside.Args(ask.args...)...)
			require.Zero(t, got.ExitCode)
			hash, err := w.ClaimHash(t.Context(), restoreworld.Namespace, restoreworld.Copy)
			require.NoError(t, err)
			require.Equal(t, ask.hash, hash)
		})
	}
	require.NoError(t, w.Tidy(t.Context()))
}

func justBefore(t *testing.T, moment string) string {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, moment)
	require.NoError(t, err)
	return at.Add(-time.Nanosecond).Format(time.RFC3339Nano)
}

// otherClaim is a claim of another namespace with a backup of its own.
func otherClaim(t *testing.T) (name, hash string) {
	t.Helper()
	w := world(t)
	const namespace = "other"
	require.NoError(t, w.AddClaim(t.Context(), lab.RestoreClaim{Namespace: namespace, Name: "files"}))
	hash, err := w.FillClaim(t.Context(), namespace, "files", uint64(time.Now().UnixNano()))
	require.NoError(t, err)
	_, err = w.Backup(t.Context(), namespace, "files")
	require.NoError(t, err)
	return namespace + "/files", hash
}

// TestClaimGone: the claim is created anew from the GitOps tree, though no object of it is left.
func TestClaimGone(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	w := world(t)
	w.Argo.Pause() // it would create the claim at once, by its own means
	t.Cleanup(w.Argo.Resume)
	removeClaim(t, restoreworld.Namespace, restoreworld.Claim)
	got := run(t, a, a.Operation()...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "neither the API nor the GitOps tree has it")
	require.Contains(t, got.Stderr, "--gitops DIR, or describe it: --size 10Gi")
	tree, err := w.Stack.Dir("application")
	require.NoError(t, err)
	got = run(t, a, append(a.Operation(), "--gitops", tree)...)
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "is created from the GitOps tree")
	w.Argo.Resume()
	require.NoError(t, w.Settled(t.Context()))
	after, err := w.Look(t.Context())
	require.NoError(t, err)
	is := after.Claims[restoreworld.Claim]
	require.Equal(t, a.Hash, after.Volumes[is.Volume].Hash)
	require.Empty(t, after.Left)
	require.Empty(t, after.Differs)
	require.Equal(t, "Synced Healthy", after.Argo)
	require.Equal(t, []int{a.Before.Replicas, a.Before.Ready}, []int{after.Replicas, after.Ready})
	require.Equal(t, map[string]string{"Secret": is.UID, destinationKind: is.UID}, after.Generated)
}

// removeClaim deletes a claim and the Pods that mount it, and waits until it is gone.
func removeClaim(t *testing.T, namespace, name string) {
	t.Helper()
	claims, pods := client(t).CoreV1().PersistentVolumeClaims(namespace), client(t).CoreV1().Pods(namespace)
	require.NoError(t, claims.Delete(t.Context(), name, metav1.DeleteOptions{}))
	require.NoError(t, pods.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	require.Eventually(t, func() bool {
		list, err := claims.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		return err == nil && len(list.Items) == 0
	}, 2*time.Minute, 100*time.Millisecond)
}

// TestClaimDescribed: neither the cluster nor Git knows the claim, its backups are all there is.
func TestClaimDescribed(t *testing.T) {
	w := world(t)
	const namespace = "described"
	require.NoError(t, w.AddNamespace(t.Context(), namespace))
	folder := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.Mkdir(folder, 0o755))
	require.NoError(t, lab.WriteRestoreTree(folder, 77, lab.MoverID))
	hash, err := lab.TreeHash(folder)
	require.NoError(t, err)
	backup, err := w.BackupFolder(t.Context(), folder, identity(namespace, "lost"))
	require.NoError(t, err)
	o := operator(t)
	t.Cleanup(func() { endPlans(t, o) })
	got := run(t, o, "pvc", "restore", namespace+"/lost", "--size", "2Gi", "--storage-class", lab.RestoreClass, "--access-mode", "ReadWriteOncePod", "--yes")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, backup.ID)
	is, err := w.ClaimHash(t.Context(), namespace, "lost")
	require.NoError(t, err)
	require.Equal(t, hash, is)
	claim, err := client(t).CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), "lost", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(2<<30), claim.Spec.Resources.Requests.Storage().Value())
	require.Equal(t, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}, claim.Spec.AccessModes)
}
