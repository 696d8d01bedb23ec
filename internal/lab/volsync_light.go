package lab

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/drctl/drctl/internal/recovery"
)

// LightVolSyncOptions say what the movers of a LightVolSync find, and how long they take.
type LightVolSyncOptions struct {
	// Snapshots are those of the repository by identity, as the mover's listing has them.
	Snapshots map[recovery.KopiaSource][]ListedSnapshot
	// Duration is how long the mover of an identity works; nil for no time at all.
	Duration func(recovery.KopiaSource) time.Duration
}

// LightVolSync plays VolSync for hundreds of ReplicationDestinations at once on a small machine: what is
// written to the API is VolSync's, and the movers' Pods say what a mover says, but nothing runs and no data are
// moved. A claim that names such a destination gets a PersistentVolume without anything behind it.
//
// There is no Job: the Pod carries the label of the one that VolSync would have made. For everything that
// depends on files, or on how VolSync works inside, there is VolSync.
type LightVolSync struct {
	stack   *Stack
	client  kubernetes.Interface
	dynamic dynamic.Interface
	options LightVolSyncOptions
	logs    *lightLogs

	mu     sync.Mutex
	orders map[recovery.KopiaSource]Order
	runs   map[types.UID]*lightDestination
	claims map[types.UID]bool
	work   sync.WaitGroup
	closed bool
}

// lightDestination is a ReplicationDestination with the triggers that were taken up.
type lightDestination struct {
	triggers map[string]bool
	cancel   context.CancelFunc
	ctx      context.Context
}

// LightVolSync starts it, with a node of its own that serves the logs of its Pods. The definitions must be
// there. It runs until Close.
func (s *Stack) LightVolSync(ctx context.Context, k *Kubernetes, o LightVolSyncOptions) (*LightVolSync, error) {
	client, err := kubernetes.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of the light VolSync: %w", err)
	}
	untyped, err := dynamic.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of the light VolSync: %w", err)
	}
	v := &LightVolSync{
		stack: s, client: client, dynamic: untyped, options: o,
		orders: map[recovery.KopiaSource]Order{}, runs: map[types.UID]*lightDestination{}, claims: map[types.UID]bool{},
	}
	if v.logs, err = s.lightLogs(ctx, k, client); err != nil {
		return nil, err
	}
	return v, v.watch(ctx)
}

// Order has the mover of an identity hang or fail instead of working; an empty order takes that back, and what
// hung goes on. OrderHang and OrderFail are known.
func (v *LightVolSync) Order(of recovery.KopiaSource, order Order) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.orders[of] = order
}

func (v *LightVolSync) ordered(of recovery.KopiaSource) Order {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.orders[of]
}

func (o Order) fails() bool { return strings.HasPrefix(string(o), "fail ") }

func (v *LightVolSync) watch(ctx context.Context) error {
	typed, untyped := informers.NewSharedInformerFactory(v.client, 0), dynamicinformer.NewDynamicSharedInformerFactory(v.dynamic, 0)
	// Undone behind what ends the watches: it waits for them.
	v.stack.Defer(func() error { typed.Shutdown(); untyped.Shutdown(); return nil })
	running := v.stack.background(ctx, func(ctx context.Context) {
		<-ctx.Done()
		v.mu.Lock()
		v.closed = true
		v.mu.Unlock()
		v.work.Wait()
	})
	take := func(object any) {
		switch seen := object.(type) {
		case *unstructured.Unstructured:
			v.takeUp(running, seen)
		case *corev1.PersistentVolumeClaim:
			v.takeClaim(running, seen)
		}
	}
	follow := cache.ResourceEventHandlerFuncs{AddFunc: take, UpdateFunc: func(_, object any) { take(object) }, DeleteFunc: v.forget}
	destinations, claims := untyped.ForResource(volsyncResource(destinationKind)).Informer(), typed.Core().V1().PersistentVolumeClaims().Informer()
	for _, informer := range []cache.SharedIndexInformer{destinations, claims} {
		if _, err := informer.AddEventHandler(follow); err != nil {
			return fmt.Errorf("lab: watch for the light VolSync: %w", err)
		}
	}
	typed.Start(running.Done())
	untyped.Start(running.Done())
	typed.WaitForCacheSync(running.Done())
	untyped.WaitForCacheSync(running.Done())
	return nil
}

// takeUp begins a run for a trigger that is not the last one that was completed.
func (v *LightVolSync) takeUp(ctx context.Context, seen *unstructured.Unstructured) {
	r := &replication{seen.DeepCopy()}
	trigger := r.spec("trigger", "manual")
	if r.GetDeletionTimestamp() != nil || trigger == "" || trigger == r.status("lastManualSync") {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.runs[r.GetUID()]
	if known == nil {
		known = &lightDestination{triggers: map[string]bool{}}
		known.ctx, known.cancel = context.WithCancel(ctx)
		v.runs[r.GetUID()] = known
	}
	if v.closed || known.triggers[trigger] {
		return
	}
	known.triggers[trigger] = true
	v.work.Go(func() {
		if err := v.run(known.ctx, r); err != nil && known.ctx.Err() == nil {
			v.stack.Logf("light VolSync: %s: %v", describe(r.Unstructured), err)
		}
	})
}

// forget ends the run of a destination that is gone.
func (v *LightVolSync) forget(object any) {
	if stale, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = stale.Obj
	}
	gone, ok := object.(*unstructured.Unstructured)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.runs[gone.GetUID()]; known != nil {
		known.cancel()
	}
}
