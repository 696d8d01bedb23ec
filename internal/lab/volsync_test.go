package lab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// movers are the tests of VolSync's stand-in, which share one lab; each has a namespace of its own.
type movers struct {
	*lab.RestoreLab
	client  kubernetes.Interface
	untyped dynamic.Interface
}

const rdKind, rsKind = "ReplicationDestination", "ReplicationSource"

// ownVolume is what a destination's Kopia block says of a temporary volume.
const ownVolume = `
    copyMethod: Snapshot
    storageClassName: longhorn
    accessModes: [ReadWriteOnce]
    capacity: 10Gi`

// TestVolSync holds the stand-in to what was read in, or seen of, VolSync's fork with the Kopia mover.
func TestVolSync(t *testing.T) {
	begin := time.Now().Add(-3 * time.Hour).UTC()
	half := recovery.KopiaSource{Username: "half-backup", Hostname: "checkpoint", Path: "/data"}
	l, err := lab.UpRestore(t.Context(), lab.ForTest(t), lab.RestoreOptions{
		VolSync: lab.VolSyncOptions{BackoffLimit: 1},
		Snapshots: []lab.KopiaSnapshot{
			{Source: half, StartTime: begin, EndTime: begin.Add(time.Second), SizeBytes: 6000, Files: 6},
			{Source: half, StartTime: begin.Add(time.Hour), EndTime: begin.Add(time.Hour + time.Second), SizeBytes: 1000, Files: 1, Incomplete: "checkpoint"},
		},
	})
	require.NoError(t, err)
	m := movers{RestoreLab: l}
	m.client, err = kubernetes.NewForConfig(l.Kubernetes.RESTConfig())
	require.NoError(t, err)
	m.untyped, err = dynamic.NewForConfig(l.Kubernetes.RESTConfig())
	require.NoError(t, err)
	t.Run("together", func(t *testing.T) {
		for name, run := range m.all() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t)
			})
		}
	})
}

func (m movers) all() map[string]func(t *testing.T) {
	return map[string]func(t *testing.T){
		"a claim is populated from the image of a destination":     m.restoresAndPopulates,
		"nothing restored is a success":                            m.nothingIsSuccess,
		"a checkpoint is selected, and counts as previous":         m.checkpointIsSelected,
		"restoreAsOf is compared as a text":                        m.asOfIsText,
		"the volume is wiped before anything is selected":          m.wipesFirst,
		"old files stay in the temporary claim":                    m.mergesIntoLeftClaim,
		"a source makes a snapshot under its own identity":         m.backsUp,
		"an empty volume makes no snapshot and is a success":       m.emptyVolume,
		"a paused source reports a success":                        m.pausedSource,
		"a trigger set while a run is on is swallowed":             m.swallowsTrigger,
		"a mover that failed is made again":                        m.failsThenRuns,
		"the first consumer is waited for":                         m.waitsForConsumer,
		"the populator takes any latestImage, also an old one":     m.staleImage,
		"an image that is no VolumeSnapshot populates nothing":     m.directImage,
		"what admits no Pod holds a mover back":                    m.heldBack,
		"an unprivileged mover keeps no owners, a privileged does": m.owners,
		"what cannot run says so in its condition":                 m.errorsAreConditions,
		"what the policy generates runs at once":                   m.generatedRunsOnce,
		"a claim begins as a copy of a VolumeSnapshot":             m.claimFromSnapshot,
		"a VolumeSnapshot goes with its data, unless retained":     m.snapshotGoes,
		"what cannot be snapshotted says so":                       m.snapshotRefused,
	}
}

func (m movers) apply(t *testing.T, manifest string) {
	t.Helper()
	require.NoError(t, m.Apply(t.Context(), manifest))
}

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
    volumeSnapshotClassName: longhorn-snapclass`+kopia)
}

// source makes a ReplicationSource of the claim data, with more lines in its spec.
func (m movers) source(t *testing.T, namespace, name, spec string) {
	t.Helper()
	m.apply(t, `
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata: {namespace: `+namespace+`, name: `+name+`}
spec:
  sourcePVC: data
  trigger: {manual: first}
  kopia:
    repository: opens
    copyMethod: Snapshot
    volumeSnapshotClassName: longhorn-snapclass
    parallelism: 2
    retain: {hourly: 24, daily: 7}
    moverSecurityContext: {runAsUser: 568, runAsGroup: 568, fsGroup: 568}`+spec)
}

// claim makes a claim that is populated from a destination.
func (m movers) claim(t *testing.T, namespace, name, class, destination string) {
	t.Helper()
	m.apply(t, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: `+namespace+`, name: `+name+`}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: `+class+`
  resources: {requests: {storage: 10Gi}}
  dataSourceRef: {apiGroup: volsync.backube, kind: ReplicationDestination, name: `+destination+`}`)
}

// data makes a claim data that holds tree 1, and the Secret opens.
func (m movers) data(t *testing.T, namespace string) (lines []string) {
	t.Helper()
	require.NoError(t, m.AddClaim(t.Context(), lab.RestoreClaim{Namespace: namespace, Name: "data"}))
	require.NoError(t, m.AddSecret(t.Context(), namespace, "opens"))
	_, err := m.FillClaim(t.Context(), namespace, "data", 1)
	require.NoError(t, err)
	return m.lines(t, namespace, "data")
}

func (m movers) lines(t *testing.T, namespace, claim string) []string {
	t.Helper()
	lines, err := m.ClaimLines(t.Context(), namespace, claim)
	require.NoError(t, err)
	return lines
}

func (m movers) backup(t *testing.T, namespace string) lab.KopiaBackup {
	t.Helper()
	backup, err := m.Backup(t.Context(), namespace, "data")
	require.NoError(t, err)
	return backup
}

// done waits until the run of that trigger is over.
func (m movers) done(t *testing.T, kind, namespace, name, trigger string) *unstructured.Unstructured {
	t.Helper()
	object, err := m.WaitSynchronized(t.Context(), kind, namespace, name, trigger)
	require.NoError(t, err)
	return object
}

// trigger sets another trigger.
func (m movers) trigger(t *testing.T, kind, namespace, name, trigger string) {
	t.Helper()
	m.patch(t, kind, namespace, name, `{"spec": {"trigger": {"manual": "`+trigger+`"}}}`)
}

func (m movers) patch(t *testing.T, kind, namespace, name, body string) {
	t.Helper()
	resource := recoveryResource(kind)
	_, err := m.untyped.Resource(resource).Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{})
	require.NoError(t, err)
}

func (m movers) replication(t *testing.T, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := m.Replication(t.Context(), kind, namespace, name)
	require.NoError(t, err)
	require.NotNil(t, object)
	return object
}

func (m movers) order(t *testing.T, kind, namespace, name string, order lab.Order) {
	t.Helper()
	require.NoError(t, m.VolSync.Order(kind, namespace, name, order))
}

func field(object *unstructured.Unstructured, path ...string) string {
	text, _, _ := unstructured.NestedString(object.Object, path...)
	return text
}

func result(object *unstructured.Unstructured) string {
	return field(object, "status", "latestMoverStatus", "result")
}

func moverLines(object *unstructured.Unstructured) string {
	return field(object, "status", "latestMoverStatus", "logs")
}

// reason and message of the condition Synchronizing.
func synchronizing(object *unstructured.Unstructured) (reason, message string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, each := range conditions {
		if condition, ok := each.(map[string]any); ok && condition["type"] == "Synchronizing" {
			return condition["reason"].(string), condition["message"].(string)
		}
	}
	return "", ""
}

// files are the names in lines of a tree.
func files(lines []string) (names []string) {
	for _, line := range lines {
		names = append(names, strings.SplitN(line, `"`, 3)[1])
	}
	return names
}
