package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
)

// The annotations by which a provisioner knows its own volumes, and by which a scheduler lets it go on.
const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	selectedNode  = "volume.kubernetes.io/selected-node"
)

// provisionerDriver is the driver of the platform's storage class.
const provisionerDriver = "driver.longhorn.io"

// provisionerResync is how often volumes are looked over without an event: a write may have failed
// because the API server was away.
const provisionerResync = 2 * time.Second

// Provisioner makes volumes for claims of the platform's storage class: a folder that stands for the
// volume, and the PersistentVolume. It keeps what a CSI driver keeps: the data of a volume with reclaim
// policy Delete are gone once its claim is, those of one with Retain stay. A claim from a VolumeSnapshot or
// another claim begins as its copy; one from anything else is left to that kind's populator.
// Source: kubernetes-csi/external-provisioner, sig-storage-lib-external-provisioner.
type Provisioner struct {
	dir string
	// own gives a new, empty volume to whoever is to write into it.
	own     func(folder string) error
	logf    func(string, ...any)
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister

	mu sync.Mutex
	// snapshot gives the folder of a VolumeSnapshot that is ready, nil while there is no Snapshotter.
	snapshot func(namespace, name string) (folder string, err error)
}

// ProvisionedVolume is a volume and the folder that stands for it.
type ProvisionedVolume struct {
	// Name is the PersistentVolume's.
	Name   string
	Folder string
	// Claim is NAMESPACE/NAME of the claim that it was made for, ClaimUID that claim's UID.
	Claim, ClaimUID string
	Phase           corev1.PersistentVolumePhase
	ReclaimPolicy   corev1.PersistentVolumeReclaimPolicy
}

// Provisioner starts a provisioner for storage classes of the platform's driver. It runs until Close. Its
// volumes belong to the account that runs the lab's databases.
func (s *Stack) Provisioner(ctx context.Context, k *Kubernetes) (*Provisioner, error) {
	account, err := findPostgres()
	if err != nil {
		return nil, err
	}
	return s.provisioner(ctx, k, func(folder string) error {
		if err := os.Chmod(folder, 0o770); err != nil {
			return err
		}
		return account.own(folder)
	})
}

// RootProvisioner is a Provisioner whose volumes belong to root, as those of a new file system do. It needs no
// databases.
func (s *Stack) RootProvisioner(ctx context.Context, k *Kubernetes) (*Provisioner, error) {
	return s.provisioner(ctx, k, func(folder string) error { return os.Chmod(folder, 0o755) })
}

func (s *Stack) provisioner(ctx context.Context, k *Kubernetes, own func(string) error) (*Provisioner, error) {
	dir, err := s.Dir(fmt.Sprintf("volumes-%d", k.port))
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of the provisioner: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	p := &Provisioner{
		dir: dir, own: own, logf: s.logf, client: client,
		claims:  factory.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: factory.Core().V1().PersistentVolumes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
	}
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().PersistentVolumeClaims().Informer(), factory.Core().V1().PersistentVolumes().Informer(),
		factory.Storage().V1().StorageClasses().Informer(),
	} {
		if _, err := informer.AddEventHandler(notify(changed)); err != nil {
			return nil, fmt.Errorf("lab: watch volumes: %w", err)
		}
	}
	s.Defer(func() error { factory.Shutdown(); return nil })
	running := s.background(ctx, func(ctx context.Context) { p.run(ctx, changed) })
	factory.Start(running.Done())
	return p, nil
}

// background runs work until Close, which waits for it. The context it gives ends at the same time.
func (s *Stack) background(ctx context.Context, work func(ctx context.Context)) context.Context {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work(running)
	}()
	s.Defer(func() error {
		cancel()
		<-ended
		return nil
	})
	return running
}

// notify says that something changed, without ever waiting for whoever listens.
func notify(changed chan<- struct{}) cache.ResourceEventHandlerFuncs {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(any, any) { tell() }, DeleteFunc: func(any) { tell() },
	}
}

func (p *Provisioner) run(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(provisionerResync):
		}
		p.provisionAll(ctx)
		p.reclaimAll(ctx)
	}
}

func (p *Provisioner) provisionAll(ctx context.Context) {
	claims, err := p.claims.List(labels.Everything())
	if err != nil {
		return
	}
	for _, claim := range claims {
		if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
			continue
		}
		class, err := p.classes.Get(*claim.Spec.StorageClassName)
		if err != nil || class.Provisioner != provisionerDriver || waitsForConsumer(class, claim) {
			continue
		}
		if err := p.provision(ctx, claim, class); err != nil && ctx.Err() == nil {
			p.logf("provision a volume for %s/%s: %v", claim.Namespace, claim.Name, err)
		}
	}
}

func waitsForConsumer(class *storagev1.StorageClass, claim *corev1.PersistentVolumeClaim) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer &&
		claim.Annotations[selectedNode] == ""
}

// provision makes the folder before the volume: whoever sees the volume may use it.
func (p *Provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) error {
	volume := volumeFor(claim, class)
	if _, err := p.volumes.Get(volume.Name); err == nil {
		return nil
	}
	ready, err := p.fill(ctx, claim, p.Folder(volume.Name))
	if err != nil || !ready {
		return err
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func volumeFor(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	policy := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerDriver}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              class.Name,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: provisionerDriver, VolumeHandle: name, FSType: "ext4"},
			},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
}

// reclaimAll removes the released volumes whose policy says so, with their data.
func (p *Provisioner) reclaimAll(ctx context.Context) {
	volumes, err := p.volumes.List(labels.Everything())
	if err != nil {
		return
	}
	for _, volume := range volumes {
		if volume.Annotations[provisionedBy] != provisionerDriver || volume.Status.Phase != corev1.VolumeReleased ||
			volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || volume.DeletionTimestamp != nil {
			continue
		}
		if err := p.reclaim(ctx, volume); err != nil && ctx.Err() == nil {
			p.logf("remove volume %s: %v", volume.Name, err)
		}
	}
}

// reclaim asks the server, not the cache, before data are removed: the policy may just have become
// Retain.
func (p *Provisioner) reclaim(ctx context.Context, seen *corev1.PersistentVolume) error {
	volume, err := p.client.CoreV1().PersistentVolumes().Get(ctx, seen.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete ||
		volume.Status.Phase != corev1.VolumeReleased {
		return err
	}
	if err := os.RemoveAll(p.Folder(volume.Name)); err != nil {
		return err
	}
	err = p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Folder stands for a volume. It may be gone.
func (p *Provisioner) Folder(volume string) string { return filepath.Join(p.dir, volume) }
