package lab_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/crds"
)

const (
	immichApp  = "immich-database"
	immichPath = "infrastructure/database/cnpg/immich"
	// healInterval is short, so that whoever creates by hand has no chance.
	healInterval = 300 * time.Millisecond
)

// argoFixture is a cluster in which CloudNativePG's webhooks answer and Argo CD follows a remote.
type argoFixture struct {
	argo     *lab.ArgoCD
	remote   *lab.GitRemote
	clusters dynamic.ResourceInterface
	backups  dynamic.ResourceInterface
	apps     dynamic.ResourceInterface
}

func startArgo(t *testing.T) *argoFixture {
	t.Helper()
	s := lab.ForTest(t)
	k, err := s.ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	defineApplications(t, k)
	_, err = s.CNPG(t.Context(), k)
	require.NoError(t, err)
	f := &argoFixture{remote: treeRemote(t, s)}
	f.argo, err = s.ArgoCD(t.Context(), k, f.remote, lab.ArgoOptions{
		Interval: healInterval,
		Retry:    lab.ArgoRetry{Limit: 2, Backoff: 200 * time.Millisecond, Factor: 1, MaxBackoff: time.Second},
	})
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	kind := schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}
	f.clusters = client.Resource(kind).Namespace("cloudnative-pg")
	f.backups = client.Resource(kind.GroupVersion().WithResource("scheduledbackups")).Namespace("cloudnative-pg")
	f.apps = client.Resource(schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}).Namespace(lab.ArgoNamespace)
	require.NoError(t, f.argo.Track(t.Context(), immichApp, immichPath, ""))
	return f
}

// defineApplications applies the one definition that is needed; all of them take the API server a while.
func defineApplications(t *testing.T, k *lab.Kubernetes) {
	t.Helper()
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	modules, err := crds.Fetch(t.Context(), filepath.Join(root, "internal", "lab", "parts", "manifests"))
	require.NoError(t, err)
	all, err := modules.All()
	require.NoError(t, err)
	others := func(definition *unstructured.Unstructured) bool {
		return definition.GetName() != "applications.argoproj.io"
	}
	applier, err := k.Applier()
	require.NoError(t, err)
	require.NoError(t, applier.Apply(t.Context(), slices.DeleteFunc(all, others)...))
}

func (f *argoFixture) waitFor(t *testing.T, wanted func(lab.ArgoState) bool) lab.ArgoState {
	t.Helper()
	state, err := f.argo.WaitFor(t.Context(), immichApp, wanted)
	require.NoError(t, err)
	return state
}

func (f *argoFixture) waitSynced(t *testing.T) string {
	t.Helper()
	head, err := f.remote.Head(t.Context())
	require.NoError(t, err)
	f.waitFor(t, func(s lab.ArgoState) bool { return s.Sync == "Synced" && s.Revision == head && s.Phase == "Succeeded" })
	return head
}

func (f *argoFixture) cluster(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	live, err := f.clusters.Get(t.Context(), immichApp, metav1.GetOptions{})
	require.NoError(t, err)
	return live
}

func bootstrapOf(t *testing.T, cluster *unstructured.Unstructured) map[string]any {
	t.Helper()
	bootstrap, _, err := unstructured.NestedMap(cluster.Object, "spec", "bootstrap")
	require.NoError(t, err)
	return bootstrap
}

// recoveryOf turns the Cluster that Git wants into one that recovers, as an operator does it by hand.
func recoveryOf(t *testing.T, cluster *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	spec := cluster.DeepCopy().Object["spec"].(map[string]any)
	backup := spec["backup"].(map[string]any)
	store := (&unstructured.Unstructured{Object: backup}).DeepCopy().Object["barmanObjectStore"].(map[string]any)
	for _, field := range []string{"wal", "data"} {
		delete(store, field)
	}
	spec["bootstrap"] = map[string]any{"recovery": map[string]any{"source": "immich-backup", "database": "immich", "owner": "immich"}}
	spec["externalClusters"] = []any{map[string]any{"name": "immich-backup", "barmanObjectStore": store}}
	backup["barmanObjectStore"].(map[string]any)["serverName"] = "immich-database-v3"
	recovery := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	recovery.SetAPIVersion("postgresql.cnpg.io/v1")
	recovery.SetKind("Cluster")
	recovery.SetName(immichApp)
	return recovery
}

// replaceByRecovery deletes the Cluster and creates one that recovers while Argo CD looks away.
func (f *argoFixture) replaceByRecovery(t *testing.T) {
	t.Helper()
	f.argo.Pause()
	defer f.argo.Resume()
	recovery := recoveryOf(t, f.cluster(t))
	require.NoError(t, f.clusters.Delete(t.Context(), immichApp, metav1.DeleteOptions{}))
	_, err := f.clusters.Create(t.Context(), recovery, metav1.CreateOptions{FieldManager: "kubectl-create"})
	require.NoError(t, err)
}

func (f *argoFixture) patchApp(t *testing.T, fields map[string]any) {
	t.Helper()
	body, err := json.Marshal(fields)
	require.NoError(t, err)
	_, err = f.apps.Patch(t.Context(), immichApp, types.MergePatchType, body, metav1.PatchOptions{})
	require.NoError(t, err)
}

// compareOnce asks for a comparison, and waits until it was made and acted upon.
func (f *argoFixture) compareOnce(t *testing.T) {
	t.Helper()
	const annotation = "argocd.argoproj.io/refresh"
	f.patchApp(t, map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotation: "normal"}}})
	require.Eventually(t, func() bool {
		app, err := f.apps.Get(t.Context(), immichApp, metav1.GetOptions{})
		return err == nil && app.GetAnnotations()[annotation] == ""
	}, time.Minute, 20*time.Millisecond)
}
