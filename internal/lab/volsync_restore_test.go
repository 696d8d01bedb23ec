package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
)

func recoveryResource(kind string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "volsync.backube", Version: "v1alpha1", Resource: strings.ToLower(kind) + "s"}
}

// Source: perfectra1n/volsync mover.go, handleJobCompletion; volumehandler.go, ensureImageSnapshot;
// volumepopulator_controller.go.
func (m movers) restoresAndPopulates(t *testing.T) {
	ns := "end-to-end"
	lines := m.data(t, ns)
	require.EqualValues(t, 13, m.backup(t, ns).Files)
	m.destination(t, ns, "mine", ownVolume+`
    sourceIdentity: {sourceName: data-backup}`)
	object := m.done(t, rdKind, ns, "mine", "first")
	require.Equal(t, "Successful", result(object), "%v", object.Object["status"])
	require.Regexp(t, `^volsync-mine-dest-\d{14}$`, field(object, "status", "latestImage", "name"))
	require.Equal(t, "data-backup@end-to-end", field(object, "status", "kopia", "requestedIdentity"))
	require.NotContains(t, moverLines(object), "Selected snapshot", "the filter of the fork does not keep it")
	require.NotContains(t, moverLines(object), "Restored 13 files")
	m.claim(t, ns, "again", lab.RestoreClass, "mine")
	require.Equal(t, lines, m.lines(t, ns, "again"))
	eventually(t, "the run's own objects are gone", func() bool {
		jobs, err := m.client.BatchV1().Jobs(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		pods, err := m.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		claims, err := m.client.CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		// data, again and the temporary claim, which is kept.
		return len(jobs.Items) == 0 && len(pods.Items) == 0 && len(claims.Items) == 3
	})
}

// Source: perfectra1n/volsync mover-kopia/entry.sh, do_restore; mover.go, handleJobCompletion.
func (m movers) nothingIsSuccess(t *testing.T) {
	ns := "nothing"
	m.data(t, ns)
	m.destination(t, ns, "wrong", ownVolume+`
    username: nobody
    hostname: nowhere`)
	object := m.done(t, rdKind, ns, "wrong", "first")
	require.Equal(t, "Successful", result(object))
	require.NotEmpty(t, field(object, "status", "latestImage", "name"))
	m.claim(t, ns, "again", lab.RestoreClass, "wrong")
	require.Empty(t, m.lines(t, ns, "again"))
}

// Source: measured with Kopia 0.23.1: snapshot list --json has checkpoints without --incomplete.
func (m movers) checkpointIsSelected(t *testing.T) {
	ns := "checkpoint"
	require.NoError(t, m.AddNamespace(t.Context(), ns))
	require.NoError(t, m.AddSecret(t.Context(), ns, "opens"))
	for name, previous := range map[string]string{"newest": "", "before": "\n    previous: 1"} {
		m.destination(t, ns, name, ownVolume+`
    sourceIdentity: {sourceName: half-backup}`+previous)
		require.Equal(t, "Successful", result(m.done(t, rdKind, ns, name, "first")))
	}
	count := func(claim string) (files int) {
		for _, line := range m.lines(t, ns, claim) {
			if strings.Contains(line, `" -`) {
				files++
			}
		}
		return files
	}
	require.Equal(t, 1, count("volsync-newest-dest"))
	require.Equal(t, 6, count("volsync-before-dest"))
}

// Source: perfectra1n/volsync mover-kopia/entry.sh, select_snapshot_to_restore.
func (m movers) asOfIsText(t *testing.T) {
	ns := "as-of"
	first := m.data(t, ns)
	one := m.backup(t, ns)
	_, err := m.FillClaim(t.Context(), ns, "data", 2)
	require.NoError(t, err)
	second := m.lines(t, ns, "data")
	two := m.backup(t, ns)
	// A whole second is a later text than the same second with a fraction: "Z" comes after ".".
	whole := strings.SplitN(two.StartTime, ".", 2)[0] + "Z"
	require.Contains(t, two.StartTime, ".", "a start of a whole second would prove nothing")
	for name, want := range map[string]struct {
		asOf  string
		lines []string
	}{"exact": {one.StartTime, first}, "second": {whole, second}} {
		m.destination(t, ns, name, ownVolume+`
    sourceIdentity: {sourceName: data-backup}
    restoreAsOf: "`+want.asOf+`"`)
		m.done(t, rdKind, ns, name, "first")
		require.Equal(t, want.lines, m.lines(t, ns, "volsync-"+name+"-dest"), name)
	}
}

// Source: perfectra1n/volsync mover-kopia/entry.sh, do_restore.
func (m movers) wipesFirst(t *testing.T) {
	ns := "wiped"
	lines := m.data(t, ns)
	m.backup(t, ns)
	direct := "\n    copyMethod: Direct\n    destinationPVC: data"
	folder, err := m.WaitBound(t.Context(), ns, "data")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "newer"), nil, 0o644))
	m.destination(t, ns, "merge", direct+"\n    sourceIdentity: {sourceName: data-backup}")
	object := m.done(t, rdKind, ns, "merge", "first")
	require.Equal(t, "PersistentVolumeClaim", field(object, "status", "latestImage", "kind"))
	require.Contains(t, files(m.lines(t, ns, "data")), "newer", "what the snapshot does not have stays")
	m.destination(t, ns, "exact", direct+"\n    enableFileDeletion: true\n    sourceIdentity: {sourceName: data-backup}")
	m.done(t, rdKind, ns, "exact", "first")
	require.Equal(t, lines, m.lines(t, ns, "data"))
	m.destination(t, ns, "wipe", direct+"\n    enableFileDeletion: true\n    sourceIdentity: {sourceName: other}")
	require.Equal(t, "Successful", result(m.done(t, rdKind, ns, "wipe", "first")))
	require.Empty(t, m.lines(t, ns, "data"))
}

// Source: backube/volsync volumehandler.go, EnsureNewPVC; perfectra1n/volsync mover.go, ensureDestinationPVC;
// utils/cleanup.go, MarkOldSnapshotForCleanup.
func (m movers) mergesIntoLeftClaim(t *testing.T) {
	ns := "left"
	m.data(t, ns)
	m.backup(t, ns)
	m.destination(t, ns, "kept", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
	m.destination(t, ns, "fresh", ownVolume+"\n    cleanupTempPVC: true\n    sourceIdentity: {sourceName: data-backup}")
	old := field(m.done(t, rdKind, ns, "kept", "first"), "status", "latestImage", "name")
	m.done(t, rdKind, ns, "fresh", "first")
	eventually(t, "the temporary claim is gone", func() bool {
		claims, err := m.client.CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		return len(claims.Items) == 2
	})
	require.NoError(t, m.EmptyClaim(t.Context(), ns, "data"))
	folder, err := m.WaitBound(t.Context(), ns, "data")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "only"), []byte("one"), 0o644))
	m.backup(t, ns)
	m.trigger(t, rdKind, ns, "kept", "second")
	object := m.done(t, rdKind, ns, "kept", "second")
	require.NotEqual(t, old, field(object, "status", "latestImage", "name"))
	require.Subset(t, files(m.lines(t, ns, "volsync-kept-dest")), []string{"only", "plain.txt"})
	eventually(t, "the image before is gone", func() bool {
		snapshots, err := m.untyped.Resource(snapshots()).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, snapshot := range snapshots.Items {
			if snapshot.GetName() == old {
				return false
			}
		}
		return true
	})
}

func snapshots() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
}

// Source: perfectra1n/volsync mover.go, handleJobStatus.
func (m movers) failsThenRuns(t *testing.T) {
	ns := "fails"
	lines := m.data(t, ns)
	m.backup(t, ns)
	m.order(t, rdKind, ns, lab.AnyName, lab.OrderFail(1))
	m.destination(t, ns, "mine", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
	eventually(t, "the failure is reported", func() bool {
		object := m.replication(t, rdKind, ns, "mine")
		return result(object) == "Failed" && strings.Contains(moverLines(object), "Failed to restore snapshot") || result(object) == "Successful"
	})
	require.Equal(t, "Successful", result(m.done(t, rdKind, ns, "mine", "first")))
	require.Equal(t, lines, m.lines(t, ns, "volsync-mine-dest"))
}

// Source: admission of Pods; Jobs try again. A quota stands for anything that admits none.
func (m movers) heldBack(t *testing.T) {
	ns := "held"
	m.data(t, ns)
	m.backup(t, ns)
	none := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	quotas := m.client.CoreV1().ResourceQuotas(ns)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the quota counts", func() bool {
		quota, err := quotas.Get(t.Context(), "none", metav1.GetOptions{})
		require.NoError(t, err)
		return len(quota.Status.Hard) > 0
	})
	m.destination(t, ns, "mine", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
	eventually(t, "the Job is there", func() bool {
		job, err := m.client.BatchV1().Jobs(ns).Get(t.Context(), "volsync-dst-mine", metav1.GetOptions{})
		return err == nil && job.Labels["app.kubernetes.io/created-by"] == "volsync"
	})
	require.Never(t, func() bool {
		pods, err := m.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(pods.Items) > 0
	}, 3*time.Second, 200*time.Millisecond)
	reason, _ := synchronizing(m.replication(t, rdKind, ns, "mine"))
	require.Equal(t, "SyncInProgress", reason)
	require.NoError(t, quotas.Delete(t.Context(), "none", metav1.DeleteOptions{}))
	require.Equal(t, "Successful", result(m.done(t, rdKind, ns, "mine", "first")))
}

// Source: perfectra1n/volsync mover.go, configureSecurityContext; backube/volsync utils/namespace.go.
func (m movers) owners(t *testing.T) {
	for _, ns := range []string{"unprivileged", "privileged"} {
		m.data(t, ns)
		folder, err := m.WaitBound(t.Context(), ns, "data")
		require.NoError(t, err)
		require.NoError(t, lab.WriteRestoreTree(folder, 3, 1234))
		m.backup(t, ns)
	}
	m.apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: privileged, annotations: {volsync.backube/privileged-movers: \"true\"}}")
	for _, ns := range []string{"unprivileged", "privileged"} {
		m.destination(t, ns, "mine", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
		require.Equal(t, "Successful", result(m.done(t, rdKind, ns, "mine", "first")))
	}
	restored := m.lines(t, "privileged", "volsync-mine-dest")
	for i, line := range m.lines(t, "privileged", "data") {
		// Without the capability FSETID, which VolSync does not give, root sets that bit for groups of its own only.
		require.Equal(t, strings.Replace(line, " dgrwx", " drwx", 1), restored[i])
	}
	for _, line := range m.lines(t, "unprivileged", "volsync-mine-dest") {
		require.Contains(t, line, " 568:568 ")
	}
}
