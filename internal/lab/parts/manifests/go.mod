module github.com/drctl/drctl/internal/lab/parts/manifests

go 1.26.4

// Nothing is compiled here: this module pins, and go.sum proves, the modules whose
// CustomResourceDefinitions and installation manifests the lab reads.
require (
	github.com/argoproj/argo-cd/v3 v3.5.0
	github.com/backube/volsync v0.16.0
	github.com/cloudnative-pg/cloudnative-pg v1.30.0
	github.com/cloudnative-pg/plugin-barman-cloud v0.13.0
	github.com/kubernetes-csi/external-snapshotter/client/v8 v8.6.0
)
