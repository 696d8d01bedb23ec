package kube

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// quiet is how long a watch may say nothing and still be believed. The API server sends a bookmark about
	// once a minute. Source: apiserver pkg/storage/cacher, defaultBookmarkFrequency.
	quiet = 90 * time.Second
	// The pauses between attempts to watch again.
	firstPause, longestPause = 250 * time.Millisecond, 10 * time.Second
)

// Watched is a kind as the last watched change has it, in memory. Reading it costs no request. It may be
// used from several goroutines.
type Watched struct {
	client    *Client
	gvr       schema.GroupVersionResource
	namespace string
	store     cache.Indexer
	notice    func(*unstructured.Unstructured)
	// refused is why nothing can be listed at all.
	filled  chan struct{}
	refused chan error
	once    sync.Once

	mu sync.Mutex
	// seen is the last sign of life, broken why there is none at the moment.
	seen   time.Time
	broken error
}

// Watch reads a kind in a namespace, or in all of them for "", and follows its changes until ctx ends: one
// LIST (or the stream that newer servers send instead) and one WATCH, which is taken up again where it
// broke off, and begun anew when the server no longer has that place (410). It returns once everything has
// been read. The objects carry no managedFields.
//
// A label selector narrows it. What is forbidden or not known is an error at once.
func (c *Client) Watch(ctx context.Context, gvr schema.GroupVersionResource, namespace, labelSelector string) (*Watched, error) {
	return c.watch(ctx, gvr, namespace, labelSelector, nil)
}

// watch tells of every object that is added or changed, too; notice may be nil.
func (c *Client) watch(ctx context.Context, gvr schema.GroupVersionResource, namespace, labelSelector string, notice func(*unstructured.Unstructured)) (*Watched, error) {
	life, cancel := context.WithCancel(klog.NewContext(ctx, klog.Logger{}))
	w := &Watched{
		client: c, gvr: gvr, namespace: namespace, notice: notice, filled: make(chan struct{}), refused: make(chan error, 1),
		store: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
	}
	var silent klog.Logger // client-go would write to stderr
	reflector := cache.NewReflectorWithOptions(w.listWatch(labelSelector), &unstructured.Unstructured{}, filling{w.store, w}, cache.ReflectorOptions{
		Name: gvr.String(), Logger: &silent, Backoff: &wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.5, Steps: 16, Cap: longestPause},
	})
	go func() {
		defer cancel()
		reflector.RunWithContext(life)
	}()
	if err := w.wait(ctx); err != nil {
		cancel()
		return nil, c.explain(ctx, "watch"+listing(gvr, namespace)[len("list"):], gvr, err)
	}
	return w, nil
}

// wait returns once the first listing is in memory.
func (w *Watched) wait(ctx context.Context) error {
	timeout := time.NewTimer(requestTimeout)
	defer timeout.Stop()
	select {
	case <-w.filled:
		return nil
	case err := <-w.refused:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		if err := w.failure(); err != nil {
			return err
		}
		return context.DeadlineExceeded
	}
}

// listWatch is how the reflector asks. Every answer passes through here, so that it is known whether the
// watch lives: the reflector itself keeps that to itself.
func (w *Watched) listWatch(labelSelector string) *cache.ListWatch {
	resource := w.client.dynamic.Resource(w.gvr).Namespace(w.namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = labelSelector
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			list, err := resource.List(ctx, options)
			if err != nil {
				w.unlisted(err)
				return nil, err
			}
			for i := range list.Items {
				list.Items[i].SetManagedFields(nil)
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = labelSelector
			stream, err := resource.Watch(ctx, options)
			if err != nil {
				w.lost(err)
				return nil, err
			}
			w.alive()
			return watch.Filter(stream, w.pass), nil
		},
	}
}

// pass sees every event, bookmarks included.
func (w *Watched) pass(event watch.Event) (watch.Event, bool) {
	if event.Type != watch.Error {
		w.alive()
	}
	if object, ok := event.Object.(*unstructured.Unstructured); ok {
		object.SetManagedFields(nil)
		if w.notice != nil && (event.Type == watch.Added || event.Type == watch.Modified) {
			w.notice(object)
		}
	}
	return event, true
}

// unlisted notes why a listing failed. A server without streamed listings refuses the stream first, so
// that only the LIST decides.
func (w *Watched) unlisted(err error) {
	w.lost(err)
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
		select {
		case w.refused <- err:
		default:
		}
	}
}

func (w *Watched) alive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.broken = time.Now(), nil
}

func (w *Watched) lost(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = err
}

func (w *Watched) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// SyncedAt is when the watch last gave a sign of life.
func (w *Watched) SyncedAt() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Live reports whether the watch can be believed: it stands, and was heard of in the last minute and a
// half. Otherwise ask the server itself.
func (w *Watched) Live() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken == nil && time.Since(w.seen) < quiet
}

// Get is the object as it was last seen, nil when there is none. It must not be changed.
func (w *Watched) Get(namespace, name string) *unstructured.Unstructured {
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}
	found, exists, err := w.store.GetByKey(key)
	if err != nil || !exists { // the error is that of another kind of store
		return nil
	}
	object, _ := found.(*unstructured.Unstructured)
	return object
}

// List are the objects of a namespace, or all for "", in no order. They must not be changed.
func (w *Watched) List(namespace string) []*unstructured.Unstructured {
	found := w.store.List()
	if namespace != "" {
		// The index is there, so there is no error.
		found, _ = w.store.ByIndex(cache.NamespaceIndex, namespace)
	}
	objects := make([]*unstructured.Unstructured, 0, len(found))
	for _, item := range found {
		if object, ok := item.(*unstructured.Unstructured); ok {
			objects = append(objects, object)
		}
	}
	return objects
}

// filling is the store, which says when it was filled for the first time.
type filling struct {
	cache.Indexer
	watched *Watched
}

// Replace takes a whole listing.
func (f filling) Replace(items []any, resourceVersion string) error {
	err := f.Indexer.Replace(items, resourceVersion)
	f.watched.once.Do(func() { close(f.watched.filled) })
	return err
}
