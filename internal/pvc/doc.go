// Package pvc answers which PersistentVolumeClaims are protected and what Kopia holds for each: it
// joins the claims and ReplicationSources of the cluster (or of the GitOps tree) with the snapshots
// of the repository. It only reads.
//
// It imports recovery only: where claims and snapshots come from is behind the interfaces that it
// declares. No Kubernetes, Kopia, cobra or ui here.
package pvc
