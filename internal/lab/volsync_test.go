package lab_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab"
)

// movers are the tests of VolSync's stand-in, which share one lab.
type movers struct{ *lab.RestoreLab }

const rdKind, rsKind = "ReplicationDestination", "ReplicationSource"

// destination makes a ReplicationDestination with these lines in its Kopia block.
func (m movers) destination(t *testing.T, namespace, name, kopia string) {
	t.Helper()
	m.apply(t, `
apiVersion: volsync.backube/v1alpha1
kind: ReplicationDestination
metadata: {namespace: `+namespace+`, name: `+name+`}
spec:
  trigger: {manual: first}
  kopia:
    repository: opens
    moverSecurityContext: {runAsUser: 568, runAsGroup: 568, fsGroup: 568}
    volumeSnapshotClassName: longhorn-snapclass
`+kopia)
}

func (m movers) apply(t *testing.T, manifest string) {
	t.Helper()
	require.NoError(t, m.Apply(t.Context(), manifest))
}

// done waits until the run of that trigger is over.
func (m movers) done(t *testing.T, kind, namespace, name, trigger string) *unstructured.Unstructured {
	t.Helper()
	object, err := m.WaitSynchronized(t.Context(), kind, namespace, name, trigger)
	require.NoError(t, err)
	return object
}

func field(object *unstructured.Unstructured, path ...string) string {
	text, _, _ := unstructured.NestedString(object.Object, path...)
	return text
}

func TestVolSync(t *testing.T) {
	l, err := lab.UpRestore(t.Context(), lab.ForTest(t), lab.RestoreOptions{VolSync: lab.VolSyncOptions{BackoffLimit: 1}})
	require.NoError(t, err)
	m := movers{l}
	t.Run("a destination restores files, and a claim is populated from its image", m.restoresAndPopulates)
}

func (m movers) restoresAndPopulates(t *testing.T) {
	ctx, ns := t.Context(), "end-to-end"
	require.NoError(t, m.AddClaim(ctx, lab.RestoreClaim{Namespace: ns, Name: "data"}))
	require.NoError(t, m.AddSecret(ctx, ns, "opens"))
	_, err := m.FillClaim(ctx, ns, "data", 1)
	require.NoError(t, err)
	lines, err := m.ClaimLines(ctx, ns, "data")
	require.NoError(t, err)
	backup, err := m.Backup(ctx, ns, "data")
	require.NoError(t, err)
	require.EqualValues(t, 13, backup.Files)
	m.destination(t, ns, "mine", `
    sourceIdentity: {sourceName: data-backup}
    copyMethod: Snapshot
    storageClassName: longhorn
    accessModes: [ReadWriteOnce]
    capacity: 10Gi`)
	object := m.done(t, rdKind, ns, "mine", "first")
	require.Equal(t, "Successful", field(object, "status", "latestMoverStatus", "result"), "%v", object.Object["status"])
	require.True(t, strings.HasPrefix(field(object, "status", "latestImage", "name"), "volsync-mine-dest-2"))
	m.apply(t, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: `+ns+`, name: again}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: longhorn
  resources: {requests: {storage: 10Gi}}
  dataSourceRef: {apiGroup: volsync.backube, kind: ReplicationDestination, name: mine}`)
	restored, err := m.ClaimLines(ctx, ns, "again")
	require.NoError(t, err)
	require.Equal(t, lines, restored)
}
