// Package command holds what all commands share: settings, the wiring that they are given, exit
// codes, help and completion. It must not import adapters or app.
package command

import (
	"context"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// Settings are the global flags. An empty one is looked for in the environment, the configuration
// file, the cluster and the GitOps tree, in this order.
type Settings struct {
	Kube *genericclioptions.ConfigFlags
	// Offline: never call the Kubernetes API.
	Offline bool
	// GitOps is the folder of the GitOps tree.
	GitOps string
	// Repo is the Kopia repository: a path, file://, nfs:// or s3://.
	Repo         string
	PasswordFile string
	// DestinationPath is the Barman destination, s3://BUCKET/PATH.
	DestinationPath string
	EndpointURL     string
	// CAFile is a CA bundle for the S3 endpoint.
	CAFile string
	// CacheDirectory keeps Kopia's index between runs; nothing is kept when it is empty.
	CacheDirectory string
	// ConfigFile replaces $XDG_CONFIG_HOME/drctl/config.yaml.
	ConfigFile string
	Verbosity  int
}

// Namespace is -n, empty for all.
func (s *Settings) Namespace() string {
	if s.Kube.Namespace == nil {
		return ""
	}
	return *s.Kube.Namespace
}

// Wiring gives commands their use cases. Nothing is opened before it is asked for.
type Wiring interface {
	// PVC gives the lister of claims and snapshots. With inventory false the cluster is not asked for
	// claims: the repository alone answers.
	PVC(ctx context.Context, inventory bool) (*pvc.Lister, recovery.Gaps, error)
	// CNPG gives the lister of databases and backups. With databases false no cluster and no tree is
	// asked: the destination is given.
	CNPG(ctx context.Context, databases bool) (*cnpg.Lister, recovery.Gaps, error)
	// Store is the Barman destination of the flags, the environment or the configuration; zero when
	// none is given.
	Store() (recovery.ObjectStore, error)
	// ResolveDatabase finds the one database that a name means.
	ResolveDatabase(name string, databases []recovery.Database) (recovery.Database, error)
	// Flip gives the use case of recoveries. Offline only what reads manifests and S3 is there.
	Flip(ctx context.Context) (*flip.Flip, error)
	// Restore gives the use case of restores of claims; it watches what happens in these namespaces, in all
	// of them for none.
	Restore(ctx context.Context, namespaces []string) (*restore.Restore, error)
	// Bootstrap gives the use case of bootstraps. Gitops is the tree where none is named by flags or configuration,
	// secrets the folder of Secrets, both empty for none.
	Bootstrap(ctx context.Context, gitops, secrets string) (*bootstrap.Bootstrap, error)
	// Engine runs plans of these handlers, with lock and mirror in the namespace of the cluster.
	Engine(namespace string, handlers map[string]operation.Handler) (*operation.Engine, error)
	// PatientEngine is the same for one of many plans that run side by side.
	PatientEngine(namespace string, handlers map[string]operation.Handler) (*operation.Engine, error)
	// Plans keeps the plans of this computer; MirroredPlans are those with a copy in the cluster.
	Plans() *operation.Store
	MirroredPlans(ctx context.Context) (operation.Mirror, error)
	// Fences are the fences that stand in the cluster, by plan.
	Fences(ctx context.Context) ([]StandingFence, error)
	// Completer answers the shell.
	Completer
}

// StandingFence holds creation of an object back.
type StandingFence struct {
	PlanID, Target string
	Expires        time.Time
	// Remove is the command that takes it away.
	Remove string
}

// Completer gives the names that the shell may complete.
type Completer interface {
	Namespaces(ctx context.Context) ([]string, error)
	Contexts() ([]string, error)
	Claims(ctx context.Context, namespace string) ([]string, error)
	DatabaseNames(ctx context.Context, namespace string) ([]string, error)
	BackupIDs(ctx context.Context, database string) ([]string, error)
}

// Factory is what each command is made from.
type Factory struct {
	Streams  ui.Streams
	Settings *Settings
	Wiring   Wiring
	Now      func() time.Time
}
