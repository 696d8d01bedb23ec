package lab

import (
	"fmt"
	"slices"
	"time"
)

// platformNamespaces are the namespaces that the platform's own parts live in; those of applications
// and databases come with their manifests.
func platformNamespaces() []string { return []string{"argocd", "volsync-system"} }

// Platform is the platform that the lab plays, on the parts that were started for it.
type Platform struct {
	// EndpointURL is where the databases' backups are; AccessKeyID and SecretAccessKey open it.
	EndpointURL                  string
	AccessKeyID, SecretAccessKey string
	// KopiaPassword opens the repository that all claims share.
	KopiaPassword string
	// NFSServer and NFSPath are where the manifests say that repository is. They must be of this
	// machine, whoever reads them may go there.
	NFSServer, NFSPath string
	// SeededAt is what the ages of snapshots count back from.
	SeededAt time.Time
}

// The values of the platform's other Secrets. Nothing reads them, and none may ever be shown.
const (
	canaryImmichDatabase  = "CANARY-IMMICH-DATABASE-6c21"
	canaryForgejoDatabase = "CANARY-FORGEJO-DATABASE-b80e"
	canaryKarakeepSession = "CANARY-KARAKEEP-SESSION-17af"
	canaryKarakeepSearch  = "CANARY-KARAKEEP-SEARCH-d3c4"
)

// Secrets are all the values that must not appear in any output. The key ID is among them: drctl has no
// reason to show it.
func (p Platform) Secrets() []string {
	return []string{
		p.AccessKeyID, p.SecretAccessKey, p.KopiaPassword,
		canaryImmichDatabase, canaryForgejoDatabase, canaryKarakeepSession, canaryKarakeepSearch,
	}
}

// AppClaims are the claims of an application that stand in the GitOps tree. (CloudNativePG makes its
// own, and an orphan's is gone.)
func (p Platform) AppClaims(namespace string) []PlatformClaim {
	return slices.DeleteFunc(PlatformClaims(), func(c PlatformClaim) bool {
		return c.Namespace != namespace || c.CNPGCluster != "" || !c.InCluster
	})
}

// Database finds a database by its Cluster's name.
func (p Platform) Database(name string) (PlatformDatabase, error) {
	for _, database := range PlatformDatabases() {
		if database.Name == name {
			return database, nil
		}
	}
	return PlatformDatabase{}, fmt.Errorf("lab: the platform has no database %q", name)
}

// platformSecret is a Secret of the platform, in any of the forms that a tree can hold it.
type platformSecret struct {
	Namespace, Name string
	Values          map[string]string
}

// secrets are the Secrets that a user of the platform fills in.
func (p Platform) secrets() []platformSecret {
	s3 := map[string]string{"AWS_ACCESS_KEY_ID": p.AccessKeyID, "AWS_SECRET_ACCESS_KEY": p.SecretAccessKey}
	immich := map[string]string{"username": "immich", "password": canaryImmichDatabase}
	return []platformSecret{
		{"volsync-system", "kopia-credentials", map[string]string{"KOPIA_PASSWORD": p.KopiaPassword}},
		{"cloudnative-pg", "immich-app-secret", immich},
		{"cloudnative-pg", "cnpg-s3-credentials", s3},
		{"immich", "immich-db-credentials", immich},
		{"forgejo", "forgejo-app-secret", map[string]string{"username": "forgejo", "password": canaryForgejoDatabase}},
		{"forgejo", "cnpg-s3-credentials", s3},
		{"karakeep", "karakeep-secret", map[string]string{
			"NEXTAUTH_SECRET": canaryKarakeepSession, "MEILI_MASTER_KEY": canaryKarakeepSearch,
		}},
	}
}
