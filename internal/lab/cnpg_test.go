package lab_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/crds"
)

func decodeOne(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	objects, err := crds.Decode([]byte(text))
	require.NoError(t, err)
	require.Len(t, objects, 1)
	return objects[0]
}

func TestDefinitionsAndWebhooks(t *testing.T) {
	k := shared.Lab(t).Kubernetes
	t.Run("the Kopia block", func(t *testing.T) { kopiaBlockIsStrict(t, k) })
	t.Run("a Cluster is defaulted", func(t *testing.T) { clusterIsDefaulted(t, k) })
	t.Run("two bootstrap methods are refused", func(t *testing.T) { twoBootstrapsAreRefused(t, k) })
}

const sourceOfKopia = `apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata: {name: some-backup, namespace: default}
spec:
  sourcePVC: some
  kopia: {repository: volsync-some, compression: zstd-fastest, parallelism: 2, retain: {hourly: 24}, moverSecurityContext: {runAsUser: 568}}
`

// kopiaBlockIsStrict proves what the definitions are for: known fields are kept, a misspelt one is
// refused when the writer asks for strictness and dropped when it does not, wrong types never pass.
func kopiaBlockIsStrict(t *testing.T, k *lab.Kubernetes) {
	client, err := dynamic.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	sources := client.Resource(schema.GroupVersionResource{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationsources"}).Namespace("default")
	create := func(change func(kopia map[string]any), validation string) (map[string]any, error) {
		object := decodeOne(t, sourceOfKopia)
		change(object.Object["spec"].(map[string]any)["kopia"].(map[string]any))
		created, err := sources.Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: validation})
		if err != nil {
			return nil, err
		}
		return created.Object["spec"].(map[string]any)["kopia"].(map[string]any), nil
	}
	kopia, err := create(func(map[string]any) {}, metav1.FieldValidationStrict)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"hourly": int64(24)}, kopia["retain"])

	misspell := func(kopia map[string]any) { kopia["restoreAsof"] = "2026-01-01T00:00:00Z" }
	_, err = create(misspell, metav1.FieldValidationStrict)
	require.ErrorContains(t, err, `unknown field "spec.kopia.restoreAsof"`)
	kopia, err = create(misspell, metav1.FieldValidationIgnore)
	require.NoError(t, err)
	require.NotContains(t, kopia, "restoreAsof", "unknown fields are pruned")

	_, err = create(func(kopia map[string]any) { kopia["parallelism"] = "2" }, metav1.FieldValidationIgnore)
	require.ErrorContains(t, err, "spec.kopia.parallelism")
	_, err = create(func(kopia map[string]any) { kopia["username"] = "-bad" }, metav1.FieldValidationIgnore)
	require.ErrorContains(t, err, "spec.kopia.username")
}

const plainCluster = `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: some, namespace: default}
spec: {instances: 1, storage: {size: 1Gi}}
`

func dryRunCluster(t *testing.T, k *lab.Kubernetes, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()
	client, err := dynamic.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	clusters := client.Resource(schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"})
	return clusters.Namespace("default").Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
}

func clusterIsDefaulted(t *testing.T, k *lab.Kubernetes) {
	created, err := dryRunCluster(t, k, decodeOne(t, plainCluster))
	require.NoError(t, err)
	database, found, err := unstructured.NestedString(created.Object, "spec", "bootstrap", "initdb", "database")
	require.NoError(t, err)
	require.True(t, found, "the real defaulter adds initdb: %v", created.Object["spec"])
	require.Equal(t, "app", database)
}

func twoBootstrapsAreRefused(t *testing.T, k *lab.Kubernetes) {
	object := decodeOne(t, plainCluster)
	bootstrap := map[string]any{"initdb": map[string]any{"database": "a", "owner": "a"}, "recovery": map[string]any{"source": "origin"}}
	require.NoError(t, unstructured.SetNestedMap(object.Object, bootstrap, "spec", "bootstrap"))
	require.NoError(t, unstructured.SetNestedSlice(object.Object, []any{map[string]any{"name": "origin"}}, "spec", "externalClusters"))
	_, err := dryRunCluster(t, k, object)
	require.ErrorContains(t, err, "Only one bootstrap method can be specified at a time")
}
