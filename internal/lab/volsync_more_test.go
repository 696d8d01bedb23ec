package lab_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
)

// kopiaSnapshots are the IDs of the snapshots under an identity.
func (m movers) kopiaSnapshots(t *testing.T, identity string) []string {
	t.Helper()
	out, err := m.Kopia.Run(t.Context(), "snapshot", "list", identity, "--json")
	require.NoError(t, err)
	var all []struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal(out, &all))
	ids := []string{}
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	return ids
}

// Source: perfectra1n/volsync builder.go, FromSource; mover-kopia/entry.sh, do_backup; podlogs.go (AllLines for a
// source, the last 1,024 bytes).
func (m movers) backsUp(t *testing.T) {
	ns := "backs-up"
	m.data(t, ns)
	m.source(t, ns, "my.own", "")
	object := m.done(t, rsKind, ns, "my.own", "first")
	require.Equal(t, "Successful", result(object))
	require.LessOrEqual(t, len(moverLines(object)), 1024)
	require.Contains(t, moverLines(object), "Snapshot created successfully")
	ids := m.kopiaSnapshots(t, "myown@backs-up:/data")
	require.Len(t, ids, 1)
	require.Contains(t, moverLines(object), "and ID "+ids[0]+" in ")
	m.source(t, ns, "elsewhere", "\n    username: somebody\n    sourcePathOverride: /srv/app")
	m.done(t, rsKind, ns, "elsewhere", "first")
	require.Len(t, m.kopiaSnapshots(t, "somebody@backs-up:/srv/app"), 1, "each override counts by itself")
	eventually(t, "temporary claims and VolumeSnapshots are gone", func() bool {
		claims, err := m.client.CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		left, err := m.untyped.Resource(snapshots()).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		return len(claims.Items) == 1 && len(left.Items) == 0
	})
}

// Source: perfectra1n/volsync mover-kopia/entry.sh, check_contents.
func (m movers) emptyVolume(t *testing.T) {
	ns := "empty"
	m.data(t, ns)
	require.NoError(t, m.EmptyClaim(t.Context(), ns, "data"))
	m.source(t, ns, "data-backup", "")
	object := m.done(t, rsKind, ns, "data-backup", "first")
	require.Equal(t, "Successful", result(object))
	require.Contains(t, moverLines(object), "Directory is empty skipping backup")
	require.Empty(t, m.kopiaSnapshots(t, "data-backup@empty:/data"))
}

// Source: perfectra1n/volsync mover.go, Synchronize.
func (m movers) pausedSource(t *testing.T) {
	ns := "paused"
	m.data(t, ns)
	m.source(t, ns, "data-backup", "\n  paused: true")
	object := m.done(t, rsKind, ns, "data-backup", "first")
	require.NotEmpty(t, field(object, "status", "lastSyncTime"))
	require.Empty(t, result(object), "no mover ran")
	require.Empty(t, m.kopiaSnapshots(t, "data-backup@paused:/data"))
}

// Source: backube/volsync statemachine/machine.go, transitionToCleaningUp.
func (m movers) swallowsTrigger(t *testing.T) {
	ns := "swallowed"
	m.data(t, ns)
	m.order(t, rsKind, ns, "data-backup", lab.OrderHang)
	m.source(t, ns, "data-backup", "")
	eventually(t, "the mover runs", func() bool {
		pods, err := m.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/created-by=volsync"})
		require.NoError(t, err)
		return len(pods.Items) == 1 && pods.Items[0].Status.Phase == corev1.PodRunning
	})
	m.trigger(t, rsKind, ns, "data-backup", "second")
	require.Equal(t, "", field(m.replication(t, rsKind, ns, "data-backup"), "status", "lastManualSync"))
	m.order(t, rsKind, ns, "data-backup", "")
	m.done(t, rsKind, ns, "data-backup", "second")
	eventually(t, "it waits", func() bool {
		reason, _ := synchronizing(m.replication(t, rsKind, ns, "data-backup"))
		return reason == "WaitingForManual"
	})
	require.Len(t, m.kopiaSnapshots(t, "data-backup@swallowed:/data"), 1, "one run for two triggers")
}

// Source: backube/volsync volumepopulator_controller.go, checkStorageClass.
func (m movers) waitsForConsumer(t *testing.T) {
	ns := "late"
	lines := m.data(t, ns)
	m.backup(t, ns)
	m.destination(t, ns, "mine", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
	m.done(t, rdKind, ns, "mine", "first")
	m.claim(t, ns, "again", lab.RestoreLateClass, "mine")
	require.Never(t, func() bool { return m.phase(t, ns, "again") == corev1.ClaimBound }, 3*time.Second, 200*time.Millisecond)
	require.NoError(t, m.AddApp(t.Context(), lab.RestoreApp{Kind: "StatefulSet", Namespace: ns, Name: "app", Claim: "again"}))
	require.Equal(t, lines, m.lines(t, ns, "again"))
}

func (m movers) phase(t *testing.T, namespace, name string) corev1.PersistentVolumeClaimPhase {
	t.Helper()
	claim, err := m.client.CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return claim.Status.Phase
}

// Source: backube/volsync volumepopulator_controller.go, reconcilePVCPrime.
func (m movers) staleImage(t *testing.T) {
	ns := "stale"
	old := m.data(t, ns)
	m.backup(t, ns)
	m.destination(t, ns, "mine", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
	m.done(t, rdKind, ns, "mine", "first")
	_, err := m.FillClaim(t.Context(), ns, "data", 2)
	require.NoError(t, err)
	m.backup(t, ns)
	m.order(t, rdKind, ns, "mine", lab.OrderNotPopulated)
	m.claim(t, ns, "again", lab.RestoreClass, "mine")
	require.Never(t, func() bool { return m.phase(t, ns, "again") == corev1.ClaimBound }, 3*time.Second, 200*time.Millisecond, "as ordered")
	m.order(t, rdKind, ns, "mine", "")
	require.Equal(t, old, m.lines(t, ns, "again"), "and not the newer one")
}

// Source: backube/volsync volumepopulator_controller.go, reconcilePVCPrime.
func (m movers) directImage(t *testing.T) {
	ns := "direct"
	m.data(t, ns)
	m.backup(t, ns)
	m.claim(t, ns, "again", lab.RestoreClass, "mine")
	warned := func(reason string) func() bool {
		return func() bool {
			events, err := m.client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			return slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
				return e.InvolvedObject.Name == "again" && e.Reason == "VolSyncPopulator"+reason
			})
		}
	}
	eventually(t, "no destination", warned("ReplicationDestinationMissing"))
	m.order(t, rdKind, ns, "mine", lab.OrderHang)
	m.destination(t, ns, "mine", "\n    copyMethod: Direct\n    destinationPVC: data\n    sourceIdentity: {sourceName: data-backup}")
	eventually(t, "no image yet", warned("ReplicationDestinationNoLatestImage"))
	m.order(t, rdKind, ns, "mine", "")
	m.done(t, rdKind, ns, "mine", "first")
	eventually(t, "an image of another kind", warned("Error"))
	require.Equal(t, corev1.ClaimPending, m.phase(t, ns, "again"))
}

// Source: perfectra1n/volsync builder.go, validateDestinationIdentity; mover.go, validateRepository.
func (m movers) errorsAreConditions(t *testing.T) {
	ns := "refused"
	require.NoError(t, m.AddNamespace(t.Context(), ns))
	m.destination(t, ns, "half", ownVolume+"\n    username: somebody")
	m.destination(t, ns, "closed", ownVolume+"\n    sourceIdentity: {sourceName: data-backup}")
	for name, want := range map[string]string{"half": "both 'username' and 'hostname'", "closed": `secrets "opens" not found`} {
		eventually(t, name, func() bool {
			reason, message := synchronizing(m.replication(t, rdKind, ns, name))
			return reason == "Error" && strings.Contains(message, want)
		})
	}
	require.NoError(t, m.AddSecret(t.Context(), ns, "opens"))
	require.Equal(t, "Successful", result(m.done(t, rdKind, ns, "closed", "first")), "it is tried again")
}

// Source: the platform's policy, rules 2 to 4; backube/volsync statemachine/machine.go, doInitialState.
func (m movers) generatedRunsOnce(t *testing.T) {
	ns := "generated"
	require.NoError(t, m.AddClaim(t.Context(), lab.RestoreClaim{Namespace: ns, Name: "data", Backup: "hourly", Generated: true}))
	destination := m.done(t, rdKind, ns, "data-backup", "restore-once")
	require.NotEmpty(t, field(destination, "status", "latestImage", "name"), "of an empty volume")
	eventually(t, "the source waits for its schedule", func() bool {
		reason, _ := synchronizing(m.replication(t, rsKind, ns, "data-backup"))
		return reason == "WaitingForSchedule"
	})
}
