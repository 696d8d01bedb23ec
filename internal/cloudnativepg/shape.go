package cloudnativepg

import (
	"errors"
	"fmt"
	"strings"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

// PlanKey is the label and the annotation that name the plan of drctl which created an object.
const PlanKey = "drctl.dev/plan"

// The ways in which CloudNativePG fills a new Cluster, as they are called in spec.bootstrap.
const (
	BootstrapInitDB       = "initdb"
	BootstrapRecovery     = "recovery"
	BootstrapPgBaseBackup = "pg_basebackup"
)

// writeSide is where a Cluster writes backups and WAL, in the words of its own manifest.
type writeSide struct {
	// server is the server's name, defaulted to the Cluster's.
	server string
	// plugin is true for the barman-cloud plugin, false for the in-tree barmanObjectStore.
	plugin bool
	// settings are the barmanObjectStore, or the plugin's parameters. They belong to the manifest: copy
	// them before a change.
	settings map[string]any
	// store tells one store from another: the S3 path and endpoint, or the ObjectStore's name.
	store string
}

// PlanMark is the plan that created the Cluster, empty for one that drctl did not create.
func PlanMark(cluster *unstructured.Unstructured) string {
	return cluster.GetAnnotations()[PlanKey]
}

// Bootstrap is the method in spec.bootstrap, empty when there is none (CloudNativePG then defaults to
// initdb) or several.
func Bootstrap(cluster *unstructured.Unstructured) string {
	found := ""
	for _, method := range []string{BootstrapInitDB, BootstrapRecovery, BootstrapPgBaseBackup} {
		if !hasBootstrap(cluster, method) {
			continue
		}
		if found != "" {
			return ""
		}
		found = method
	}
	return found
}

// HasRecovery reports whether spec.bootstrap.recovery stands in the Cluster, alone or not. As long as it
// does, CloudNativePG refuses every apply that brings initdb back.
func HasRecovery(cluster *unstructured.Unstructured) bool {
	return hasBootstrap(cluster, BootstrapRecovery)
}

// hasBootstrap takes a method that is null for none, as the API server does.
func hasBootstrap(cluster *unstructured.Unstructured, method string) bool {
	block, _, _ := unstructured.NestedFieldNoCopy(cluster.Object, "spec", "bootstrap", method)
	return block != nil
}

// WriteServer is the server that the Cluster writes backups and WAL to, and whether it does so by the
// barman-cloud plugin. A Cluster without backups, with both shapes at once, or with another WAL
// archiver is recovery.ErrUnsupported.
func WriteServer(cluster *unstructured.Unstructured) (server string, plugin bool, err error) {
	decoded, err := decodeCluster(cluster)
	if err != nil {
		return "", false, err
	}
	write, err := writeSideOf(cluster, decoded)
	if err != nil {
		return "", false, err
	}
	return write.server, write.plugin, nil
}

// decodeCluster reads a manifest as the operator does.
func decodeCluster(manifest *unstructured.Unstructured) (*apiv1.Cluster, error) {
	kind := manifest.GroupVersionKind()
	if kind.Group != apiv1.SchemeGroupVersion.Group || kind.Kind != apiv1.ClusterKind {
		return nil, &recovery.Problem{
			What: fmt.Sprintf("read Cluster %s", fullName(manifest)),
			Why:  fmt.Sprintf("it is a %s of %s", kind.Kind, kind.GroupVersion()),
			Next: "give the manifest of a Cluster of postgresql.cnpg.io/v1",
			Err:  recovery.ErrUsage,
		}
	}
	var cluster apiv1.Cluster
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(manifest.Object, &cluster); err != nil {
		return nil, &recovery.Problem{
			What: fmt.Sprintf("read Cluster %s", fullName(manifest)),
			Why:  err.Error(),
			Next: "correct the manifest",
			Err:  errors.Join(recovery.ErrDamaged, err),
		}
	}
	return &cluster, nil
}

// writeSideOf finds the one known place that the Cluster writes to.
func writeSideOf(manifest *unstructured.Unstructured, cluster *apiv1.Cluster) (*writeSide, error) {
	inTree, inTreeFound, _ := unstructured.NestedFieldNoCopy(manifest.Object, "spec", "backup", "barmanObjectStore")
	index, err := archiverIndex(cluster)
	if err != nil {
		return nil, err
	}
	switch {
	case index >= 0 && inTreeFound:
		return nil, unsupported(cluster, "both spec.backup.barmanObjectStore and the barman-cloud plugin are configured, so it is not certain where its backups are",
			"keep the one that archives WAL")
	case index >= 0:
		return pluginSide(manifest, cluster, index)
	case inTreeFound:
		settings, ok := inTree.(map[string]any)
		if !ok || cluster.Spec.Backup == nil || cluster.Spec.Backup.BarmanObjectStore == nil {
			return nil, unsupported(cluster, "spec.backup.barmanObjectStore is empty", "give its destinationPath and credentials")
		}
		store := cluster.Spec.Backup.BarmanObjectStore
		return &writeSide{server: nameOr(store.ServerName, cluster.Name), settings: settings, store: storeKey(store)}, nil
	}
	return nil, unsupported(cluster, "it has no backups: neither spec.backup.barmanObjectStore nor the barman-cloud plugin is configured",
		"give the manifest that it wrote backups with: --gitops DIR")
}

func pluginSide(manifest *unstructured.Unstructured, cluster *apiv1.Cluster, index int) (*writeSide, error) {
	plugin := &cluster.Spec.Plugins[index]
	object := plugin.Parameters[objectNameParameter]
	if object == "" {
		return nil, unsupported(cluster, "the barman-cloud plugin has no parameter "+objectNameParameter, "name its ObjectStore there")
	}
	settings, _ := listOfMaps(manifest, "spec", "plugins")[index]["parameters"].(map[string]any)
	return &writeSide{
		server: nameOr(plugin.Parameters[serverNameParameter], cluster.Name), plugin: true, settings: settings, store: object,
	}, nil
}

// archiverIndex is the place of the barman-cloud plugin in spec.plugins, -1 without it. Two of them, or
// another plugin that archives the WAL, can't be recovered from with certainty. (A plugin that is
// switched off counts for nothing.)
func archiverIndex(cluster *apiv1.Cluster) (int, error) {
	found := -1
	for i := range cluster.Spec.Plugins {
		plugin := &cluster.Spec.Plugins[i]
		switch {
		case !plugin.IsEnabled():
		case plugin.Name != pluginName:
			if archivesWAL(plugin) {
				return -1, unsupported(cluster, fmt.Sprintf("its WAL is archived by the plugin %s", plugin.Name),
					"drctl recovers from barmanObjectStore and the plugin "+pluginName+" only")
			}
		case found >= 0:
			return -1, unsupported(cluster, "spec.plugins has "+pluginName+" twice", "keep one of them")
		default:
			found = i
		}
	}
	return found, nil
}

// storeKey tells one S3 place from another; a slash at the end makes no other place of it.
func storeKey(store *apiv1.BarmanObjectStoreConfiguration) string {
	return strings.TrimRight(store.DestinationPath, "/") + " at " + nameOr(strings.TrimRight(store.EndpointURL, "/"), "AWS")
}

func unsupported(cluster *apiv1.Cluster, why, next string) error {
	return &recovery.Problem{
		What: fmt.Sprintf("recover Cluster %s/%s", cluster.Namespace, cluster.Name), Why: why, Next: next, Err: recovery.ErrUnsupported,
	}
}

// listOfMaps gives the maps of a list in a manifest, as they stand there; what is no map is nil.
func listOfMaps(manifest *unstructured.Unstructured, fields ...string) []map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(manifest.Object, fields...)
	list, _ := value.([]any)
	maps := make([]map[string]any, len(list))
	for i := range list {
		maps[i], _ = list[i].(map[string]any)
	}
	return maps
}

func fullName(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetName()
	}
	return object.GetNamespace() + "/" + object.GetName()
}
