package recovery

import "time"

// SecretKey names one value in a Secret.
type SecretKey struct{ Name, Key string }

// ObjectStore is a place of Barman backups in S3, without any secret value.
type ObjectStore struct {
	// DestinationPath is s3://BUCKET/PATH, without the server's name.
	DestinationPath string
	// EndpointURL is empty for AWS itself.
	EndpointURL string
	// AccessKeyID, SecretAccessKey, SessionToken and Region say where the credentials stand.
	AccessKeyID, SecretAccessKey, SessionToken, Region SecretKey
	// EndpointCA is the CA bundle of the endpoint, where one is given.
	EndpointCA SecretKey
	// InheritFromIAMRole: no keys, the Pod's role is used.
	InheritFromIAMRole bool
}

// Database is a CloudNativePG Cluster as far as recovery is concerned, from the API or from the
// GitOps tree (then the status fields are empty).
type Database struct {
	Namespace string
	Name      string
	UID       string
	Labels    map[string]string
	// Directory is the folder of the manifest in the GitOps tree, relative to it; empty when live.
	Directory string
	Phase     string
	// Instances is spec.instances, ReadyInstances is status.readyInstances (-1 when unknown).
	Instances      int
	ReadyInstances int
	// Archiving is the ContinuousArchiving condition: "true", "false" or "unknown".
	Archiving string
	// ServerName is the server that this Cluster WRITES backups and WAL to; empty without backups.
	ServerName string
	// Plugin is true for the barman-cloud plugin, false for the in-tree barmanObjectStore.
	Plugin bool
	Store  ObjectStore
	// RecoverySources are the servers of spec.externalClusters and bootstrap.recovery.
	RecoverySources []RecoverySource
	CreatedAt       time.Time
	// Warnings are what the reader of the manifest noticed (a serverName in an odd place, an
	// ObjectStore that does not exist, a five-field cron).
	Warnings []string
}

// RecoverySource is an external cluster that a Cluster can recover from.
type RecoverySource struct {
	Name       string
	ServerName string
	Store      ObjectStore
	// InUse is true when bootstrap.recovery.source names it.
	InUse bool
}
