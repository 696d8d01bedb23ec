package recovery

import "time"

// ChartSource says where a Helm chart is taken from.
type ChartSource struct {
	// Location is a chart's name in Repository, or oci://HOST/PATH/NAME, or the path of a folder or .tgz file.
	Location string `json:"location"`
	// Repository is the URL of a chart repository (its index.yaml's folder); empty for the others.
	Repository string `json:"repository,omitempty"`
	// Version is exact; empty only for a folder or a file, which have one of their own.
	Version string `json:"version,omitempty"`
}

// Chart is a Helm chart that was fetched and read.
type Chart struct {
	Name, Version, AppVersion string
	// Digest is sha256:HEX of its files, the same for the same content wherever it came from.
	Digest string
	Source ChartSource
	// Values is not part of the chart: it is what the operator sets on top of its defaults, as YAML.
	Values []byte
}

// Release is a Helm release as its newest revision has it.
type Release struct {
	Namespace, Name string
	Revision        int
	// Status is Helm's: deployed, failed, pending-install, pending-upgrade, pending-rollback, uninstalling, …
	Status string
	// Pending: an attempt began it and did not end.
	Pending                             bool
	ChartName, ChartVersion, AppVersion string
	// Deployed is the newest revision that was deployed before, or is; 0 for none. DeployedVersion is its chart's version.
	Deployed        int
	DeployedVersion string
	UpdatedAt       time.Time
	Description     string
	// PlanID is the drctl plan that made this revision, empty when it was somebody else.
	PlanID string
}

// ObjectState is how far one object of a release is.
type ObjectState struct {
	// Object is "Deployment argocd/argocd-server".
	Object string
	Ready  bool
	// Why it is not ready yet: "1 of 2 Pods ready; Pod argocd-server-x: ImagePullBackOff: …".
	Why string
	// Hopeless: it will not become ready by waiting alone (an image that cannot be pulled, a missing Secret).
	Hopeless bool
}
