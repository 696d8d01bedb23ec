package lab

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
)

// RecoveryOptions are the choices that UpRecovery leaves.
type RecoveryOptions struct {
	// Users get a token each, see ControlPlaneOptions.
	Users []string
	// Scheduler runs kube-scheduler; without it the node takes every Pod.
	Scheduler bool
	// Rows are written before the first backup, 100 when 0.
	Rows int
	// Cluster is the stack that the cluster runs on, for a cluster that will be lost while its backups stay; the
	// lab's own when nil.
	Cluster *Stack
}

// What the recovery lab's database is called: the platform's immich, before its first recovery.
const (
	RecoveryNamespace = "cloudnative-pg"
	RecoveryCluster   = "immich-database"
	RecoveryServer    = "immich-database-v1"
	RecoveryDatabase  = "immich"
	// RecoveryDestination is where all its servers are.
	RecoveryDestination = "s3://" + PlatformBucket + "/cnpg/immich"
	// RecoveryTable is the table that WriteRows writes to.
	RecoveryTable = "item"
)

// RecoveryLab is a cluster in which the real CloudNativePG operator runs a real PostgreSQL that archives
// and is backed up: what is deleted there is gone, and what is recovered comes from the backup.
type RecoveryLab struct {
	Stack       *Stack
	Kubernetes  *Kubernetes
	MinIO       *MinIO
	CNPG        *CNPG
	Provisioner *Provisioner
	Node        *Node
	Platform    Platform
	// GitOpsTree is the platform's tree, with RecoveryServer as the server that immich writes to.
	GitOpsTree string
	// BackupID is the base backup that was taken when the lab came up.
	BackupID string

	// cluster is the stack that the cluster runs on.
	cluster *Stack
	// mover is the folder of VolSync's movers, empty where none run.
	mover  string
	client kubernetes.Interface
}

// UpRecovery starts the recovery lab: RecoveryCluster is healthy, holds rows in RecoveryTable, archives to
// RecoveryServer, and has one base backup there with all those rows in it. It needs root.
func UpRecovery(ctx context.Context, s *Stack, o RecoveryOptions) (*RecoveryLab, error) {
	l := &RecoveryLab{Stack: s, cluster: cmp.Or(o.Cluster, s)}
	for _, check := range []func() error{needsNode, func() error { _, err := findPostgres(); return err }} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return l.startStorage(both) })
	group.Go(func() error { return l.startCluster(both, o) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := l.startNode(ctx, o); err != nil {
		return nil, err
	}
	if err := l.seed(ctx); err != nil {
		return nil, err
	}
	if err := l.WaitHealthy(ctx, RecoveryCluster); err != nil {
		return nil, err
	}
	return l, l.fill(ctx, o.Rows)
}

func (l *RecoveryLab) startStorage(ctx context.Context) error {
	minio, err := l.Stack.MinIO(ctx)
	if err != nil {
		return err
	}
	l.MinIO = minio
	dir, err := l.Stack.Dir("recovery")
	if err != nil {
		return err
	}
	l.GitOpsTree = filepath.Join(dir, "gitops")
	l.Platform = Platform{
		EndpointURL: minio.EndpointURL, AccessKeyID: minio.AccessKeyID, SecretAccessKey: minio.SecretAccessKey,
		KopiaPassword: PlatformKopiaPassword, NFSServer: "127.0.0.1", NFSPath: filepath.Join(dir, "repository"), SeededAt: time.Now().UTC(),
	}
	if err := l.Platform.WriteTree(l.GitOpsTree, SecretsPlain); err != nil {
		return err
	}
	if err := l.firstServer(); err != nil {
		return err
	}
	return minio.MakeBucket(ctx, PlatformBucket)
}

// firstServer takes the tree back to before the platform's database was recovered for the first time.
func (l *RecoveryLab) firstServer() error {
	database, err := l.Platform.Database(RecoveryCluster)
	if err != nil {
		return err
	}
	manifest := filepath.Join(l.DatabaseFolder(), "cluster.yaml")
	content, err := os.ReadFile(manifest)
	if err != nil {
		return fmt.Errorf("lab: manifest of %s: %w", RecoveryCluster, err)
	}
	content = bytes.ReplaceAll(content, []byte(database.ServerName), []byte(RecoveryServer))
	if err := os.WriteFile(manifest, content, 0o600); err != nil {
		return fmt.Errorf("lab: manifest of %s: %w", RecoveryCluster, err)
	}
	return nil
}

// DatabaseFolder is where the tree has the database's manifests.
func (l *RecoveryLab) DatabaseFolder() string {
	return filepath.Join(l.GitOpsTree, "infrastructure", "database", "cnpg", "immich")
}

func (l *RecoveryLab) startCluster(ctx context.Context, o RecoveryOptions) error {
	k, err := l.cluster.ControlPlane(ctx, ControlPlaneOptions{Users: o.Users, ControllerManager: true, Scheduler: o.Scheduler})
	if err != nil {
		return err
	}
	l.Kubernetes = k
	if l.client, err = kubernetes.NewForConfig(k.RESTConfig()); err != nil {
		return fmt.Errorf("lab: client: %w", err)
	}
	// The operator looks once, when it starts, for what the cluster can do.
	if err := k.ApplyCRDs(ctx); err != nil {
		return err
	}
	l.CNPG, err = l.cluster.CNPGWith(ctx, k, CNPGOptions{Reconcile: true})
	return err
}

func (l *RecoveryLab) startNode(ctx context.Context, o RecoveryOptions) (err error) {
	manager, err := Build(ctx, CNPGManager, l.cluster.logf)
	if err != nil {
		return err
	}
	if l.Provisioner, err = l.cluster.Provisioner(ctx, l.Kubernetes); err != nil {
		return err
	}
	l.Node, err = l.cluster.Node(ctx, l.Kubernetes, l.Provisioner, NodeOptions{Manager: manager, Mover: l.mover, Scheduled: o.Scheduler})
	if err != nil {
		return err
	}
	return l.Node.Reach(l.MinIO.EndpointURL)
}

// seed applies the database's part of the tree: storage classes, its namespace and Secrets, the Cluster and
// its ScheduledBackup.
func (l *RecoveryLab) seed(ctx context.Context) error {
	applier, err := l.Kubernetes.Applier()
	if err != nil {
		return err
	}
	s := &seeder{Platform: l.Platform, apply: applier}
	if err := s.render(ctx, "classes", nil); err != nil {
		return err
	}
	objects, err := buildKustomization(l.DatabaseFolder())
	if err != nil {
		return fmt.Errorf("lab: the database's manifests: %w", err)
	}
	secrets, err := filepath.Glob(filepath.Join(l.GitOpsTree, "secrets", RecoveryNamespace, "*.yaml"))
	if err != nil {
		return fmt.Errorf("lab: the database's Secrets: %w", err)
	}
	for _, path := range secrets {
		decoded, err := decodeFile(path)
		if err != nil {
			return fmt.Errorf("lab: the database's Secrets: %w", err)
		}
		objects = append(objects, decoded...)
	}
	return s.applyInOrder(ctx, objects)
}

// fill writes rows and backs them up.
func (l *RecoveryLab) fill(ctx context.Context, rows int) (err error) {
	if rows == 0 {
		rows = 100
	}
	if _, err := l.WriteRows(ctx, rows); err != nil {
		return err
	}
	l.BackupID, err = l.Backup(ctx)
	return err
}

// Secrets are all values of the lab that must not appear in any output, log or error of drctl.
func (l *RecoveryLab) Secrets() []string {
	return append(l.Platform.Secrets(), l.Kubernetes.Secrets()...)
}
