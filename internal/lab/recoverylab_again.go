package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/recovery"
)

// Lose ends the cluster with all that is on it, the data in its volumes included; the backups and the Git tree stay.
// It is for a lab whose cluster has a stack of its own.
func (l *RecoveryLab) Lose() error {
	if l.cluster == l.Stack {
		return errors.New("lab: the cluster shares the stack of its backups: give RecoveryOptions.Cluster")
	}
	if err := errors.Join(l.cluster.Close(), os.RemoveAll(l.Provisioner.dir)); err != nil {
		return fmt.Errorf("lab: lose the cluster: %w", err)
	}
	l.Kubernetes, l.CNPG, l.Provisioner, l.Node, l.client = nil, nil, nil, nil, nil
	return nil
}

// Again starts a new, empty cluster on another stack in the place of the lost one: its node reaches the same backups,
// and what restores the platform's data runs, with its definitions and none of the others: CloudNativePG's operator,
// VolSync with its movers, PVC Plumber, and Kyverno with the platform's policies. (Argo CD brings the workloads that
// are called so; these processes are what would run in them.) It holds no storage class, no database, no claim and no
// Secret of the platform. Repository is the folder of the claims' Kopia repository.
func (l *RecoveryLab) Again(ctx context.Context, s *Stack, repository string) (err error) {
	l.cluster = s
	if l.Kubernetes, err = s.ControlPlane(ctx, ControlPlaneOptions{ControllerManager: true, Scheduler: true, ControllerQPS: 200}); err != nil {
		return err
	}
	if l.client, err = kubernetes.NewForConfig(l.Kubernetes.RESTConfig()); err != nil {
		return fmt.Errorf("lab: client: %w", err)
	}
	if l.CNPG, err = s.CNPGWith(ctx, l.Kubernetes, CNPGOptions{Reconcile: true}); err != nil {
		return err
	}
	image, err := s.MoverImage(ctx)
	if err != nil {
		return err
	}
	l.mover = image.Folder()
	if err := l.startNode(ctx, RecoveryOptions{Scheduler: true}); err != nil {
		return err
	}
	return l.startRestores(ctx, image, repository)
}

// startRestores starts what populates claims from the repository.
func (l *RecoveryLab) startRestores(ctx context.Context, image *MoverImage, repository string) error {
	if err := applyDefinitions(ctx, l.Kubernetes, volsyncGroup, "snapshot.storage.k8s.io"); err != nil {
		return err
	}
	if _, err := l.cluster.Snapshotter(ctx, l.Kubernetes, l.Provisioner); err != nil {
		return err
	}
	if _, err := l.cluster.VolSync(ctx, l.Kubernetes, image, VolSyncOptions{}); err != nil {
		return err
	}
	known, err := l.snapshots(ctx, repository)
	if err != nil {
		return err
	}
	plumber, err := l.cluster.Plumber(ctx, FailsClosed, func(_ context.Context, namespace, claim string) (bool, error) {
		source := recovery.KopiaSource{Username: usernameOf(claim + "-backup"), Hostname: hostnameOf(namespace, claim), Path: "/data"}
		return claim != "" && len(known[source]) > 0, nil
	})
	if err != nil {
		return err
	}
	kyverno, err := l.cluster.Kyverno(ctx, l.Kubernetes, KyvernoOptions{})
	if err != nil {
		return err
	}
	return kyverno.ApplyPlatformPolicies(ctx, PolicyOptions{PlumberURL: plumber.URL, NFSServer: "127.0.0.1", NFSPath: repository})
}

// snapshots lists the repository as Kopia does, and gives it to the movers' account.
func (l *RecoveryLab) snapshots(ctx context.Context, repository string) (map[recovery.KopiaSource][]ListedSnapshot, error) {
	kopia, err := l.cluster.Kopia(ctx)
	if err != nil {
		return nil, err
	}
	known, err := kopia.ListSnapshots(ctx, repository)
	if err != nil {
		return nil, err
	}
	return known, filepath.WalkDir(repository, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, MoverID, MoverID)
	})
}

// applyDefinitions applies those of ApplyCRDs that are of one of the groups.
func applyDefinitions(ctx context.Context, k *Kubernetes, groups ...string) error {
	modules, err := fetchModules(ctx)
	if err != nil {
		return err
	}
	all, err := modules.All()
	if err != nil {
		return err
	}
	applier, err := k.Applier()
	if err != nil {
		return err
	}
	return applier.Apply(ctx, slices.DeleteFunc(all, func(definition *unstructured.Unstructured) bool {
		group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
		return !slices.Contains(groups, group)
	})...)
}
