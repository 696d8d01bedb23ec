package cloudnativepg

import (
	"fmt"
	"strings"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// pluginName is how the barman-cloud plugin is called in a Cluster.
	pluginName = "barman-cloud.cloudnative-pg.io"
	// objectNameParameter and serverNameParameter are the plugin's parameters.
	objectNameParameter = "barmanObjectName"
	serverNameParameter = "serverName"
)

// objectStore is the plugin's ObjectStore; its module is not needed for these fields.
type objectStore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Configuration apiv1.BarmanObjectStoreConfiguration `json:"configuration"`
	} `json:"spec"`
}

func objectStoresResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "barmancloud.cnpg.io", Version: "v1", Resource: "objectstores"}
}

// addWriteSide fills in where the Cluster writes backups and WAL. The server's name defaults to the
// Cluster's. Where both shapes stand, the one that archives WAL counts.
func (s *surroundings) addWriteSide(database *recovery.Database, cluster *apiv1.Cluster) {
	warn := func(format string, values ...any) {
		database.Warnings = append(database.Warnings, fmt.Sprintf(format, values...))
	}
	plugin := barmanPlugin(cluster.Spec.Plugins)
	var inTree *apiv1.BarmanObjectStoreConfiguration
	if cluster.Spec.Backup != nil {
		inTree = cluster.Spec.Backup.BarmanObjectStore
	}
	switch {
	case plugin != nil && (inTree == nil || archivesWAL(plugin)):
		database.Plugin = true
		database.ServerName = nameOr(plugin.Parameters[serverNameParameter], cluster.Name)
		store, warnings := s.pluginStore(cluster.Namespace, plugin)
		database.Store = store
		database.Warnings = append(database.Warnings, warnings...)
		if !archivesWAL(plugin) {
			warn("the barman-cloud plugin is not the WAL archiver (isWALArchiver): nothing after a base backup can be recovered")
		}
		if inTree != nil {
			warn("spec.backup.barmanObjectStore stands beside the plugin that archives WAL: CloudNativePG refuses both")
		}
		if cluster.Spec.Backup != nil && cluster.Spec.Backup.RetentionPolicy != "" {
			warn("spec.backup.retentionPolicy has no effect with the plugin: set it in the ObjectStore")
		}
	case inTree != nil:
		database.ServerName = nameOr(inTree.ServerName, cluster.Name)
		database.Store = storeOf(inTree)
	default:
		warn("no backups: neither spec.backup.barmanObjectStore nor the barman-cloud plugin is configured")
		return
	}
	if path := database.Store.DestinationPath; path != "" && !strings.HasPrefix(path, "s3://") {
		warn("backups go to %s: drctl reads s3:// only", path)
	}
}

// pluginStore resolves the ObjectStore that a plugin's parameters name.
func (s *surroundings) pluginStore(namespace string, plugin *apiv1.PluginConfiguration) (recovery.ObjectStore, []string) {
	name := plugin.Parameters[objectNameParameter]
	if name == "" {
		return recovery.ObjectStore{}, []string{"the barman-cloud plugin has no parameter " + objectNameParameter}
	}
	store := s.stores[key{namespace, name}]
	if store == nil {
		why := "does not exist"
		if !s.storesKnown {
			why = "could not be read"
		}
		return recovery.ObjectStore{}, []string{fmt.Sprintf("ObjectStore %s/%s %s", namespace, name, why)}
	}
	var warnings []string
	if odd := store.Spec.Configuration.ServerName; odd != "" {
		warnings = append(warnings, fmt.Sprintf("ObjectStore %s/%s sets serverName %q, which has no effect: it belongs into the plugin's parameters", namespace, name, odd))
	}
	return storeOf(&store.Spec.Configuration), warnings
}

// barmanPlugin is the enabled barman-cloud plugin, preferably the one that archives WAL; nil without.
func barmanPlugin(plugins []apiv1.PluginConfiguration) *apiv1.PluginConfiguration {
	var found *apiv1.PluginConfiguration
	for i := range plugins {
		if isBarmanPlugin(&plugins[i]) && (found == nil || !archivesWAL(found)) {
			found = &plugins[i]
		}
	}
	return found
}

func isBarmanPlugin(plugin *apiv1.PluginConfiguration) bool {
	return plugin != nil && plugin.Name == pluginName && plugin.IsEnabled()
}

func archivesWAL(plugin *apiv1.PluginConfiguration) bool {
	return plugin.IsWALArchiver != nil && *plugin.IsWALArchiver
}

// refersToObjectStore reports whether the Cluster writes to or reads from an ObjectStore.
func refersToObjectStore(cluster *apiv1.Cluster) bool {
	if barmanPlugin(cluster.Spec.Plugins) != nil {
		return true
	}
	for i := range cluster.Spec.ExternalClusters {
		if isBarmanPlugin(cluster.Spec.ExternalClusters[i].PluginConfiguration) {
			return true
		}
	}
	return false
}

// storeOf is a Barman configuration in recovery's words.
func storeOf(configuration *apiv1.BarmanObjectStoreConfiguration) recovery.ObjectStore {
	store := recovery.ObjectStore{
		DestinationPath: configuration.DestinationPath,
		EndpointURL:     configuration.EndpointURL,
		EndpointCA:      secretKey(configuration.EndpointCA),
	}
	if keys := configuration.AWS; keys != nil {
		store.AccessKeyID = secretKey(keys.AccessKeyIDReference)
		store.SecretAccessKey = secretKey(keys.SecretAccessKeyReference)
		store.SessionToken = secretKey(keys.SessionToken)
		store.Region = secretKey(keys.RegionReference)
		store.InheritFromIAMRole = keys.InheritFromIAMRole
	}
	return store
}

func secretKey(selector *apiv1.SecretKeySelector) recovery.SecretKey {
	if selector == nil {
		return recovery.SecretKey{}
	}
	return recovery.SecretKey{Name: selector.Name, Key: selector.Key}
}

func nameOr(name, fallback string) string {
	if name == "" {
		return fallback
	}
	return name
}
