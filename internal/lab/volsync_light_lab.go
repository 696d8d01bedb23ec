package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/recovery"
)

// LightOptions are the choices that UpLight leaves.
type LightOptions struct {
	// Users get a token each.
	Users []string
	// Claims is how many there are; each has a source of SeedManySnapshots with two snapshots.
	Claims int
	// Duration is how long each mover works.
	Duration func(recovery.KopiaSource) time.Duration
}

// LightLab is a cluster with hundreds of claims that are backed up in a real repository, whose restores move no
// data.
type LightLab struct {
	Kubernetes *Kubernetes
	VolSync    *LightVolSync
	// Repository is the folder of the claims' Kopia repository.
	Repository string
	Platform   Platform

	claims  int
	client  kubernetes.Interface
	applier *Applier
}

// lightAtOnce is how many claims are made at the same time.
const lightAtOnce = 16

// UpLight starts the API with controllers, the repository, the light VolSync, and makes the claims.
func UpLight(ctx context.Context, s *Stack, o LightOptions) (*LightLab, error) {
	l := &LightLab{claims: o.Claims, Platform: Platform{KopiaPassword: PlatformKopiaPassword, NFSServer: "127.0.0.1", SeededAt: time.Now().UTC()}}
	dir, err := s.Dir("light")
	if err != nil {
		return nil, err
	}
	l.Repository = filepath.Join(dir, "repository")
	var listed map[recovery.KopiaSource][]ListedSnapshot
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if err := SeedManySnapshots(both, l.Repository, l.Platform.KopiaPassword, o.Claims, 2, false); err != nil {
			return err
		}
		kopia, err := s.Kopia(both)
		if err != nil {
			return err
		}
		listed, err = kopia.ListSnapshots(both, l.Repository)
		return err
	})
	group.Go(func() error { return l.startCluster(both, s, o) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if l.VolSync, err = s.LightVolSync(ctx, l.Kubernetes, LightVolSyncOptions{Snapshots: listed, Duration: o.Duration}); err != nil {
		return nil, err
	}
	return l, l.makeClaims(ctx)
}

func (l *LightLab) startCluster(ctx context.Context, s *Stack, o LightOptions) (err error) {
	// At the limits that the controllers come with they would bind two hundred claims in a minute.
	options := ControlPlaneOptions{Users: o.Users, ControllerManager: true, ControllerQPS: 500}
	if l.Kubernetes, err = s.ControlPlane(ctx, options); err != nil {
		return err
	}
	if l.client, err = kubernetes.NewForConfig(l.Kubernetes.RESTConfig()); err != nil {
		return fmt.Errorf("lab: client: %w", err)
	}
	if l.applier, err = l.Kubernetes.Applier(); err != nil {
		return err
	}
	if err := l.Kubernetes.ApplyCRDs(ctx); err != nil {
		return err
	}
	seed := &seeder{Platform: l.Platform, apply: l.applier}
	return seed.render(ctx, "classes", platformNamespaces())
}

// ClaimOf is the claim whose backups are those of source number n of SeedManySnapshots.
func (l *LightLab) ClaimOf(n int) (namespace, name string) {
	return ManySource(n).Hostname, fmt.Sprintf("volume-%04d", n)
}

func (l *LightLab) makeClaims(ctx context.Context) error {
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(lightAtOnce)
	for n := range l.claims {
		group.Go(func() error { return l.makeClaim(together, n) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	deadline := time.Now().Add(restoreWait)
	for {
		unbound, err := l.Unbound(ctx)
		if err != nil || unbound == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("lab: %d of %d claims are not bound", unbound, l.claims)
		}
		if err := lightWait(ctx, lightLook); err != nil {
			return err
		}
	}
}

// Unbound is how many claims are not bound.
func (l *LightLab) Unbound(ctx context.Context) (int, error) {
	claims, err := l.client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("lab: list claims: %w", err)
	}
	bound := 0
	for i := range claims.Items {
		if claims.Items[i].Status.Phase == corev1.ClaimBound {
			bound++
		}
	}
	return l.claims - bound, nil
}

// makeClaim makes a claim with its volume, the Secret and the ReplicationSource that stand in its namespace.
func (l *LightLab) makeClaim(ctx context.Context, n int) error {
	namespace, name := l.ClaimOf(n)
	_, err := l.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("lab: make namespace %s: %w", namespace, err)
	}
	class := RestoreClass
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"backup": "hourly"}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}
	if claim, err = l.client.CoreV1().PersistentVolumeClaims(namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("lab: make claim %s/%s: %w", namespace, name, err)
	}
	if _, err := l.client.CoreV1().PersistentVolumes().Create(ctx, LightVolume("old-"+name, claim), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("lab: make the volume of claim %s/%s: %w", namespace, name, err)
	}
	secret := reference("v1", "Secret", namespace, "volsync-"+name)
	secret.Object["stringData"] = map[string]any{
		"KOPIA_PASSWORD": l.Platform.KopiaPassword, "KOPIA_REPOSITORY": "filesystem:///repository", "KOPIA_FS_PATH": "/repository",
	}
	source := reference(volsyncGroup+"/v1alpha1", sourceKind, namespace, name+"-backup")
	source.Object["spec"] = map[string]any{
		"sourcePVC": name, "trigger": map[string]any{"schedule": "0 * * * *"},
		"kopia": map[string]any{
			"repository": "volsync-" + name, "compression": "zstd-fastest", "copyMethod": "Snapshot",
			"storageClassName": RestoreClass, "volumeSnapshotClassName": RestoreSnapshotClass,
		},
	}
	return l.applier.Apply(ctx, secret, source)
}
