package restore

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

// TestNothingRestored: the mover finds no snapshot, restores nothing, and calls that a success.
func TestNothingRestored(t *testing.T) {
	for _, mode := range []restoreworld.Mode{restoreworld.Replace, restoreworld.Beside} {
		t.Run(string(mode), func(t *testing.T) {
			a := prepare(t, mode)
			order(t, destinationKind, restoreworld.Namespace, lab.OrderNothing)
			got := run(t, a, a.Operation()...)
			require.Equal(t, 3, got.ExitCode)
			require.Contains(t, got.Stderr, "the mover found no snapshot of data-backup@notes:/data, and restored nothing")
			require.Contains(t, got.Stderr, "nothing of the claim was touched, and what drctl made is removed")
			require.Contains(t, got.Stderr, "compare the identities: drctl pvc snapshots "+target)
			require.NoError(t, a.Untouched(t.Context()))
		})
	}
}

// TestCheckpointRestored: a checkpoint began in the same second as the snapshot. By its text that is before it,
// by the clock behind it, so the mover takes the checkpoint, and a part of the files comes back.
func TestCheckpointRestored(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	before, err := time.Parse(time.RFC3339Nano, a.Backup.StartTime)
	require.NoError(t, err)
	// Of that second there must be no other snapshot, which would be the newer one.
	time.Sleep(time.Until(before.Truncate(time.Second).Add(time.Second)))
	checkpoint := halfSnapshot(t)
	moment, err := time.Parse(time.RFC3339Nano, checkpoint.StartTime)
	require.NoError(t, err)
	whole := snapshotAt(t, moment.Truncate(time.Second))
	require.NotEqual(t, whole.ID, checkpoint.ID)

	got := run(t, a, a.Operation()...)
	require.Equal(t, 3, got.ExitCode)
	require.Contains(t, got.Stderr, "the proof decides which one the mover took")
	require.Contains(t, got.Stderr, "the mover restored another snapshot: "+checkpoint.ID)
	require.Contains(t, got.Stderr, "expected snapshot "+whole.ID)
	require.Contains(t, got.Stderr, "drctl pvc snapshots "+target+" --incomplete")
	got = run(t, a, "pvc", "snapshots", target, "--incomplete")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, checkpoint.ID[:10])

	got = run(t, a, append(a.Operation(), "--snapshot", checkpoint.ID)...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "it is incomplete")
	require.Contains(t, got.Stderr, "choose a complete one (drctl pvc snapshots "+target+")")
	a.Before.Snapshots = nil // those that were taken for this test come and go
	require.NoError(t, a.Untouched(t.Context()))
}

// snapshotOfClaim runs `kopia snapshot create` for the claim of the application.
func snapshotOfClaim(t *testing.T, args ...string) lab.KopiaBackup {
	t.Helper()
	w := world(t)
	folder, err := w.WaitBound(t.Context(), restoreworld.Namespace, restoreworld.Claim)
	require.NoError(t, err)
	as := identity(restoreworld.Namespace, restoreworld.Claim).String()
	out, err := w.Kopia.Run(t.Context(), append([]string{"snapshot", "create", folder, "--override-source", as, "--json", "--no-progress"}, args...)...)
	require.NoError(t, err)
	var manifest struct {
		ID        string `json:"id"`
		StartTime string `json:"startTime"`
		RootEntry struct {
			Summary struct {
				Files int64 `json:"files"`
			} `json:"summ"`
		} `json:"rootEntry"`
	}
	require.NoError(t, json.Unmarshal(out, &manifest))
	t.Cleanup(func() {
		_, err := w.Kopia.Run(context.WithoutCancel(t.Context()), "snapshot", "delete", manifest.ID, "--delete")
		require.NoError(t, err)
	})
	// An export of the platform's makes everything the movers'.
	require.NoError(t, filepath.WalkDir(w.Repository, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, lab.MoverID, lab.MoverID)
	}))
	return lab.KopiaBackup{ID: manifest.ID, StartTime: manifest.StartTime, Files: manifest.RootEntry.Summary.Files}
}

// halfSnapshot is one that ended before it was whole.
func halfSnapshot(t *testing.T) lab.KopiaBackup {
	t.Helper()
	w := world(t)
	folder, err := w.WaitBound(t.Context(), restoreworld.Namespace, restoreworld.Claim)
	require.NoError(t, err)
	for _, name := range []string{"a-large-one", "z-large-one"} {
		content := make([]byte, 3<<20)
		copy(content, name+time.Now().String())
		for i := 64; i < len(content); i++ {
			content[i] = byte(i*i>>7) ^ content[i%64]
		}
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Lchown(path, lab.MoverID, lab.MoverID))
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	half := snapshotOfClaim(t, "--upload-limit-mb", "1", "--parallel", "1")
	for _, name := range []string{"a-large-one", "z-large-one"} {
		require.NoError(t, os.Remove(filepath.Join(folder, name)))
	}
	return half
}

func snapshotAt(t *testing.T, moment time.Time) lab.KopiaBackup {
	t.Helper()
	return snapshotOfClaim(t, "--start-time", moment.UTC().Format("2006-01-02 15:04:05 MST"))
}

// TestStaleImage: what the policy generated restored once, when it was made. A claim that is deleted and created
// again is populated from that; drctl's restore is not.
func TestStaleImage(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	w := world(t)
	generated, err := w.Replication(t.Context(), destinationKind, restoreworld.Namespace, restoreworld.Claim+"-backup")
	require.NoError(t, err)
	require.NotNil(t, generated)
	name, _, _ := unstructured.NestedString(generated.Object, "status", "latestImage", "name")
	require.NotEmpty(t, name)
	image, err := untyped(t).Resource(volumeSnapshots()).Namespace(restoreworld.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	stale, err := lab.TreeHash(w.Snapshotter.Folder(string(image.GetUID())))
	require.NoError(t, err)
	require.NotEqual(t, a.Hash, stale, "the image is of another time")

	got := run(t, a, a.Operation()...)
	require.Zero(t, got.ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

func volumeSnapshots() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
}

// TestCollidingIdentity: two claims have names that VolSync cuts to the same one, so both back up into one place.
func TestCollidingIdentity(t *testing.T) {
	const namespace = "collide"
	w, o := world(t), operator(t)
	t.Cleanup(func() { endPlans(t, o) })
	long := strings.Repeat("very-long-name-", 3) + "of-a-claim"
	claims := []string{long + "-one", long + "-two"}
	for i, claim := range claims {
		require.NoError(t, w.AddClaim(t.Context(), lab.RestoreClaim{Namespace: namespace, Name: claim}))
		_, err := w.FillClaim(t.Context(), namespace, claim, uint64(500+i))
		require.NoError(t, err)
	}
	first, err := w.Backup(t.Context(), namespace, claims[0])
	require.NoError(t, err)
	second, err := w.Backup(t.Context(), namespace, claims[1])
	require.NoError(t, err)
	// One has its ReplicationSource, the other is younger than the policy's two hours.
	require.NoError(t, w.AddSecret(t.Context(), namespace, "opens"))
	require.NoError(t, w.Apply(t.Context(), `
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata: {namespace: `+namespace+`, name: `+claims[1]+`-backup}
spec:
  sourcePVC: `+claims[1]+`
  paused: true
  trigger: {manual: never}
  kopia: {repository: opens, copyMethod: Snapshot, volumeSnapshotClassName: longhorn-snapclass}`))

	name := namespace + "/" + claims[0]
	got := run(t, o, "pvc", "restore", name, "--yes")
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, name+" and "+namespace+"/"+claims[1]+" all back up as")
	look := regexp.MustCompile(`drctl (pvc files \S+ --snapshot) ID`).FindStringSubmatch(got.Stderr)
	require.NotNil(t, look, "it says what to do")
	got = run(t, o, append(strings.Fields(look[1]), first.ID)...)
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, "plain.txt")

	require.NotEqual(t, first.ID, second.ID)
	got = run(t, o, "pvc", "restore", name, "--snapshot", first.ID, "--new-name", "look", "--yes")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "may hold the data of any of them")
	want, err := w.ClaimHash(t.Context(), namespace, claims[0])
	require.NoError(t, err)
	is, err := w.ClaimHash(t.Context(), namespace, "look")
	require.NoError(t, err)
	require.Equal(t, want, is)
}

// TestWipedVolume: in place the mover empties the volume, and then finds nothing. What was there comes back by the
// command that drctl gives; with the cause mended, resume ends the restore.
func TestWipedVolume(t *testing.T) {
	a := prepare(t, restoreworld.InPlace)
	w := world(t)
	order(t, destinationKind, restoreworld.Namespace, lab.OrderNothing)
	got := run(t, a, a.Operation()...)
	require.Equal(t, 4, got.ExitCode)
	id := onlyPlan(t, a.Operator)
	require.Contains(t, got.Stderr, "restored nothing")
	require.Contains(t, got.Stderr, "the volume as it was is VolumeSnapshot "+id+"-before")
	require.Contains(t, got.Stderr, "drctl abort "+id+" --give-up")
	require.Contains(t, got.Stderr, "drctl resume "+id)
	after, err := w.Look(t.Context())
	require.NoError(t, err)
	was := a.Before.Volumes[a.Before.Claims[restoreworld.Claim].Volume]
	require.Equal(t, was.Hash, after.Images[id+"-before"])
	require.Zero(t, after.Ready, "no Pod is let at the volume")

	rescued := bringBack(t, got.Stderr)
	hash, err := w.ClaimHash(t.Context(), restoreworld.Namespace, rescued)
	require.NoError(t, err)
	require.Equal(t, was.Hash, hash)
	removeOnly(t, rescued)

	require.Equal(t, 4, run(t, a, "resume").ExitCode, "nothing was mended")
	behave(t, destinationKind, restoreworld.Namespace)
	require.Zero(t, run(t, a, "resume").ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// bringBack runs the command that drctl gives for a claim with the old data, and gives that claim's name.
func bringBack(t *testing.T, said string) string {
	t.Helper()
	command := regexp.MustCompile(`echo '(\{.*?\})' \| kubectl create -f -`).FindStringSubmatch(said)
	require.NotNil(t, command, "no command brings it back")
	claim := &unstructured.Unstructured{}
	require.NoError(t, claim.UnmarshalJSON([]byte(command[1])))
	_, err := untyped(t).Resource(schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}).
		Namespace(claim.GetNamespace()).Create(t.Context(), claim, metav1.CreateOptions{})
	require.NoError(t, err)
	return claim.GetName()
}

func removeOnly(t *testing.T, claim string) {
	t.Helper()
	claims := client(t).CoreV1().PersistentVolumeClaims(restoreworld.Namespace)
	require.NoError(t, claims.Delete(t.Context(), claim, metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		list, err := claims.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + claim})
		return err == nil && len(list.Items) == 0
	}, time.Minute, 100*time.Millisecond)
	volumes := client(t).CoreV1().PersistentVolumes()
	require.Eventually(t, func() bool {
		list, err := volumes.List(t.Context(), metav1.ListOptions{})
		for _, volume := range list.Items {
			if of := volume.Spec.ClaimRef; of != nil && of.Name == claim && volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
				return false
			}
		}
		return err == nil
	}, time.Minute, 100*time.Millisecond)
}
