package bootstrap

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Identity says which cluster the API is.
type Identity struct{ ClusterUID, Server, Context string }

// Cluster is what a bootstrap asks of Kubernetes. All reads see the server's present state.
type Cluster interface {
	Identity(ctx context.Context) (Identity, error)
	// Version is the API server's, as "1.37.2".
	Version(ctx context.Context) (string, error)
	// Admin reports whether this user may do everything: Argo CD's own roles can't be given by less.
	Admin(ctx context.Context) (bool, error)
	Nodes(ctx context.Context) ([]recovery.Node, error)
	// Network is the CNI's agent, nil when none was found.
	Network(ctx context.Context) (*recovery.Network, error)
	// Definition reports whether a CustomResourceDefinition is Established; false without an error when it is not there.
	Definition(ctx context.Context, name string) (bool, error)
	// StorageClasses are their names, sorted, and the default one's, empty for none.
	StorageClasses(ctx context.Context) (names []string, standard string, err error)
	// Secret gives a Secret's values, nil when there is none.
	Secret(ctx context.Context, namespace, name string) (map[string][]byte, error)
	// ApplySecret makes a Secret with its namespace, server-side, unless one is there that holds other values
	// under the same keys: that is recovery.ErrConflict without replace. Changed is false when it was so already.
	ApplySecret(ctx context.Context, secret SecretFile, replace bool) (changed bool, err error)
	// Applications are those of Argo CD; none when its definition is not there.
	Applications(ctx context.Context) ([]recovery.ManagedApplication, error)
	// ApplyRoot applies the root Application's manifest server-side; an Application of that name that follows
	// another repository or folder is recovery.ErrConflict.
	ApplyRoot(ctx context.Context, manifest []byte) error
	// RootApplied reports whether the live object has everything that the manifest says.
	RootApplied(ctx context.Context, manifest []byte) (bool, error)
	// Refresh asks Argo CD to look at the Application again at once.
	Refresh(ctx context.Context, namespace, name string) error
	// Troubles are what holds Pods, claims and Jobs of these namespaces back.
	Troubles(ctx context.Context, namespaces []string) ([]recovery.Trouble, error)
	// Claims are those that carry the backup label, in all namespaces.
	Claims(ctx context.Context) ([]recovery.RestoringClaim, error)
	// Databases are the live Clusters of CloudNativePG; none when its definition is not there.
	Databases(ctx context.Context) ([]LiveDatabase, error)
}

// SecretFile is a Secret out of the operator's own files. It is never printed, nor kept in a plan.
type SecretFile struct {
	// File is the path below the folder that was given.
	File            string
	Namespace, Name string
	Type            string
	Labels          map[string]string
	Annotations     map[string]string
	Values          map[string][]byte
}

// LiveDatabase is a live Cluster.
type LiveDatabase struct {
	recovery.Database
	// SystemID is PostgreSQL's own, empty as long as no instance ran. Initdb: it began, or begins, empty.
	SystemID  string
	Initdb    bool
	CreatedAt time.Time
}

// Releases is Helm. A release is always told by namespace and name.
type Releases interface {
	// Load fetches a chart and reads it.
	Load(ctx context.Context, source recovery.ChartSource) (recovery.Chart, error)
	// Release is its newest revision, nil when there is none.
	Release(ctx context.Context, namespace, name string) (*recovery.Release, error)
	// Render is the manifest that Deploy would apply, with its hooks and definitions, without the values of Secrets.
	Render(ctx context.Context, target Target) (string, error)
	// Difference names what an upgrade to the target would change: objects that differ from what the release
	// says or are gone from the cluster. Empty when there is nothing to do.
	Difference(ctx context.Context, target Target) ([]string, error)
	// ApplyDefinitions applies the chart's CustomResourceDefinitions server-side and gives their names.
	ApplyDefinitions(ctx context.Context, target Target) ([]string, error)
	// Deploy installs or upgrades, with hooks, and does not wait for the objects to become ready. It marks the
	// revision with the plan, and refuses to begin while another attempt is pending (recovery.ErrConflict).
	Deploy(ctx context.Context, target Target, planID string) error
	// DeployedBy reports whether the newest revision is deployed and marked with the plan.
	DeployedBy(ctx context.Context, namespace, name, planID string) (bool, error)
	// Unlock marks a pending revision as failed, so that Deploy can go on from it; recovery.ErrConflict when
	// the newest revision is not that one any more.
	Unlock(ctx context.Context, namespace, name string, revision int) error
	// Readiness is how far the objects of the newest revision are, the definitions' names among them.
	Readiness(ctx context.Context, namespace, name string) ([]recovery.ObjectState, error)
	// Rollback goes back to a revision. Uninstall removes the release, never its definitions or its namespace.
	// Both are done, not only begun, when they return.
	Rollback(ctx context.Context, namespace, name string, revision int) error
	Uninstall(ctx context.Context, namespace, name string) error
}

// Target is a release as it is to be.
type Target struct {
	Namespace, Name string
	// Chart has the digest that was agreed to: what is loaded anew must have it too.
	Chart recovery.Chart
	// TakeOwnership adopts objects that something else than Helm, or another release, made.
	TakeOwnership bool
}

// Tree is the GitOps tree on this computer.
type Tree interface {
	// Dir is its folder.
	Dir() string
	// Charts are the charts that it pins, of any name.
	Charts(ctx context.Context) ([]recovery.ChartPin, recovery.Gaps, error)
	// Values merges the values files of a pin, its inline values and more files on top, in this order, as YAML.
	Values(ctx context.Context, pin recovery.ChartPin, more []string) ([]byte, error)
	// Root is the root Application's manifest and its file; recovery.ErrNotFound when the tree has none.
	Root(ctx context.Context) (manifest []byte, file string, err error)
	// Applications are those that the root will make.
	Applications(ctx context.Context) ([]recovery.PlannedApplication, recovery.Gaps, error)
	// Secrets are those that have to be brought; Definitions the names of those definitions that the tree's objects
	// need and that none of its Applications or charts brings along by what can be seen: Gateway API's.
	Secrets(ctx context.Context) ([]recovery.SecretNeed, recovery.Gaps, error)
	Definitions(ctx context.Context) ([]string, error)
	// StorageClasses are those that its claims, databases and templates name.
	StorageClasses(ctx context.Context) ([]string, error)
	Markers(ctx context.Context) ([]recovery.Marker, error)
	// Exports are the NFS exports by who names them: "Deployment pvc-plumber/pvc-plumber".
	Exports(ctx context.Context) (map[string]string, error)
	// Databases are the CloudNativePG Clusters.
	Databases(ctx context.Context) ([]recovery.Database, recovery.Gaps, error)
}

// Git is the checkout that the tree is in, compared with its remote.
type Git interface {
	// State asks the remote too. A tree that is no checkout is recovery.ErrNotFound.
	State(ctx context.Context, revision string) (GitState, error)
}

// GitState is a checkout.
type GitState struct {
	// Branch is the one that is checked out, Remote the remote's URL without credentials.
	Branch, Remote string
	// Head is the local commit, RemoteHead what the followed revision is at on the remote, empty when it is not there.
	Head, RemoteHead string
	// Changed are files that differ from Head, untracked ones included.
	Changed []string
	// Pushed: the remote's branch has Head. Behind: it has commits that are not here.
	Pushed, Behind bool
}

// Backups says what the backup repositories hold.
type Backups interface {
	// Kopia opens the repository and counts.
	Kopia(ctx context.Context) (KopiaHolding, error)
	// Database reads a database's catalog.
	Database(ctx context.Context, database recovery.Database) (DatabaseHolding, error)
}

// KopiaHolding is what a Kopia repository holds.
type KopiaHolding struct {
	// Repository is its address.
	Repository         string
	Sources, Snapshots int
	Newest             time.Time
	// Oldest is the end of the oldest complete snapshot of each source.
	Oldest map[recovery.KopiaSource]time.Time
}

// DatabaseHolding is what S3 holds for a database's lineage.
type DatabaseHolding struct {
	// Restorable counts backups; Newest is the newest one's end. SystemIDs are those of all backups.
	Restorable int
	Newest     time.Time
	SystemIDs  []string
}
