package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/crds"
)

// gateKind is a kind of this test's namespace, as RESOURCE.VERSION.GROUP.
type gateKind string

const (
	claimKind       gateKind = "persistentvolumeclaims.v1."
	secretKind      gateKind = "secrets.v1."
	podKind         gateKind = "pods.v1."
	jobKind         gateKind = "jobs.v1.batch"
	sourceKind      gateKind = "replicationsources.v1alpha1.volsync.backube"
	destinationKind gateKind = "replicationdestinations.v1alpha1.volsync.backube"
)

// triggerUID is the label that carries the UID of the claim that an object was generated for.
const triggerUID = "generate.kyverno.io/trigger-uid"

// gate is a control plane with the real Kyverno, the platform's policies and the plumber's stand-in.
type gate struct {
	kyverno *lab.Kyverno
	plumber *lab.Plumber
	client  *dynamic.DynamicClient
}

// backupAfter stands for the platform's 2 hours.
const backupAfter = 4 * time.Second

const gateObjects = `apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: v1
kind: Namespace
metadata: {name: volsync-system}
---
apiVersion: v1
kind: Secret
metadata: {name: kopia-credentials, namespace: volsync-system}
data: {KOPIA_PASSWORD: c2VjcmV0}
---
apiVersion: v1
kind: Node
metadata: {name: some}
`

func nothingIsBackedUp(context.Context, string, string) (bool, error) { return false, nil }

func startGate(t *testing.T) *gate {
	t.Helper()
	stack, begin := lab.ForTest(t), time.Now()
	k, err := stack.ControlPlane(t.Context(), lab.ControlPlaneOptions{ControllerManager: true})
	require.NoError(t, err)
	require.NoError(t, k.ApplyCRDs(t.Context()))
	objects, err := crds.Decode([]byte(gateObjects))
	require.NoError(t, err)
	applier, err := k.Applier()
	require.NoError(t, err)
	for _, object := range objects {
		require.NoError(t, applier.Apply(t.Context(), object))
	}
	t.Logf("the control plane was ready after %s", time.Since(begin))
	g, begin := &gate{}, time.Now()
	g.kyverno, err = stack.Kyverno(t.Context(), k, lab.KyvernoOptions{})
	require.NoError(t, err)
	t.Logf("Kyverno answered after %s", time.Since(begin))
	g.plumber, err = stack.Plumber(t.Context(), lab.FailsOpen, nothingIsBackedUp)
	require.NoError(t, err)
	begin = time.Now()
	require.NoError(t, g.kyverno.ApplyPlatformPolicies(t.Context(), lab.PolicyOptions{
		PlumberURL: g.plumber.URL, NFSServer: "192.0.2.1", NFSPath: "/mnt/backup/volsync", BackupAfter: backupAfter,
	}))
	t.Logf("the policies were in force after %s", time.Since(begin))
	g.client, err = dynamic.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	return g
}

// claim makes a claim with the backup label; dataSource is the name of its own dataSourceRef, if any.
func (g *gate) claim(t *testing.T, name, dataSource string) (*unstructured.Unstructured, error) {
	t.Helper()
	claim := decodeOne(t, fmt.Sprintf(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, namespace: apps, labels: {backup: hourly}}
spec: {accessModes: [ReadWriteOnce], storageClassName: longhorn, resources: {requests: {storage: 3Gi}}}
`, name))
	if dataSource != "" {
		ref := map[string]any{"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": dataSource}
		require.NoError(t, unstructured.SetNestedMap(claim.Object, ref, "spec", "dataSourceRef"))
	}
	return g.objects(claimKind).Create(t.Context(), claim, metav1.CreateOptions{})
}

func (g *gate) objects(kind gateKind) dynamic.ResourceInterface {
	resource, _ := schema.ParseResourceArg(string(kind))
	return g.client.Resource(*resource).Namespace("apps")
}

func (g *gate) get(t *testing.T, kind gateKind, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := g.objects(kind).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(t, err)
	return object
}

// both are the Secret and the destination of the claim of that name; nil where there is none.
func (g *gate) both(t *testing.T, claim string) []*unstructured.Unstructured {
	t.Helper()
	return []*unstructured.Unstructured{g.get(t, secretKind, "volsync-"+claim), g.get(t, destinationKind, claim+"-backup")}
}

// generatedFor waits until both carry the UID of this claim, and says how long it took.
func (g *gate) generatedFor(t *testing.T, claim *unstructured.Unstructured) time.Duration {
	t.Helper()
	return within(t, soon, "the objects of "+claim.GetName()+" are generated", func() bool {
		return !slices.ContainsFunc(g.both(t, claim.GetName()), func(object *unstructured.Unstructured) bool {
			return object == nil || object.GetLabels()[triggerUID] != string(claim.GetUID())
		})
	})
}

// goneFor waits until there is neither.
func (g *gate) goneFor(t *testing.T, claim string) time.Duration {
	t.Helper()
	return within(t, soon, "the generated objects of "+claim+" are gone", func() bool {
		return !slices.ContainsFunc(g.both(t, claim), func(object *unstructured.Unstructured) bool { return object != nil })
	})
}

// soon allows for a busy machine: alone, Kyverno needs a second at most.
const soon = 30 * time.Second

func within(t *testing.T, most time.Duration, what string, done func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !done() {
		if time.Since(begin) > most {
			t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(begin)
}

func (g *gate) merge(t *testing.T, kind gateKind, name string, patch map[string]any) *unstructured.Unstructured {
	t.Helper()
	body, err := json.Marshal(patch)
	require.NoError(t, err)
	object, err := g.objects(kind).Patch(t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	require.NoError(t, err)
	return object
}

func (g *gate) delete(t *testing.T, kind gateKind, name string) {
	t.Helper()
	at := int64(0)
	require.NoError(t, g.objects(kind).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &at}))
}

// TestKyverno proves, on the real Kyverno, what drctl relies on. One control plane serves all of it.
func TestKyverno(t *testing.T) {
	g := startGate(t)
	t.Run("the plumber is down", func(t *testing.T) { plumberDown(t, g) })
	t.Run("the plumber does not know", func(t *testing.T) { plumberUnknown(t, g) })
	t.Run("a claim that is backed up", func(t *testing.T) { backedUp(t, g) })
	t.Run("what is generated", func(t *testing.T) { generated(t, g) })
	t.Run("an edit is reverted", func(t *testing.T) { editIsReverted(t, g) })
	t.Run("the claim is deleted", func(t *testing.T) { claimDeleted(t, g) })
	t.Run("the claim stays Terminating", func(t *testing.T) { claimTerminating(t, g) })
	t.Run("a generated object is deleted", func(t *testing.T) { objectDeleted(t, g) })
	t.Run("the background controller is late", func(t *testing.T) { backgroundLate(t, g) })
	t.Run("a mover's Job", func(t *testing.T) { moverJob(t, g) })
	t.Run("a backup once the claim is settled", func(t *testing.T) { settledClaim(t, g) })
}
