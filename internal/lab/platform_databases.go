package lab

// PlatformDatabase is one CloudNativePG Cluster of the lab's platform.
type PlatformDatabase struct {
	Namespace string
	Name      string
	// Plugin is true for the barman-cloud plugin with an ObjectStore, false for the in-tree form.
	Plugin bool
	// ObjectStore is the name of the ObjectStore that the plugin's form refers to.
	ObjectStore string
	// DestinationPath is s3://BUCKET/PATH, ServerName the server that the Cluster writes to.
	DestinationPath string
	ServerName      string
	// Servers are all servers below DestinationPath, oldest first: the lineage.
	Servers []string
}

// PlatformBucket holds the backups of all databases of the platform.
const PlatformBucket = "postgres-backups"

// PlatformDatabases is every Cluster of the lab's platform. The recorded Barman catalog, the
// cluster's objects and the GitOps tree are all made to fit it.
func PlatformDatabases() []PlatformDatabase {
	return []PlatformDatabase{
		{
			Namespace: "cloudnative-pg", Name: "immich-database",
			DestinationPath: "s3://" + PlatformBucket + "/cnpg/immich",
			ServerName:      "immich-database-v2",
			Servers:         []string{"immich-database-v1", "immich-database-v2"},
		},
		{
			Namespace: "forgejo", Name: "forgejo-database", Plugin: true, ObjectStore: "forgejo-store",
			DestinationPath: "s3://" + PlatformBucket + "/cnpg/forgejo",
			ServerName:      "forgejo-database-v1",
			Servers:         []string{"forgejo-database-v1"},
		},
	}
}
