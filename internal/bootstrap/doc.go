// Package bootstrap takes an empty cluster to the platform that a GitOps tree describes: it checks what that needs,
// brings the Secrets, installs Argo CD, gives it the root Application and watches the waves to their end.
//
// It imports recovery, operation and safeguard only: what it needs of Kubernetes, Helm, Git and the backups it asks of the
// interfaces in ports.go.
package bootstrap
