package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
)

// snapshot makes a VolumeSnapshot of the claim data.
func (m movers) snapshot(t *testing.T, namespace, name, class string) {
	t.Helper()
	m.apply(t, `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {namespace: `+namespace+`, name: `+name+`}
spec: {volumeSnapshotClassName: `+class+`, source: {persistentVolumeClaimName: data}}`)
}

// ready waits until a VolumeSnapshot is ready.
func (m movers) ready(t *testing.T, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	var snapshot *unstructured.Unstructured
	eventually(t, "the VolumeSnapshot is ready", func() bool {
		var err error
		snapshot, err = m.untyped.Resource(snapshots()).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		ready, _, _ := unstructured.NestedBool(snapshot.Object, "status", "readyToUse")
		return ready
	})
	return snapshot
}

// claimFrom makes a claim with a data source.
func (m movers) claimFrom(t *testing.T, namespace, name, class, source string) {
	t.Helper()
	m.apply(t, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: `+namespace+`, name: `+name+`}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: `+class+`
  resources: {requests: {storage: 10Gi}}
  dataSource: `+source)
}

// Source: kubernetes-csi/external-provisioner pkg/controller/controller.go.
func (m movers) claimFromSnapshot(t *testing.T) {
	ns := "copies"
	lines := m.data(t, ns)
	m.snapshot(t, ns, "then", lab.RestoreSnapshotClass)
	snapshot := m.ready(t, ns, "then")
	require.Equal(t, "10Gi", field(snapshot, "status", "restoreSize"))
	require.NotEmpty(t, field(snapshot, "status", "boundVolumeSnapshotContentName"))
	require.NoError(t, m.EmptyClaim(t.Context(), ns, "data"))
	m.claimFrom(t, ns, "again", lab.RestoreClass, "{apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: then}")
	require.Equal(t, lines, m.lines(t, ns, "again"))
	m.claimFrom(t, ns, "clone", lab.RestoreClass, "{kind: PersistentVolumeClaim, name: again}")
	require.Equal(t, lines, m.lines(t, ns, "clone"))
}

// Source: kubernetes-csi/external-snapshotter pkg/common-controller/snapshot_controller.go.
func (m movers) snapshotGoes(t *testing.T) {
	ns := "goes"
	m.data(t, ns)
	m.apply(t, `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: retaining}
driver: driver.longhorn.io
deletionPolicy: Retain`)
	contents := schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
	for class, stays := range map[string]bool{lab.RestoreSnapshotClass: false, "retaining": true} {
		m.snapshot(t, ns, class, class)
		snapshot := m.ready(t, ns, class)
		folder := m.Snapshotter.Folder(string(snapshot.GetUID()))
		require.FileExists(t, filepath.Join(folder, "plain.txt"))
		// A claim that waits for its consumer is made from it: it may not go yet.
		m.claimFrom(t, ns, "from-"+class, lab.RestoreLateClass, "{apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: "+class+"}")
		all := m.untyped.Resource(snapshots()).Namespace(ns)
		require.NoError(t, all.Delete(t.Context(), class, metav1.DeleteOptions{}))
		still, err := all.Get(t.Context(), class, metav1.GetOptions{})
		require.NoError(t, err)
		require.NotEmpty(t, still.GetFinalizers())
		require.NoError(t, m.AddApp(t.Context(), lab.RestoreApp{Kind: "Deployment", Namespace: ns, Name: "app-" + class, Claim: "from-" + class}))
		require.Contains(t, files(m.lines(t, ns, "from-"+class)), "plain.txt")
		eventually(t, "the VolumeSnapshot is gone", func() bool {
			_, err := all.Get(t.Context(), class, metav1.GetOptions{})
			return err != nil
		})
		_, err = os.Stat(folder)
		require.Equal(t, stays, err == nil, "data of %s", class)
		_, err = m.untyped.Resource(contents).Get(t.Context(), field(snapshot, "status", "boundVolumeSnapshotContentName"), metav1.GetOptions{})
		require.Equal(t, stays, err == nil, "content of %s", class)
	}
}

// Source: kubernetes-csi/external-snapshotter pkg/common-controller/snapshot_controller.go.
func (m movers) snapshotRefused(t *testing.T) {
	ns := "refused-snapshot"
	m.data(t, ns)
	m.snapshot(t, ns, "no-class", "absent")
	eventually(t, "the error is said", func() bool {
		snapshot, err := m.untyped.Resource(snapshots()).Namespace(ns).Get(t.Context(), "no-class", metav1.GetOptions{})
		require.NoError(t, err)
		return strings.Contains(field(snapshot, "status", "error", "message"), "failed to get snapshot class absent")
	})
}
