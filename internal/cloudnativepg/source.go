package cloudnativepg

import (
	"fmt"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"

	"github.com/drctl/drctl/internal/recovery"
)

// addRecoverySources fills in the servers that the Cluster can recover from. The server's name of an
// in-tree external cluster defaults to the external cluster's name; with the plugin it defaults to the
// name of the Cluster itself. Source: CNPG api/v1 ExternalCluster.GetServerName, and the plugin's
// internal/cnpgi/operator/config.
func (s *surroundings) addRecoverySources(database *recovery.Database, cluster *apiv1.Cluster) {
	inUse := recoverySource(cluster)
	found := inUse == ""
	for i := range cluster.Spec.ExternalClusters {
		external := &cluster.Spec.ExternalClusters[i]
		source := recovery.RecoverySource{Name: external.Name, InUse: external.Name == inUse}
		found = found || source.InUse
		switch {
		case external.BarmanObjectStore != nil:
			source.ServerName = external.GetServerName()
			source.Store = storeOf(external.BarmanObjectStore)
		case isBarmanPlugin(external.PluginConfiguration):
			var warnings []string
			source.ServerName = nameOr(external.PluginConfiguration.Parameters[serverNameParameter], cluster.Name)
			source.Store, warnings = s.pluginStore(cluster.Namespace, external.PluginConfiguration)
			for _, warning := range warnings {
				database.Warnings = append(database.Warnings, fmt.Sprintf("external cluster %s: %s", external.Name, warning))
			}
		default:
			continue // reached over the network, without backups
		}
		database.RecoverySources = append(database.RecoverySources, source)
	}
	if !found {
		database.Warnings = append(database.Warnings, fmt.Sprintf("bootstrap.recovery.source names %q, which is not among the externalClusters", inUse))
	}
	s.addRecoveryBackup(database, cluster)
	if database.Directory != "" && cluster.Spec.Bootstrap != nil && cluster.Spec.Bootstrap.Recovery != nil {
		database.Warnings = append(database.Warnings,
			"bootstrap.recovery stands in the manifest: whenever the Cluster is created anew it is recovered again, to that point")
	}
}

// addRecoveryBackup adds the server of the Backup object that bootstrap.recovery.backup names.
func (s *surroundings) addRecoveryBackup(database *recovery.Database, cluster *apiv1.Cluster) {
	name := recoveryBackup(cluster)
	if name == "" {
		return
	}
	backup := s.backups[key{cluster.Namespace, name}]
	if backup == nil || backup.Status.DestinationPath == "" {
		database.Warnings = append(database.Warnings, fmt.Sprintf("bootstrap.recovery.backup names Backup %s, which does not say where it lies", name))
		return
	}
	database.RecoverySources = append(database.RecoverySources, recovery.RecoverySource{
		Name:       name,
		ServerName: nameOr(backup.Status.ServerName, backup.Spec.Cluster.Name),
		Store: storeOf(&apiv1.BarmanObjectStoreConfiguration{
			BarmanCredentials: backup.Status.BarmanCredentials,
			EndpointURL:       backup.Status.EndpointURL,
			EndpointCA:        backup.Status.EndpointCA,
			DestinationPath:   backup.Status.DestinationPath,
		}),
		InUse: true,
	})
}

// recoverySource is bootstrap.recovery.source, empty without.
func recoverySource(cluster *apiv1.Cluster) string {
	if cluster.Spec.Bootstrap == nil || cluster.Spec.Bootstrap.Recovery == nil {
		return ""
	}
	return cluster.Spec.Bootstrap.Recovery.Source
}

// recoveryBackup is the name in bootstrap.recovery.backup, empty without.
func recoveryBackup(cluster *apiv1.Cluster) string {
	if cluster.Spec.Bootstrap == nil || cluster.Spec.Bootstrap.Recovery == nil || cluster.Spec.Bootstrap.Recovery.Backup == nil {
		return ""
	}
	return cluster.Spec.Bootstrap.Recovery.Backup.Name
}
