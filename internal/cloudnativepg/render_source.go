package cloudnativepg

import (
	"slices"
	"strconv"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

// setRecoverySource sees to it that an external cluster reads the server out of the store that the
// Cluster writes to, and gives its name. One that reads that store already is corrected, unless a
// replica or an import refers to it; else one is added. All others stay as they are.
func setRecoverySource(rendered *unstructured.Unstructured, cluster *apiv1.Cluster, write *writeSide, server string) (string, error) {
	field, settings := "barmanObjectStore", readSettings(write, server)
	if write.plugin {
		field, settings = "plugin", map[string]any{"name": pluginName, "parameters": settings}
	}
	value, found, _ := unstructured.NestedFieldNoCopy(rendered.Object, "spec", "externalClusters")
	list, ok := value.([]any)
	if found && value != nil && !ok {
		return "", &recovery.Problem{What: "read Cluster " + fullName(rendered), Why: "spec.externalClusters is no list", Next: "correct the manifest", Err: recovery.ErrDamaged}
	}
	if index := reusable(cluster, write, server); index >= 0 {
		entry := listOfMaps(rendered, "spec", "externalClusters")[index]
		keepReadingOptions(settings, entry[field])
		entry[field] = settings
		return cluster.Spec.ExternalClusters[index].Name, nil
	}
	name := freeName(cluster, server)
	spec(rendered)["externalClusters"] = append(list, map[string]any{"name": name, field: settings})
	return name, nil
}

// readSettings is the write side as far as reading needs it: the place, the credentials, and how to
// fetch WAL. What only matters for writing is left out.
// Source: barman-cloud pkg/api/config.go, pkg/command/walrestore.go.
func readSettings(write *writeSide, server string) map[string]any {
	settings := runtime.DeepCopyJSON(write.settings)
	settings[serverNameParameter] = server
	if write.plugin {
		return settings
	}
	for _, field := range []string{"data", "tags", "historyTags"} {
		delete(settings, field)
	}
	if wal, ok := settings["wal"].(map[string]any); ok {
		for _, field := range []string{"compression", "encryption", "archiveAdditionalCommandArgs"} {
			delete(wal, field)
		}
		if len(wal) == 0 {
			delete(settings, "wal")
		}
	}
	return settings
}

// keepReadingOptions keeps how an external cluster that stood there already fetches WAL.
func keepReadingOptions(settings map[string]any, before any) {
	fields, _ := before.(map[string]any)
	if wal, ok := fields["wal"]; ok {
		settings["wal"] = wal
	}
}

// reusable is the place of the external cluster to correct, -1 without one: among those that read the
// store and that nothing but a recovery uses, the one that bootstrap.recovery names, else one that
// reads the server already, else the first.
func reusable(cluster *apiv1.Cluster, write *writeSide, server string) int {
	best, rank := -1, 0
	for i := range cluster.Spec.ExternalClusters {
		external := &cluster.Spec.ExternalClusters[i]
		if !readsStore(external, write) || slices.Contains(referredTo(cluster), external.Name) {
			continue
		}
		reads := external.GetServerName()
		if write.plugin {
			reads = nameOr(external.PluginConfiguration.Parameters[serverNameParameter], cluster.Name)
		}
		worth := 1
		switch {
		case external.Name == recoverySource(cluster):
			worth = 3
		case reads == server:
			worth = 2
		}
		if worth > rank {
			best, rank = i, worth
		}
	}
	return best
}

// readsStore reports whether the external cluster is nothing but a reader of the store.
func readsStore(external *apiv1.ExternalCluster, write *writeSide) bool {
	if external.ConnectionParameters != nil {
		return false
	}
	if write.plugin {
		return external.BarmanObjectStore == nil && isBarmanPlugin(external.PluginConfiguration) &&
			external.PluginConfiguration.Parameters[objectNameParameter] == write.store
	}
	return external.PluginConfiguration == nil && external.BarmanObjectStore != nil && storeKey(external.BarmanObjectStore) == write.store
}

// referredTo are the external clusters that something else than a recovery uses.
func referredTo(cluster *apiv1.Cluster) []string {
	var names []string
	if replica := cluster.Spec.ReplicaCluster; replica != nil {
		names = append(names, replica.Source, replica.Primary, replica.Self)
	}
	if bootstrap := cluster.Spec.Bootstrap; bootstrap != nil && bootstrap.InitDB != nil && bootstrap.InitDB.Import != nil {
		names = append(names, bootstrap.InitDB.Import.Source.ExternalCluster)
	}
	return names
}

// freeName names a new external cluster after the server: that is also what CloudNativePG would read
// if the serverName were lost from it.
func freeName(cluster *apiv1.Cluster, server string) string {
	taken := make([]string, 0, len(cluster.Spec.ExternalClusters))
	for i := range cluster.Spec.ExternalClusters {
		taken = append(taken, cluster.Spec.ExternalClusters[i].Name)
	}
	name := server
	for n := 2; slices.Contains(taken, name); n++ {
		name = server + "-backup"
		if n > 2 {
			name += strconv.Itoa(n)
		}
	}
	return name
}
