package restore

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

func replications(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "volsync.backube", Version: "v1alpha1", Resource: resource}
}

// loneClaim is a claim of an application that no GitOps tree has. Its files were backed up, and then spoilt.
type loneClaim struct {
	namespace string
	app       lab.RestoreApp
	backup    lab.KopiaBackup
	// hash is that of what was backed up, spoilt that of what there is now, in volume.
	hash, spoilt, volume string
}

const loneName = "files"

func (c *loneClaim) name() string { return c.namespace + "/" + loneName }

func lone(t *testing.T, namespace, class string) *loneClaim {
	t.Helper()
	return loneOf(t, "Deployment", namespace, class)
}

// loneOf is one whose application is of that kind; the class is the usual one unless one is named.
func loneOf(t *testing.T, kind, namespace string, class ...string) *loneClaim {
	t.Helper()
	w := world(t)
	c := &loneClaim{namespace: namespace, app: lab.RestoreApp{Kind: kind, Namespace: namespace, Name: "app", Claim: loneName}}
	require.NoError(t, w.AddClaim(t.Context(), lab.RestoreClaim{
		Namespace: namespace, Name: loneName, StorageClass: strings.Join(class, ""), Backup: "hourly",
	}))
	require.NoError(t, w.AddApp(t.Context(), c.app))
	c.backUp(t)
	return c
}

// backUp backs new files up and spoils them.
func (c *loneClaim) backUp(t *testing.T) {
	t.Helper()
	w := world(t)
	var err error
	c.hash, err = w.FillClaim(t.Context(), c.namespace, loneName, uint64(time.Now().UnixNano()))
	require.NoError(t, err)
	c.backup, err = w.Backup(t.Context(), c.namespace, loneName)
	require.NoError(t, err)
	c.spoilt, err = w.FillClaim(t.Context(), c.namespace, loneName, uint64(time.Now().UnixNano()))
	require.NoError(t, err)
	c.volume = c.live(t, loneName).Spec.VolumeName
}

func (c *loneClaim) live(t *testing.T, name string) *corev1.PersistentVolumeClaim {
	t.Helper()
	claim, err := client(t).CoreV1().PersistentVolumeClaims(c.namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return claim
}

// requireHeld asserts what a claim's volume holds, and that nothing of drctl's is left beside it.
func (c *loneClaim) requireHeld(t *testing.T, claim, hash string) {
	t.Helper()
	is, err := world(t).ClaimHash(t.Context(), c.namespace, claim)
	require.NoError(t, err)
	require.Equal(t, hash, is)
	require.NotContains(t, c.live(t, claim).Annotations, "drctl.dev/plan")
	for resource, kind := range map[string]schema.GroupVersionResource{
		"destination": replications("replicationdestinations"), "source": replications("replicationsources"),
		"Secret": {Version: "v1", Resource: "secrets"}, "Pod": {Version: "v1", Resource: "pods"}, "ConfigMap": {Version: "v1", Resource: "configmaps"},
	} {
		list, err := untyped(t).Resource(kind).Namespace(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=drctl"})
		require.NoError(t, err)
		require.Empty(t, list.Items, resource)
	}
}

// requireOldKept asserts that the old volume is there, with what it held.
func (c *loneClaim) requireOldKept(t *testing.T) {
	t.Helper()
	volume, err := client(t).CoreV1().PersistentVolumes().Get(t.Context(), c.volume, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.PersistentVolumeReclaimRetain, volume.Spec.PersistentVolumeReclaimPolicy)
	hash, err := lab.TreeHash(world(t).Provisioner.Folder(c.volume))
	require.NoError(t, err)
	require.Equal(t, c.spoilt, hash)
}

// TestFirstConsumer: the class binds a claim only when a Pod mounts it, and the fence holds all Pods back.
func TestFirstConsumer(t *testing.T) {
	c := lone(t, "late", lab.RestoreLateClass)
	o := operator(t)
	t.Cleanup(func() { endPlans(t, o) })
	got := run(t, o, "pvc", "restore", c.name(), "--yes")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "start a Pod that has the volume bound")
	c.requireHeld(t, loneName, c.hash)
	c.requireOldKept(t)
	require.NoError(t, world(t).WaitReady(t.Context(), c.app))

	got = run(t, o, "pvc", "restore", c.name(), "--new-name", "look", "--snapshot", c.backup.ID, "--yes")
	require.Zero(t, got.ExitCode)
	c.requireHeld(t, "look", c.hash)
}

// TestTerminatingClaim: a claim that is being deleted can't be had back. What drctl says first of all saves its
// volume, and a restore afterwards works.
func TestTerminatingClaim(t *testing.T) {
	c := lone(t, "going", lab.RestoreClass)
	o := operator(t)
	t.Cleanup(func() { endPlans(t, o) })
	claims := client(t).CoreV1().PersistentVolumeClaims(c.namespace)
	require.NoError(t, claims.Delete(t.Context(), loneName, metav1.DeleteOptions{}))
	for _, mode := range []string{"replace", "in-place"} {
		got := run(t, o, "pvc", "restore", c.name(), "--mode", mode, "--yes")
		require.Equal(t, 1, got.ExitCode)
		require.Contains(t, got.Stderr, "it is being deleted already, and that can't be taken back; held by kubernetes.io/pvc-protection")
		require.Contains(t, got.Stderr, "waiting for Pod app-")
		keep := regexp.MustCompile(`kubectl patch pv (\S+) -p '([^']+)'`).FindStringSubmatch(got.Stderr)
		require.NotNil(t, keep)
		require.Equal(t, c.volume, keep[1])
		_, err := client(t).CoreV1().PersistentVolumes().Patch(t.Context(), keep[1], types.StrategicMergePatchType, []byte(keep[2]), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, client(t).CoreV1().Pods(c.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	require.Eventually(t, func() bool {
		list, err := claims.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + loneName})
		return err == nil && len(list.Items) == 0
	}, 2*time.Minute, 100*time.Millisecond)
	got := run(t, o, "pvc", "restore", c.name(), "--size", "10Gi", "--storage-class", lab.RestoreClass, "--yes")
	require.Zero(t, got.ExitCode)
	c.requireHeld(t, loneName, c.hash)
	c.requireOldKept(t)
	require.NoError(t, world(t).WaitReady(t.Context(), c.app))
}

// TestPlainWayBack: after a replacement the command in the report brings the old volume back as another claim.
func TestPlainWayBack(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	got := run(t, a, a.Operation()...)
	require.Zero(t, got.ExitCode)
	require.NoError(t, a.Done(t.Context()))
	patch := regexp.MustCompile(`kubectl patch pv (\S+) --type=json -p '([^']+)'`).FindStringSubmatch(got.Stdout)
	require.NotNil(t, patch)
	_, err := client(t).CoreV1().PersistentVolumes().Patch(t.Context(), patch[1], types.JSONPatchType, []byte(patch[2]), metav1.PatchOptions{})
	require.NoError(t, err)
	rescued := bringBack(t, got.Stdout)
	hash, err := world(t).ClaimHash(t.Context(), restoreworld.Namespace, rescued)
	require.NoError(t, err)
	require.Equal(t, a.Before.Volumes[a.Before.Claims[restoreworld.Claim].Volume].Hash, hash)
	removeOnly(t, rescued)
}
