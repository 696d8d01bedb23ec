// Package cnpg answers which CloudNativePG databases can be recovered and to when: it joins the
// Clusters of the API (or of the GitOps tree) with the Barman catalogs in S3. It only reads.
//
// It imports recovery only: where Clusters and catalogs come from is behind the interfaces that it
// declares. No Kubernetes, S3, cobra or ui here.
package cnpg
