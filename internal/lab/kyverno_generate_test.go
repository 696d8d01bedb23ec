package lab_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// labelsOf are all labels of an object that a rule generated for the claim.
// Source: kyverno pkg/background/common/labels.go.
func labelsOf(claim *unstructured.Unstructured, rule string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/managed-by": "kyverno", "volsync.backup/pvc": claim.GetName(),
		"generate.kyverno.io/policy-name": "volsync-pvc-backup-restore", "generate.kyverno.io/policy-namespace": "", "generate.kyverno.io/rule-name": rule,
		"generate.kyverno.io/trigger-group": "", "generate.kyverno.io/trigger-version": "v1", "generate.kyverno.io/trigger-kind": "PersistentVolumeClaim",
		"generate.kyverno.io/trigger-namespace": claim.GetNamespace(), triggerUID: string(claim.GetUID()),
	}
}

func generated(t *testing.T, g *gate) {
	claim, err := g.claim(t, "made", "")
	require.NoError(t, err)
	t.Logf("generated after %s", g.generatedFor(t, claim))
	both := g.both(t, "made")
	for i, rule := range []string{"copy-credentials", "restore-once"} {
		require.Equal(t, labelsOf(claim, rule), both[i].GetLabels())
		require.Empty(t, both[i].GetOwnerReferences(), "no garbage collection: they go only as long as Kyverno runs")
		require.Empty(t, both[i].GetFinalizers())
		require.Empty(t, both[i].GetAnnotations())
	}
	coded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	require.Equal(t, map[string]any{
		"KOPIA_PASSWORD": coded("secret"), "KOPIA_REPOSITORY": coded("filesystem:///repository"), "KOPIA_FS_PATH": coded("/repository"),
	}, both[0].Object["data"])
	spec := both[1].Object["spec"].(map[string]any)
	require.Equal(t, map[string]any{"manual": "restore-once"}, spec["trigger"])
	require.Equal(t, map[string]any{
		"repository": "volsync-made", "sourceIdentity": map[string]any{"sourceName": "made-backup"}, "copyMethod": "Snapshot",
		"storageClassName": "longhorn", "volumeSnapshotClassName": "longhorn-snapclass", "accessModes": []any{"ReadWriteOnce"}, "capacity": "3Gi",
		"moverSecurityContext": map[string]any{"runAsUser": int64(568), "runAsGroup": int64(568), "fsGroup": int64(568)},
	}, spec["kopia"])
	require.Nil(t, g.get(t, sourceKind, "made-backup"), "no backups before the claim is bound and has its age")
}

func editIsReverted(t *testing.T, g *gate) {
	claim, err := g.claim(t, "edited", "")
	require.NoError(t, err)
	g.generatedFor(t, claim)
	before := g.get(t, destinationKind, "edited-backup")
	for field, spec := range map[string]map[string]any{"trigger": {"trigger": map[string]any{"manual": "again"}}, "paused": {"paused": true}} {
		g.merge(t, destinationKind, "edited-backup", map[string]any{"spec": spec})
		t.Logf("%s was reverted after %s", field, within(t, soon, "the edit is reverted", func() bool {
			spec := g.get(t, destinationKind, "edited-backup").Object["spec"].(map[string]any)
			return fmt.Sprint(spec["trigger"]) == "map[manual:restore-once]" && spec["paused"] == nil
		}))
		require.Equal(t, before.GetUID(), g.get(t, destinationKind, "edited-backup").GetUID())
	}
}

func claimDeleted(t *testing.T, g *gate) {
	claim, err := g.claim(t, "deleted", "")
	require.NoError(t, err)
	g.generatedFor(t, claim)
	g.delete(t, claimKind, "deleted")
	t.Logf("gone after %s", g.goneFor(t, "deleted"))
}

// orphan makes a claim, deletes it while a Pod keeps it, and updates it then. Its objects go at once all the
// same, and the update brings them back. Nothing deletes those any more when the claim is gone at last.
// Source: kyverno pkg/webhooks/resource/generation/handler.go, pkg/background/common/resource.go.
func orphan(t *testing.T, g *gate, name string) {
	t.Helper()
	claim, err := g.claim(t, name, "")
	require.NoError(t, err)
	g.generatedFor(t, claim)
	first := g.get(t, destinationKind, name+"-backup").GetUID()
	pod := decodeOne(t, `apiVersion: v1
kind: Pod
metadata: {name: holder, namespace: apps}
spec: {nodeName: some, containers: [{name: app, image: none.invalid/app}], volumes: [{name: data, persistentVolumeClaim: {claimName: `+name+`}}]}
`)
	_, err = g.objects(podKind).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	// The protection controller looks at Pods in its cache.
	time.Sleep(500 * time.Millisecond)
	g.delete(t, claimKind, name)
	t.Logf("gone after %s, with the claim still there", g.goneFor(t, name))
	require.NotNil(t, g.get(t, claimKind, name).GetDeletionTimestamp())

	g.touch(t, name)
	t.Logf("generated anew %s after an update of the Terminating claim", g.generatedFor(t, claim))
	require.NotEqual(t, first, g.get(t, destinationKind, name+"-backup").GetUID(), "a new object: its trigger runs again")
	g.delete(t, podKind, "holder")
	within(t, soon, "the claim is gone", func() bool { return g.get(t, claimKind, name) == nil })
	time.Sleep(3 * time.Second)
	for _, object := range g.both(t, name) {
		require.NotNil(t, object, "it outlives its claim")
		require.Equal(t, string(claim.GetUID()), object.GetLabels()[triggerUID])
	}
}

// claimTerminating: the next claim of the name gets what the last one left behind.
func claimTerminating(t *testing.T, g *gate) {
	orphan(t, g, "held")
	anew := g.get(t, destinationKind, "held-backup").GetUID()
	next, err := g.claim(t, "held", "")
	require.NoError(t, err)
	t.Logf("relabelled to the next claim after %s", g.generatedFor(t, next))
	require.Equal(t, anew, g.get(t, destinationKind, "held-backup").GetUID(), "the same object, with its old latestImage")
}

// touch is any update of a claim: an admission event.
func (g *gate) touch(t *testing.T, claim string) {
	t.Helper()
	annotations := map[string]any{"touched": time.Now().UTC().Format(time.RFC3339Nano)}
	g.merge(t, claimKind, claim, map[string]any{"metadata": map[string]any{"annotations": annotations}})
}

// objectDeleted: who deletes a generated object gets a new one, but not once the claim is gone: so an orphan
// can be cleared away.
func objectDeleted(t *testing.T, g *gate) {
	claim, err := g.claim(t, "undone", "")
	require.NoError(t, err)
	g.generatedFor(t, claim)
	first := g.get(t, destinationKind, "undone-backup").GetUID()
	g.delete(t, destinationKind, "undone-backup")
	t.Logf("generated again after %s", g.generatedFor(t, claim))
	require.NotEqual(t, first, g.get(t, destinationKind, "undone-backup").GetUID())

	orphan(t, g, "orphan")
	g.delete(t, secretKind, "volsync-orphan")
	g.delete(t, destinationKind, "orphan-backup")
	time.Sleep(3 * time.Second)
	for _, object := range g.both(t, "orphan") {
		require.Nil(t, object)
	}
}

// backgroundLate: the claim is replaced while nothing generates. The old objects are not deleted but
// relabelled, so a destination of that name says nothing of which claim it was made for.
func backgroundLate(t *testing.T, g *gate) {
	claim, err := g.claim(t, "late", "")
	require.NoError(t, err)
	g.generatedFor(t, claim)
	require.NoError(t, g.kyverno.Background.Stop())
	old := g.get(t, destinationKind, "late-backup").GetUID()
	g.delete(t, claimKind, "late")
	within(t, soon, "the claim is gone", func() bool { return g.get(t, claimKind, "late") == nil })
	next, err := g.claim(t, "late", "")
	require.NoError(t, err)
	for _, object := range g.both(t, "late") {
		require.Equal(t, string(claim.GetUID()), object.GetLabels()[triggerUID], "the next claim finds the last one's")
	}
	begin := time.Now()
	require.NoError(t, g.kyverno.StartBackground(t.Context()))
	t.Logf("the background controller leads after %s", time.Since(begin))
	t.Logf("for the next claim after %s more", g.generatedFor(t, next))
	t.Logf("it is the same destination: %t", old == g.get(t, destinationKind, "late-backup").GetUID())
}

// settledClaim: a ReplicationSource only when the claim is Bound, has its age, and is updated then.
func settledClaim(t *testing.T, g *gate) {
	_, err := g.claim(t, "settled", "")
	require.NoError(t, err)
	volumes := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	_, err = g.client.Resource(volumes).Create(t.Context(), decodeOne(t, `apiVersion: v1
kind: PersistentVolume
metadata: {name: settled}
spec: {accessModes: [ReadWriteOnce], capacity: {storage: 3Gi}, storageClassName: longhorn, hostPath: {path: /nowhere}, claimRef: {namespace: apps, name: settled}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	within(t, soon, "the claim is bound", func() bool {
		phase, _, _ := unstructured.NestedString(g.get(t, claimKind, "settled").Object, "status", "phase")
		return phase == "Bound"
	})
	created := g.get(t, claimKind, "settled").GetCreationTimestamp()
	time.Sleep(time.Until(created.Add(backupAfter + 3*time.Second)))
	require.Nil(t, g.get(t, sourceKind, "settled-backup"), "time alone brings no backup")
	g.touch(t, "settled")
	t.Logf("the source came %s after an update", within(t, soon, "there is a source", func() bool { return g.get(t, sourceKind, "settled-backup") != nil }))
	claim, source := g.get(t, claimKind, "settled"), g.get(t, sourceKind, "settled-backup")
	require.Equal(t, labelsOf(claim, "back-up-when-settled"), source.GetLabels())
	spec := source.Object["spec"].(map[string]any)
	require.Equal(t, "settled", spec["sourcePVC"])
	require.Equal(t, map[string]any{"schedule": "0 * * * *"}, spec["trigger"])
	require.Equal(t, map[string]any{
		"repository": "volsync-settled", "compression": "zstd-fastest", "parallelism": int64(2), "copyMethod": "Snapshot",
		"retain":           map[string]any{"hourly": int64(24), "daily": int64(7), "weekly": int64(4), "monthly": int64(2)},
		"storageClassName": "longhorn", "volumeSnapshotClassName": "longhorn-snapclass",
		"moverSecurityContext": map[string]any{"runAsUser": int64(568), "runAsGroup": int64(568), "fsGroup": int64(568)},
	}, spec["kopia"])
	g.delete(t, claimKind, "settled")
	g.goneFor(t, "settled")
	within(t, soon, "the source is gone", func() bool { return g.get(t, sourceKind, "settled-backup") == nil })
}
