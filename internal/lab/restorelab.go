package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
)

// What the restore lab has.
const (
	// RestoreClass binds at once, RestoreLateClass waits for the first consumer; both are the same driver's.
	RestoreClass     = "longhorn"
	RestoreLateClass = "longhorn-late"
	// RestoreSnapshotClass is the VolumeSnapshotClass of that driver.
	RestoreSnapshotClass = "longhorn-snapclass"
	// MoverID is the user and the group of the platform's movers, and of the repository's files.
	MoverID = 568
)

// RestoreOptions are the choices that UpRestore leaves.
type RestoreOptions struct {
	// Users get a token each, see ControlPlaneOptions.
	Users []string
	// VolSync says how VolSync is set up; where the repository is, the lab fills in.
	VolSync VolSyncOptions
	// Snapshots are seeded into the repository.
	Snapshots []KopiaSnapshot
	// Policies sets up what admits and generates objects (Kyverno with the platform's policies). It is called
	// when the API and the definitions are there, and before anything uses them; movers then get their
	// repository from its policy, and from nowhere else. Nil for a lab without.
	Policies func(ctx context.Context, l *RestoreLab) error
}

// RestoreLab is a cluster whose claims are backed up by movers into a real Kopia repository, and restored from
// it: what is deleted there is gone, and what is restored are real files.
type RestoreLab struct {
	Stack       *Stack
	Kubernetes  *Kubernetes
	Provisioner *Provisioner
	Snapshotter *Snapshotter
	Node        *Node
	VolSync     *VolSync
	Platform    Platform
	// Repository is the folder of the claims' Kopia repository; Kopia is connected to it.
	Repository string
	Kopia      *Kopia
	// GitOpsTree is the platform's tree.
	GitOpsTree string

	client  kubernetes.Interface
	applier *Applier
	image   *MoverImage
}

// UpRestore starts the restore lab: the API with controllers and scheduler, a node that runs movers, volumes,
// VolumeSnapshots, VolSync, a repository, the platform's storage classes and Secrets. It needs root.
func UpRestore(ctx context.Context, s *Stack, o RestoreOptions) (*RestoreLab, error) {
	if err := needsNode(); err != nil {
		return nil, err
	}
	l := &RestoreLab{Stack: s}
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return l.startRepository(both, o) })
	group.Go(func() error { return l.startCluster(both, o) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if o.Policies != nil {
		if err := o.Policies(ctx, l); err != nil {
			return nil, err
		}
	} else {
		o.VolSync.NFSServer, o.VolSync.NFSPath = l.Platform.NFSServer, l.Platform.NFSPath
	}
	if err := l.startVolumes(ctx, o); err != nil {
		return nil, err
	}
	return l, l.seed(ctx)
}

func (l *RestoreLab) startRepository(ctx context.Context, o RestoreOptions) error {
	dir, err := l.Stack.Dir("restore")
	if err != nil {
		return err
	}
	l.Repository, l.GitOpsTree = filepath.Join(dir, "repository"), filepath.Join(dir, "gitops")
	l.Platform = Platform{
		EndpointURL: "http://127.0.0.1:9", AccessKeyID: "none", SecretAccessKey: "none", KopiaPassword: PlatformKopiaPassword,
		NFSServer: "127.0.0.1", NFSPath: l.Repository, SeededAt: time.Now().UTC(),
	}
	if err := l.Platform.WriteTree(l.GitOpsTree, SecretsPlain); err != nil {
		return err
	}
	if err := SeedSnapshots(ctx, l.Repository, l.Platform.KopiaPassword, o.Snapshots); err != nil {
		return err
	}
	if l.Kopia, err = l.Stack.Kopia(ctx); err != nil {
		return err
	}
	if _, err := l.Kopia.Run(ctx, "repository", "connect", "filesystem", "--path", l.Repository, "--override-username", "lab", "--override-hostname", "lab"); err != nil {
		return err
	}
	if l.image, err = l.Stack.MoverImage(ctx); err != nil {
		return err
	}
	return l.giveRepository()
}

// giveRepository makes the repository the movers', as an export does that maps everybody to one account.
func (l *RestoreLab) giveRepository() error {
	return filepath.WalkDir(l.Repository, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, MoverID, MoverID)
	})
}

func (l *RestoreLab) startCluster(ctx context.Context, o RestoreOptions) (err error) {
	if l.Kubernetes, err = l.Stack.ControlPlane(ctx, ControlPlaneOptions{Users: o.Users, ControllerManager: true, Scheduler: true}); err != nil {
		return err
	}
	if l.client, err = kubernetes.NewForConfig(l.Kubernetes.RESTConfig()); err != nil {
		return fmt.Errorf("lab: client: %w", err)
	}
	if l.applier, err = l.Kubernetes.Applier(); err != nil {
		return err
	}
	return l.Kubernetes.ApplyCRDs(ctx)
}

func (l *RestoreLab) startVolumes(ctx context.Context, o RestoreOptions) (err error) {
	if l.Provisioner, err = l.Stack.RootProvisioner(ctx, l.Kubernetes); err != nil {
		return err
	}
	if l.Snapshotter, err = l.Stack.Snapshotter(ctx, l.Kubernetes, l.Provisioner); err != nil {
		return err
	}
	if l.Node, err = l.Stack.Node(ctx, l.Kubernetes, l.Provisioner, NodeOptions{Mover: l.image.Folder(), Scheduled: true}); err != nil {
		return err
	}
	l.VolSync, err = l.Stack.VolSync(ctx, l.Kubernetes, l.image, o.VolSync)
	return err
}

// seed applies the classes, and the platform's Secret that opens the repository.
func (l *RestoreLab) seed(ctx context.Context) error {
	s := &seeder{Platform: l.Platform, apply: l.applier}
	if err := s.render(ctx, "classes", platformNamespaces()); err != nil {
		return err
	}
	late := reference("storage.k8s.io/v1", "StorageClass", "", RestoreLateClass)
	late.Object["provisioner"], late.Object["reclaimPolicy"] = provisionerDriver, "Delete"
	late.Object["volumeBindingMode"], late.Object["allowVolumeExpansion"] = "WaitForFirstConsumer", true
	if err := l.applier.Apply(ctx, late); err != nil {
		return err
	}
	secret, err := decodeFile(filepath.Join(l.GitOpsTree, "secrets", "volsync-system", "kopia-credentials.yaml"))
	if err != nil {
		return fmt.Errorf("lab: the repository's Secret: %w", err)
	}
	return l.applier.Apply(ctx, secret...)
}

// Secrets are all values of the lab that must not appear in any output, log or error of drctl.
func (l *RestoreLab) Secrets() []string {
	return append([]string{l.Platform.KopiaPassword}, l.Kubernetes.Secrets()...)
}
