package cloudnativepg

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

func handBackOpensTheWayForArgoCD(s *server, namespace string) {
	manifest := platformCluster(s.T, "immich")
	s.handBack(manifest, namespace, RecoveryOptions{PlanID: "plan-a", SourceServer: "immich-database-v2", ArchiveServer: "immich-database-v3", BackupID: "20261123T020000"})
}

func handBackOfThePlugin(s *server, namespace string) {
	manifest := platformCluster(s.T, "forgejo")
	s.handBack(manifest, namespace, RecoveryOptions{PlanID: "plan-b", SourceServer: "forgejo-database-v1", ArchiveServer: "forgejo-database-v2", BackupID: "20261123T020000"})
}

// handBack recovers, and proves that Argo CD is refused before the hand-back and passes after it.
func (s *server) handBack(manifest *unstructured.Unstructured, namespace string, options RecoveryOptions) {
	manifest.SetNamespace(namespace)
	rendered, _, err := RenderRecovery(manifest, options)
	require.NoError(s, err)
	live, err := s.create(rendered, namespace)
	require.NoError(s, err)
	_, _, err = HandBackPatch(live, manifest)
	require.ErrorContains(s, err, "Git's manifest says server "+options.SourceServer, "Git still names the old server")

	require.NoError(s, setWriteServer(manifest, mustDecode(s.T, manifest), options.ArchiveServer))
	_, err = s.argoApplies(manifest, namespace)
	require.True(s, apierrors.IsInvalid(err), "%v", err)
	require.ErrorContains(s, err, "Only one bootstrap method can be specified at a time")
	failure, known := ExplainRecovery(err.Error())
	require.True(s, known)
	require.Contains(s, failure.Cause, "initdb beside recovery")

	patch, needed, err := HandBackPatch(live, manifest)
	require.NoError(s, err)
	require.True(s, needed)
	live, err = s.patch(live, patch)
	require.NoError(s, err)
	require.Equal(s, BootstrapInitDB, Bootstrap(live))
	require.Empty(s, listOfMaps(live, "spec", "externalClusters"))
	_, err = s.patch(live, patch)
	require.True(s, apierrors.IsInvalid(err), "the same patch twice fails: %v", err)
	_, needed, err = HandBackPatch(live, manifest)
	require.NoError(s, err)
	require.False(s, needed, "and is not needed")

	_, err = s.argoApplies(manifest, namespace, metav1.DryRunAll)
	require.NoError(s, err)
	live, err = s.argoApplies(manifest, namespace)
	require.NoError(s, err)
	require.Equal(s, "plan-", PlanMark(live)[:5], "the mark survives")
	server, _, err := WriteServer(live)
	require.NoError(s, err)
	require.Equal(s, options.ArchiveServer, server)
}

// ownExternalClustersAreKept hands Clusters back that follow, or imported from, another one.
func ownExternalClustersAreKept(s *server, namespace string) {
	const network = "externalClusters: [{name: a, connectionParameters: {host: db}}]\n  storage"
	for name, manifest := range map[string]*unstructured.Unstructured{
		"promoted": parse(s.T, strings.Replace(small, "storage", "replica: {enabled: false, source: a}\n  "+network, 1)),
		"imported": parse(s.T, strings.NewReplacer("storage", network, "owner: some",
			"owner: some, import: {type: microservice, databases: [some], source: {externalCluster: a}}").Replace(small)),
	} {
		manifest.SetNamespace(namespace)
		rendered, _, err := RenderRecovery(manifest, chosen())
		require.NoError(s, err)
		live, err := s.create(rendered, namespace)
		require.NoError(s, err, name)
		require.NoError(s, setWriteServer(manifest, mustDecode(s.T, manifest), chosen().ArchiveServer))

		patch, needed, err := HandBackPatch(live, manifest)
		require.NoError(s, err)
		require.True(s, needed)
		if name == "promoted" {
			_, err = s.patch(live, []byte(strings.Replace(string(patch), `"add","path":"/spec/externalClusters"`, `"remove","path":"/spec/externalClusters"`, 1)))
			require.ErrorContains(s, err, "External cluster a not found", "removing them would be refused (of an import CloudNativePG does not ask for its source)")
		}
		live, err = s.patch(live, patch)
		require.NoError(s, err, name)
		require.Equal(s, listOfMaps(manifest, "spec", "externalClusters"), listOfMaps(live, "spec", "externalClusters"))
		_, err = s.argoApplies(manifest, namespace)
		require.NoError(s, err, name)
		s.delete(namespace, live.GetName())
	}
}

// droppedManagerLetsFieldsGo proves that a field which leaves Git leaves the Cluster only once drctl
// has given its ownership up.
func droppedManagerLetsFieldsGo(s *server, namespace string) {
	manifest := parse(s.T, strings.Replace(small, "storage", "priorityClassName: high\n  storage", 1))
	manifest.SetNamespace(namespace)
	rendered, _, err := RenderRecovery(manifest, chosen())
	require.NoError(s, err)
	live, err := s.create(rendered, namespace)
	require.NoError(s, err)
	_, _, err = DropManagerPatch(live, ourManager)
	require.ErrorContains(s, err, "nobody else has applied the object yet")

	require.NoError(s, setWriteServer(manifest, mustDecode(s.T, manifest), chosen().ArchiveServer))
	patch, _, err := HandBackPatch(live, manifest)
	require.NoError(s, err)
	_, err = s.patch(live, patch)
	require.NoError(s, err)
	live, err = s.argoApplies(manifest, namespace)
	require.NoError(s, err)

	delete(spec(manifest), "priorityClassName")
	still, err := s.argoApplies(manifest, namespace, metav1.DryRunAll)
	require.NoError(s, err)
	require.Equal(s, "high", spec(still)["priorityClassName"], "as long as drctl owns it too, it stays")

	patch, needed, err := DropManagerPatch(live, ourManager)
	require.NoError(s, err)
	require.True(s, needed)
	touched, err := s.in(namespace).Patch(s.Context(), live.GetName(), types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{FieldManager: "somebody"})
	require.NoError(s, err)
	_, err = s.patch(live, patch)
	require.True(s, apierrors.IsInvalid(err), "computed from an older object: %v", err)
	patch, _, err = DropManagerPatch(touched, ourManager)
	require.NoError(s, err)
	live, err = s.patch(live, patch)
	require.NoError(s, err)
	_, needed, err = DropManagerPatch(live, ourManager)
	require.NoError(s, err)
	require.False(s, needed, "the patch itself leaves no entry: %v", live.GetManagedFields())

	live, err = s.argoApplies(manifest, namespace)
	require.NoError(s, err)
	require.NotContains(s, spec(live), "priorityClassName", "now it goes")
	require.Equal(s, chosen().PlanID, PlanMark(live))
}

// patchesMissAReplacement: another object of the same name is not touched.
func patchesMissAReplacement(s *server, namespace string) {
	manifest := parse(s.T, small)
	manifest.SetNamespace(namespace)
	rendered, _, err := RenderRecovery(manifest, chosen())
	require.NoError(s, err)
	old, err := s.create(rendered, namespace)
	require.NoError(s, err)
	require.NoError(s, setWriteServer(manifest, mustDecode(s.T, manifest), chosen().ArchiveServer))
	patch, _, err := HandBackPatch(old, manifest)
	require.NoError(s, err)
	s.delete(namespace, old.GetName())
	_, err = s.create(rendered, namespace)
	require.NoError(s, err)
	_, err = s.patch(old, patch)
	require.True(s, apierrors.IsInvalid(err), "%v", err)
	require.True(s, HasRecovery(s.read(namespace, old.GetName())))
}
