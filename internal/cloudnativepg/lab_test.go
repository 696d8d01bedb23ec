package cloudnativepg

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/lab"
)

const (
	ourManager  = "drctl"
	argoManager = "argocd-controller"
)

// server is a real API server with CloudNativePG's real definitions and webhooks. The operator acts on
// nothing.
type server struct {
	*testing.T
	clusters dynamic.NamespaceableResourceInterface
}

// TestOnTheRealAPIServer proves what depends on CloudNativePG's admission and on field ownership.
func TestOnTheRealAPIServer(t *testing.T) {
	stack := lab.ForTest(t)
	kubernetes, err := stack.ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	_, err = stack.CNPG(t.Context(), kubernetes)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(kubernetes.RESTConfig())
	require.NoError(t, err)
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	clusters := client.Resource(schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"})
	for name, test := range map[string]func(s *server, namespace string){
		"accepted":         renderingsAreAccepted,
		"accepted-live":    renderingsOfLiveObjectsAreAccepted,
		"twice-live":       renderingFromLiveTwice,
		"hand-back":        handBackOpensTheWayForArgoCD,
		"hand-back-plugin": handBackOfThePlugin,
		"hand-back-bare":   nothingHoldsArgoCDBackWithoutBootstrap,
		"own-clusters":     ownExternalClustersAreKept,
		"drop-manager":     droppedManagerLetsFieldsGo,
		"replaced":         patchesMissAReplacement,
	} {
		t.Run(name, func(t *testing.T) {
			namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
			_, err := namespaces.Create(t.Context(), namespace, metav1.CreateOptions{})
			require.NoError(t, err)
			test(&server{T: t, clusters: clusters}, name)
		})
	}
}

func (s *server) in(namespace string) dynamic.ResourceInterface {
	return s.clusters.Namespace(namespace)
}

// create posts strictly, as drctl does.
func (s *server) create(object *unstructured.Unstructured, namespace string) (*unstructured.Unstructured, error) {
	object = object.DeepCopy()
	object.SetNamespace(namespace)
	return s.in(namespace).Create(s.Context(), object, metav1.CreateOptions{FieldManager: ourManager, FieldValidation: metav1.FieldValidationStrict})
}

// argoApplies is what a sync of Argo CD does. Source: argo-cd gitops-engine pkg/utils/kube/resource_ops.go.
func (s *server) argoApplies(object *unstructured.Unstructured, namespace string, dryRun ...string) (*unstructured.Unstructured, error) {
	object = object.DeepCopy()
	object.SetNamespace(namespace)
	return s.in(namespace).Apply(s.Context(), object.GetName(), object, metav1.ApplyOptions{FieldManager: argoManager, Force: true, DryRun: dryRun})
}

func (s *server) patch(live *unstructured.Unstructured, body []byte) (*unstructured.Unstructured, error) {
	return s.in(live.GetNamespace()).Patch(s.Context(), live.GetName(), types.JSONPatchType, body, metav1.PatchOptions{FieldManager: ourManager})
}

func (s *server) read(namespace, name string) *unstructured.Unstructured {
	live, err := s.in(namespace).Get(s.Context(), name, metav1.GetOptions{})
	require.NoError(s, err)
	return live
}

func (s *server) delete(namespace, name string) {
	require.NoError(s, s.in(namespace).Delete(context.WithoutCancel(s.Context()), name, metav1.DeleteOptions{}))
}

// manifestsOfTheTests are Clusters of both shapes, as they stand in Git.
func manifestsOfTheTests(t *testing.T) map[string]*unstructured.Unstructured {
	all := map[string]*unstructured.Unstructured{
		"platform, in-tree": platformCluster(t, "immich"),
		"platform, plugin":  platformCluster(t, "forgejo"),
		"small":             parse(t, small),
	}
	for _, name := range []string{"immich-database", "media", "bare", "imported", "promoted"} {
		all[name] = cluster(t, "render.yaml", name)
		all[name].SetFinalizers(nil) // nobody here would take them away
	}
	return all
}

func renderingsAreAccepted(s *server, namespace string) {
	for name, manifest := range manifestsOfTheTests(s.T) {
		for variant, options := range map[string]RecoveryOptions{"latest": chosen(), "point in time": atPoint(chosen()), "beside": beside(chosen())} {
			rendered, _, err := RenderRecovery(manifest, options)
			require.NoError(s, err)
			created, err := s.create(rendered, namespace)
			require.NoError(s, err, "%s, %s", name, variant)
			asked, _, _ := unstructured.NestedMap(rendered.Object, "spec", "bootstrap")
			got, _, _ := unstructured.NestedMap(created.Object, "spec", "bootstrap")
			require.Equal(s, asked, got, "%s, %s: the defaulter has nothing to add", name, variant)
			require.Equal(s, options.PlanID, PlanMark(created))
			s.delete(namespace, created.GetName())
		}
	}
}

// renderingsOfLiveObjectsAreAccepted renders what the API server gives back, with all of its defaults.
func renderingsOfLiveObjectsAreAccepted(s *server, namespace string) {
	for name, manifest := range manifestsOfTheTests(s.T) {
		manifest = manifest.DeepCopy()
		for _, field := range []string{"uid", "resourceVersion", "managedFields", "ownerReferences"} {
			unstructured.RemoveNestedField(manifest.Object, "metadata", field)
		}
		live, err := s.argoApplies(manifest, namespace)
		require.NoError(s, err, name)
		s.delete(namespace, live.GetName())
		for variant, options := range map[string]RecoveryOptions{"latest": chosen(), "beside": beside(chosen())} {
			rendered, _, err := RenderRecovery(live, options)
			require.NoError(s, err)
			created, err := s.create(rendered, namespace)
			require.NoError(s, err, "%s, %s", name, variant)
			s.delete(namespace, created.GetName())
		}
	}
}

// renderingFromLiveTwice recovers a database that was recovered, from the live object alone.
func renderingFromLiveTwice(s *server, namespace string) {
	rendered, _, err := RenderRecovery(parse(s.T, small), chosen())
	require.NoError(s, err)
	for n := 3; n < 6; n++ {
		live, err := s.create(rendered, namespace)
		require.NoError(s, err)
		current, _, err := WriteServer(live)
		require.NoError(s, err)
		next := NextServer(current, nil)
		require.Equal(s, fmt.Sprintf("immich-database-v%d", n), next)
		s.delete(namespace, live.GetName())
		rendered, _, err = RenderRecovery(live, RecoveryOptions{PlanID: "plan-" + next, SourceServer: current, ArchiveServer: next, BackupID: "20261123T020000"})
		require.NoError(s, err)
		require.Equal(s, "plan-"+next, PlanMark(rendered))
		require.Len(s, listOfMaps(rendered, "spec", "externalClusters"), 1, "the same one is corrected each time")
	}
}
