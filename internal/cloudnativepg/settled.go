package cloudnativepg

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// WithWriteServer is the manifest as it ought to be kept for a recovered Cluster that no Git knows:
// writing to another server, made by initdb, and without what only a server sets. A recovery that stood
// in it goes: whenever the Cluster was created anew it would be rolled back to that point.
func WithWriteServer(manifest *unstructured.Unstructured, server string) (*unstructured.Unstructured, error) {
	cluster, err := decodeCluster(manifest)
	if err != nil {
		return nil, err
	}
	if _, err := writeSideOf(manifest, cluster); err != nil {
		return nil, err
	}
	settled := manifest.DeepCopy()
	cleanMetadata(settled)
	if err := setWriteServer(settled, cluster, server); err != nil {
		return nil, err
	}
	if !HasRecovery(manifest) {
		return settled, nil
	}
	application := applicationOf(cluster)
	block := map[string]any{"database": application.database, "owner": application.owner}
	if application.secret != "" {
		block["secret"] = map[string]any{"name": application.secret}
	}
	spec(settled)["bootstrap"] = map[string]any{BootstrapInitDB: block}
	return settled, nil
}

// Recovered is what a Cluster's bootstrap.recovery reads: the server, the backup and the target; empty
// where it does not say.
type Recovered struct {
	Server, BackupID, TargetTime string
}

// RecoveryOf reads bootstrap.recovery of a Cluster in either shape.
func RecoveryOf(manifest *unstructured.Unstructured) (Recovered, error) {
	cluster, err := decodeCluster(manifest)
	if err != nil || cluster.Spec.Bootstrap == nil || cluster.Spec.Bootstrap.Recovery == nil {
		return Recovered{}, err
	}
	block := cluster.Spec.Bootstrap.Recovery
	var found Recovered
	if block.RecoveryTarget != nil {
		found.BackupID, found.TargetTime = block.RecoveryTarget.BackupID, block.RecoveryTarget.TargetTime
	}
	for i := range cluster.Spec.ExternalClusters {
		external := &cluster.Spec.ExternalClusters[i]
		if external.Name != block.Source {
			continue
		}
		switch {
		case external.BarmanObjectStore != nil:
			found.Server = external.GetServerName()
		case isBarmanPlugin(external.PluginConfiguration):
			found.Server = nameOr(external.PluginConfiguration.Parameters[serverNameParameter], cluster.Name)
		}
	}
	return found, nil
}
