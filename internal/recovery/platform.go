package recovery

import "time"

// CheckResult is how a check of one thing came out.
type CheckResult string

// The results. Skip: it could not be looked at, so it is not known; Why says what stood in the way.
const (
	CheckOK   CheckResult = "ok"
	CheckWarn CheckResult = "warn"
	CheckFail CheckResult = "fail"
	CheckSkip CheckResult = "skip"
)

// Check is one line of a preflight: an area ("secrets"), a name in it ("volsync-system/kopia-credentials"), what
// was found and, unless all is well, how to put it right.
type Check struct {
	Area   string      `json:"area"`
	Name   string      `json:"name"`
	Result CheckResult `json:"result"`
	Why    string      `json:"why"`
	Fix    string      `json:"fix"`
}

// Node is a Node of the cluster.
type Node struct {
	Name  string
	Ready bool
	// Why it is not ready, in the kubelet's words.
	Why string
}

// Network is what the Pods of a cluster are connected by.
type Network struct {
	// Plugin is "cilium", "flannel", "calico"; another DaemonSet's name where it is none of those that are known.
	Plugin string
	// Version is that of the agent's image, without a leading "v" and without its digest; empty when the image
	// names none.
	Version string
	// Desired and Ready count the agent's Pods.
	Desired, Ready int
	// OperatorReady: its operator's Deployment is available; true where it has none.
	OperatorReady bool
}

// SecretNeed is a Secret that a manifest of the GitOps tree refers to, and that nothing in the tree makes in the
// cluster: somebody has to bring it.
type SecretNeed struct {
	Namespace, Name string
	// Keys are those that are referred to by name, sorted. None: the whole Secret is.
	Keys []string
	// UsedBy are "Kind namespace/name", sorted.
	UsedBy []string
	// Optional: every reference to it says so.
	Optional bool
	// Template is the file of the tree that holds it to be filled in by hand, empty when there is none.
	Template string
}

// ChartPin is a Helm chart that the GitOps tree names, with its version.
type ChartPin struct {
	Name string
	// Repository is a URL: https://…, oci://…; empty for a chart in a folder.
	Repository string
	// Version is exact, without a leading "v"; empty when the tree leaves it open.
	Version string
	Release string
	// Namespace is where it is installed, empty when the tree does not say.
	Namespace string
	// ValuesFiles are paths of files in the tree, relative to its root; ValuesInline is YAML that goes on top.
	ValuesFiles  []string
	ValuesInline string
	// Source is the file that names it, relative to the root.
	Source string
}

// Marker is a place of the tree that the platform's user has to change.
type Marker struct {
	// File is relative to the root; Line counts from 1.
	File string
	Line int
	// Value: the value itself is a placeholder (CHANGE-ME), and not only a comment that asks to look at it.
	Value bool
	// Text is what the comment says; for a value the name of its key. Never a value.
	Text string
}

// PlannedApplication is an Application that the GitOps tree will make.
type PlannedApplication struct {
	Name string
	// Wave is its own sync wave, or that of the ApplicationSet that makes it.
	Wave int
	// Path is the folder that it syncs, relative to the root; empty where it syncs a chart.
	Path string
	// Set is the ApplicationSet, empty for none.
	Set string
	// RepoURL and Revision are what it follows.
	RepoURL, Revision string
}

// ManagedApplication is an Argo CD Application in the cluster.
type ManagedApplication struct {
	Namespace, Name string
	Wave            int
	Set             string
	RepoURL, Path   string
	// Revision is the branch or tag that it follows, SyncRevision the commit that it was compared with.
	Revision, SyncRevision string
	// Sync is Synced, OutOfSync or Unknown; Health is Healthy, Progressing, Degraded, Suspended, Missing or Unknown.
	// Both are empty until Argo CD has looked.
	Sync, Health string
	// Operation is the phase of the last or running sync: Requested, Running, Succeeded, Failed, Error; GaveUp: Argo CD
	// will not try that commit again by itself.
	Operation string
	GaveUp    bool
	// Message is what Argo CD says about it, empty when all is well.
	Message string
	// Failed are its objects that could not be synced, or are not healthy, with Argo CD's own words.
	Failed []ManagedObject
	// Namespaces are those of its objects, sorted.
	Namespaces []string
	// Parent is the Application that makes it, by its tracking mark; empty for none.
	Parent    string
	CreatedAt time.Time
}

// AtRest reports whether it is where Git wants it: Synced, Healthy and nothing under way.
func (a *ManagedApplication) AtRest() bool {
	return a.Sync == "Synced" && a.Health == "Healthy" && a.Operation != "Running" && a.Operation != "Requested"
}

// ManagedObject is an object of an Application.
type ManagedObject struct {
	Kind, Namespace, Name string
	// Hook: it is a hook of the sync. Message is what went wrong.
	Hook    bool
	Message string
}

// TroubleKind says what holds something back.
type TroubleKind string

// What holds Pods and claims back.
const (
	TroubleImage       TroubleKind = "image"       // an image cannot be pulled
	TroubleSecret      TroubleKind = "secret"      // a Secret or a key of it is missing
	TroubleConfigMap   TroubleKind = "configmap"   // a ConfigMap or a key of it is missing
	TroubleCrash       TroubleKind = "crash"       // a container ends again and again
	TroubleUnscheduled TroubleKind = "unscheduled" // no node takes a Pod
	TroublePending     TroubleKind = "pending"     // a claim is not bound
	TroubleVolume      TroubleKind = "volume"      // a volume cannot be mounted
	TroubleJob         TroubleKind = "job"         // a Job, or a hook, failed
	TroubleCreation    TroubleKind = "creation"    // a controller may not create its Pods
	TroubleNotReady    TroubleKind = "not-ready"   // it runs, and does not become ready
)

// Trouble is something that holds an Application back, as the cluster has it.
type Trouble struct {
	Kind TroubleKind
	// Object is "Pod immich/server-0"; Message are the cluster's own words. Missing is the name of the Secret,
	// ConfigMap or image, empty where it is not known.
	Object, Message, Missing string
}

// RestoringClaim is a claim that the platform populates, or has populated, from a backup.
type RestoringClaim struct {
	Namespace, Name string
	// Phase is Pending, Bound or Lost.
	Phase string
	// Source is the ReplicationDestination that it is populated from, empty for a new, empty volume.
	Source    string
	CreatedAt time.Time
}
