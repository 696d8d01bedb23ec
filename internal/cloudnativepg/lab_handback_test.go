package cloudnativepg

import (
	"strings"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

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

// nothingHoldsArgoCDBackWithoutBootstrap: a manifest that leaves the bootstrap to CloudNativePG's defaults,
// and has no external clusters of its own, never collides with a recovery, so Argo CD's apply brings the
// old server back at once. Whoever recovers such a Cluster must have initdb put into Git first.
func nothingHoldsArgoCDBackWithoutBootstrap(s *server, namespace string) {
	manifest := parse(s.T, strings.Replace(small, "bootstrap: {initdb: {database: some, owner: some}}", "", 1))
	manifest.SetNamespace(namespace)
	require.Empty(s, Bootstrap(manifest))
	options := RecoveryOptions{SourceServer: "some", ArchiveServer: "some-v2", BackupID: "20261123T020000"}
	rendered, _, err := RenderRecovery(manifest, options)
	require.NoError(s, err)
	live, err := s.create(rendered, namespace)
	require.NoError(s, err)

	old := manifest.DeepCopy()
	require.NoError(s, setWriteServer(old, mustDecode(s.T, old), options.SourceServer))
	applied, err := s.argoApplies(old, namespace, metav1.DryRunAll)
	require.NoError(s, err)
	require.True(s, HasRecovery(applied))
	server, _, err := WriteServer(applied)
	require.NoError(s, err)
	require.Equal(s, options.SourceServer, server, "the old server is back")

	require.NoError(s, setWriteServer(manifest, mustDecode(s.T, manifest), options.ArchiveServer))
	patch, _, err := HandBackPatch(live, manifest)
	require.NoError(s, err)
	live, err = s.patch(live, patch)
	require.NoError(s, err)
	require.Equal(s, BootstrapInitDB, Bootstrap(live), "the defaulter adds it")
	require.Empty(s, listOfMaps(live, "spec", "externalClusters"))
	_, err = s.argoApplies(manifest, namespace)
	require.NoError(s, err)
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
