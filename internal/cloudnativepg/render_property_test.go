package cloudnativepg

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestRenderRecoveryOfGeneratedClusters holds, for manifests with every mix of features, that only the
// intended paths differ, and that rendering twice is rendering once.
func TestRenderRecoveryOfGeneratedClusters(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1502))
	for n := range 1000 {
		manifest := generateCluster(random)
		options := chosen()
		if random.IntN(3) == 0 {
			options = atPoint(options)
		}
		if random.IntN(3) == 0 {
			options = beside(options)
		}
		rendered, _, err := RenderRecovery(manifest, options)
		require.NoError(t, err, "manifest %d: %v", n, manifest.Object)
		requireIntended(t, manifest, rendered, options)
	}
}

// requireIntended holds what is true of every rendering.
func requireIntended(t *testing.T, manifest, rendered *unstructured.Unstructured, o RecoveryOptions) {
	t.Helper()
	for _, path := range differences("", manifest.Object, rendered.Object) {
		require.True(t, slices.ContainsFunc(intendedPaths(manifest, o), func(prefix string) bool { return strings.HasPrefix(path, prefix) }),
			"%s differs and should not", path)
	}
	decoded, err := decodeCluster(rendered)
	require.NoError(t, err)
	requireRecovery(t, rendered, o)
	for _, before := range listOfMaps(manifest, "spec", "externalClusters") {
		if slices.ContainsFunc(listOfMaps(rendered, "spec", "externalClusters"), func(after map[string]any) bool { return reflect.DeepEqual(before, after) }) {
			continue
		}
		require.Equal(t, recoverySource(decoded), before["name"], "only the one that is read is corrected")
	}
	require.Equal(t, o.PlanID, PlanMark(rendered))
	if o.NewName != "" {
		_, _, err := WriteServer(rendered)
		require.ErrorContains(t, err, "it has no backups")
		require.Equal(t, o.NewName, rendered.GetName())
		return
	}
	server, _, err := WriteServer(rendered)
	require.NoError(t, err)
	require.Equal(t, o.ArchiveServer, server)
	again, _, err := RenderRecovery(rendered, o)
	require.NoError(t, err)
	require.Equal(t, rendered.Object, again.Object, "rendering twice is rendering once")
}

// requireRecovery asks the reader that lists databases what the rendered Cluster would recover from.
func requireRecovery(t *testing.T, rendered *unstructured.Unstructured, o RecoveryOptions) {
	t.Helper()
	require.Equal(t, BootstrapRecovery, Bootstrap(rendered))
	databases, _, err := Databases(t.Context(), &manifests{items: []unstructured.Unstructured{*rendered}}, "")
	require.NoError(t, err)
	require.Len(t, databases, 1)
	inUse := 0
	for _, source := range databases[0].RecoverySources {
		if source.InUse {
			inUse++
			require.Equal(t, o.SourceServer, source.ServerName)
		}
	}
	require.Equal(t, 1, inUse)
	id, _, err := unstructured.NestedString(rendered.Object, "spec", "bootstrap", "recovery", "recoveryTarget", "backupID")
	require.NoError(t, err)
	require.Equal(t, o.BackupID, id)
}

// intendedPaths are where a rendering may differ from its manifest.
func intendedPaths(manifest *unstructured.Unstructured, o RecoveryOptions) []string {
	paths := []string{
		".status", ".spec.bootstrap", ".spec.externalClusters",
		".metadata.uid", ".metadata.resourceVersion", ".metadata.generation", ".metadata.creationTimestamp", ".metadata.managedFields",
		".metadata.finalizers", ".metadata.ownerReferences", ".metadata.labels." + PlanKey, ".metadata.annotations." + PlanKey,
		".metadata.annotations.drctl.dev/directory", ".metadata.annotations.kubectl.kubernetes.io/last-applied-configuration",
		".metadata.annotations.cnpg.io/fencedInstances", ".metadata.annotations.cnpg.io/reconciliationLoop",
	}
	if o.NewName != "" {
		return append(paths, ".metadata.name", ".metadata.labels", ".metadata.annotations.argocd.argoproj.io/tracking-id",
			".spec.backup", ".spec.plugins", ".spec.managed.services.additional", ".spec.inheritedMetadata.labels")
	}
	paths = append(paths, ".spec.backup.barmanObjectStore.serverName")
	for i, plugin := range listOfMaps(manifest, "spec", "plugins") {
		if plugin["name"] == pluginName {
			paths = append(paths, fmt.Sprintf(".spec.plugins[%d].parameters.serverName", i))
		}
	}
	return paths
}

// differences are the paths at which two values differ; a missing map counts as an empty one.
func differences(path string, a, b any) []string {
	var found []string
	aMap, aIsMap := a.(map[string]any)
	bMap, bIsMap := b.(map[string]any)
	if (aIsMap || a == nil) && (bIsMap || b == nil) && (aIsMap || bIsMap) {
		for key := range union(aMap, bMap) {
			found = append(found, differences(path+"."+key, aMap[key], bMap[key])...)
		}
		return found
	}
	aList, aIsList := a.([]any)
	bList, bIsList := b.([]any)
	if aIsList && bIsList && len(aList) == len(bList) {
		for i := range aList {
			found = append(found, differences(fmt.Sprintf("%s[%d]", path, i), aList[i], bList[i])...)
		}
		return found
	}
	if !reflect.DeepEqual(a, b) {
		found = append(found, path)
	}
	return found
}

func union(a, b map[string]any) map[string]bool {
	keys := map[string]bool{}
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

// generateCluster makes a Cluster that can be recovered, with any mix of what Clusters have.
func generateCluster(random *rand.Rand) *unstructured.Unstructured {
	some := func() bool { return random.IntN(2) == 0 }
	metadata := map[string]any{"name": "some", "namespace": "databases"}
	fields := map[string]any{"storage": map[string]any{"size": "1Gi"}, "instances": int64(1 + random.IntN(3))}
	if some() {
		metadata["uid"], metadata["resourceVersion"] = "6f0c2f0e", "12"
		metadata["labels"] = map[string]any{"app": "some", "team": "a", PlanKey: "older"}
		metadata["annotations"] = map[string]any{"argocd.argoproj.io/tracking-id": "x:y/z:a/b", "cnpg.io/fencedInstances": "[]", "drctl.dev/directory": "a"}
	}
	store := map[string]any{"destinationPath": "s3://backups/some", "endpointURL": "http://s3:9000", "s3Credentials": map[string]any{"inheritFromIAMRole": true}}
	if some() {
		store["wal"] = map[string]any{"compression": "gzip", "maxParallel": int64(4)}
	}
	if some() {
		store["serverName"] = "immich-database-v1"
	}
	parameters := map[string]any{objectNameParameter: "garage"}
	if some() {
		parameters[serverNameParameter] = "immich-database-v1"
	}
	if some() {
		fields["backup"] = map[string]any{"retentionPolicy": "14d", "barmanObjectStore": store}
	} else {
		plugins := []any{map[string]any{"name": pluginName, "isWALArchiver": true, "parameters": parameters}}
		if some() {
			plugins = append([]any{map[string]any{"name": "other.plugin"}}, plugins...)
		}
		fields["plugins"] = plugins
	}
	generateSources(random, fields)
	if some() {
		fields["managed"] = map[string]any{"services": map[string]any{"additional": []any{map[string]any{"selectorType": "rw", "serviceTemplate": map[string]any{"metadata": map[string]any{"name": "fixed"}}}}}}
		fields["inheritedMetadata"] = map[string]any{"labels": map[string]any{"app": "some"}}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": metadata, "spec": fields,
	}}
}

// generateSources adds a bootstrap and external clusters of all sorts, in any order.
func generateSources(random *rand.Rand, fields map[string]any) {
	reader := func(name, path, server string) map[string]any {
		return map[string]any{"name": name, "barmanObjectStore": map[string]any{"destinationPath": path, "endpointURL": "http://s3:9000/", "serverName": server}}
	}
	pluginReader := func(name, object string) map[string]any {
		return map[string]any{"name": name, "plugin": map[string]any{"name": pluginName, "parameters": map[string]any{objectNameParameter: object}}}
	}
	hybrid := reader("hybrid", "s3://backups/some", "immich-database-v1")
	hybrid["connectionParameters"] = map[string]any{"host": "db"}
	all := []any{
		map[string]any{"name": "network", "connectionParameters": map[string]any{"host": "db"}}, hybrid,
		reader("same", "s3://backups/some/", "immich-database-v1"), reader("same-older", "s3://backups/some", "immich-database-v0"),
		reader("other", "s3://backups/other", "immich-database-v1"), reader("immich-database-v1", "s3://else/where", "x"),
		pluginReader("plugged", "garage"), pluginReader("plugged-elsewhere", "other"),
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if n := random.IntN(len(all) + 1); n > 0 {
		fields["externalClusters"] = all[:n]
		followed := all[random.IntN(n)].(map[string]any)["name"]
		switch random.IntN(4) {
		case 0:
			fields["bootstrap"] = map[string]any{"recovery": map[string]any{"source": followed, "database": "a"}}
		case 1:
			fields["bootstrap"] = map[string]any{"initdb": map[string]any{"import": map[string]any{
				"type": "microservice", "databases": []any{"a"}, "source": map[string]any{"externalCluster": followed},
			}}}
		case 2:
			fields["replica"] = map[string]any{"enabled": false, "source": followed}
		}
		return
	}
	if random.IntN(2) == 0 {
		fields["bootstrap"] = map[string]any{"initdb": map[string]any{"database": "a", "owner": "b", "secret": map[string]any{"name": "c"}}}
	}
}
