package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// The group of VolSync, its kinds, and the label of everything that it makes.
const (
	volsyncGroup    = "volsync.backube"
	sourceKind      = "ReplicationSource"
	destinationKind = "ReplicationDestination"
	createdByLabel  = "app.kubernetes.io/created-by"
	volsyncCreator  = "volsync"
)

const (
	// volsyncWorkers reconcile at the same time; VolSync itself has 100.
	volsyncWorkers = 16
	// volsyncResync is how often everything is looked over without an event.
	volsyncResync = 5 * time.Second
)

// VolSyncOptions say how VolSync is set up.
type VolSyncOptions struct {
	// NFSServer and NFSPath are mounted into movers at /repository, as the platform's policy
	// volsync-nfs-inject does. Leave them empty where Kyverno runs and does that itself.
	NFSServer, NFSPath string
	// BackoffLimit is that of a mover's Job, VolSync's 8 when 0. A Pod's second attempt comes after 10 s, so
	// a test that wants to see failures had better say 1.
	BackoffLimit int32
	// KeepAllLines keeps all lines of a mover in the status, as VolSync's MOVER_LOG_DEBUG=true does. LogBytes
	// is its MOVER_LOG_MAX_BYTES, 1024 when 0.
	KeepAllLines bool
	LogBytes     int
}

// VolSync plays VolSync with the Kopia mover, the fork perfectra1n/volsync: its ReplicationSources,
// ReplicationDestinations and its volume populator. Movers are Jobs whose Pods really run on the lab's node
// with the real Kopia. Schedules are not followed: a source with one runs when it is made, and then by a
// manual trigger only. Each behaviour names its source where it is played.
type VolSync struct {
	stack   *Stack
	client  kubernetes.Interface
	dynamic dynamic.Interface
	image   *MoverImage
	options VolSyncOptions
	queue   workqueue.TypedRateLimitingInterface[string]

	sources, destinations, snapshots cache.GenericLister
	claims                           corelisters.PersistentVolumeClaimLister
	volumes                          corelisters.PersistentVolumeLister
	namespaces                       corelisters.NamespaceLister
	jobs                             batchlisters.JobLister
	classes                          storagelisters.StorageClassLister
}

// VolSync starts VolSync. The definitions must be there, and the node must have the same image. It runs until
// Close.
func (s *Stack) VolSync(ctx context.Context, k *Kubernetes, image *MoverImage, o VolSyncOptions) (*VolSync, error) {
	client, err := kubernetes.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of VolSync: %w", err)
	}
	untyped, err := dynamic.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of VolSync: %w", err)
	}
	if o.BackoffLimit == 0 {
		o.BackoffLimit = 8
	}
	if o.LogBytes == 0 {
		o.LogBytes = 1024
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 5*time.Second)
	v := &VolSync{
		stack: s, client: client, dynamic: untyped, image: image, options: o,
		queue: workqueue.NewTypedRateLimitingQueue(limiter),
	}
	return v, v.watch(ctx)
}

// watch starts the caches and the workers.
func (v *VolSync) watch(ctx context.Context) error {
	typed, untyped := informers.NewSharedInformerFactory(v.client, 0), dynamicinformer.NewDynamicSharedInformerFactory(v.dynamic, 0)
	sources, destinations := untyped.ForResource(volsyncResource(sourceKind)), untyped.ForResource(volsyncResource(destinationKind))
	snapshots := untyped.ForResource(snapshotResource("volumesnapshots"))
	v.sources, v.destinations, v.snapshots = sources.Lister(), destinations.Lister(), snapshots.Lister()
	v.claims, v.volumes = typed.Core().V1().PersistentVolumeClaims().Lister(), typed.Core().V1().PersistentVolumes().Lister()
	v.namespaces, v.jobs = typed.Core().V1().Namespaces().Lister(), typed.Batch().V1().Jobs().Lister()
	v.classes = typed.Storage().V1().StorageClasses().Lister()
	for _, informer := range []cache.SharedIndexInformer{
		sources.Informer(), destinations.Informer(), snapshots.Informer(), typed.Batch().V1().Jobs().Informer(),
		typed.Core().V1().PersistentVolumeClaims().Informer(),
	} {
		if _, err := informer.AddEventHandler(v.handler()); err != nil {
			return fmt.Errorf("lab: watch for VolSync: %w", err)
		}
	}
	// Caches that are read, and start nothing.
	typed.Core().V1().PersistentVolumes().Informer()
	typed.Core().V1().Namespaces().Informer()
	typed.Storage().V1().StorageClasses().Informer()
	v.stack.Defer(func() error { typed.Shutdown(); untyped.Shutdown(); return nil })
	running := v.stack.background(ctx, func(ctx context.Context) { <-ctx.Done() })
	typed.Start(running.Done())
	untyped.Start(running.Done())
	typed.WaitForCacheSync(running.Done())
	untyped.WaitForCacheSync(running.Done())
	for range volsyncWorkers {
		v.stack.background(running, v.work)
	}
	v.stack.background(running, v.resync)
	// Undone before the workers are waited for: they end with the queue.
	v.stack.Defer(func() error { v.queue.ShutDown(); return nil })
	return nil
}

func volsyncResource(kind string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: volsyncGroup, Version: "v1alpha1", Resource: strings.ToLower(kind) + "s"}
}

// work reconciles what is in the queue.
func (v *VolSync) work(ctx context.Context) {
	for {
		key, down := v.queue.Get()
		if down {
			return
		}
		err := v.reconcile(ctx, key)
		v.queue.Done(key)
		switch {
		case err == nil, ctx.Err() != nil:
			v.queue.Forget(key)
			continue
		case !apierrors.IsConflict(err) && !errors.Is(err, errTooEarly):
			v.stack.Logf("VolSync: %s: %v", key, err)
		}
		v.queue.AddRateLimited(key)
	}
}

// errTooEarly is an object that the cache does not have yet.
var errTooEarly = errors.New("lab: not seen yet")

func (v *VolSync) reconcile(ctx context.Context, key string) error {
	parts := strings.SplitN(key, "/", 3)
	kind, namespace, name := parts[0], parts[1], parts[2]
	if kind == claimKind {
		return v.populate(ctx, namespace, name)
	}
	lister := v.destinations
	if kind == sourceKind {
		lister = v.sources
	}
	object, err := lister.ByNamespace(namespace).Get(name)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	seen := object.(*unstructured.Unstructured)
	if seen.GetDeletionTimestamp() != nil {
		return nil
	}
	return v.advance(ctx, &replication{Unstructured: seen.DeepCopy()})
}

// resync looks everything over from time to time: an event may have been handled while the API was away.
func (v *VolSync) resync(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(volsyncResync):
		}
		for kind, lister := range map[string]cache.GenericLister{sourceKind: v.sources, destinationKind: v.destinations} {
			all, err := lister.List(labels.Everything())
			if err != nil {
				continue
			}
			for _, object := range all {
				v.enqueue(kind, object)
			}
		}
		claims, err := v.claims.List(labels.Everything())
		if err != nil {
			continue
		}
		for _, claim := range claims {
			v.enqueueClaim(claim)
		}
	}
}
