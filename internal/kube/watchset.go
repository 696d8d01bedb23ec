package kube

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// standIn is how long a listing stands in for a watch that can't be believed, so that many who look do not
// make a request each.
const standIn = time.Second

// refusalHolds is how long a kind that is not there, or may not be watched, is not asked for again.
const refusalHolds = 10 * time.Second

// Watches are watches of several kinds, each begun when it is first looked at, and one for all who look. It
// may be used from several goroutines.
type Watches struct {
	client *Client
	// life is how long the watches last: longer than the look that begins one.
	life       context.Context
	namespaces []string

	mu      sync.Mutex
	kinds   map[schema.GroupVersionResource]*watchedKind
	notices map[schema.GroupVersionResource]func(*unstructured.Unstructured)
}

// watchedKind is one kind, in all namespaces at once or in each of several.
type watchedKind struct {
	mu    sync.Mutex
	parts []*watchedPart
	// refused is why there is no watch, as of refusedAt.
	refused   error
	refusedAt time.Time
}

// watchedPart is a watch, with the listing that stands in for it while it is broken.
type watchedPart struct {
	*Watched
	mu       sync.Mutex
	listed   []*unstructured.Unstructured
	listedAt time.Time
}

// NewWatches prepares watches of the given namespaces until ctx ends; it sends nothing. With several
// namespaces, or with none, a kind is watched everywhere by one watch; where that is forbidden, in each.
func NewWatches(ctx context.Context, client *Client, namespaces []string) *Watches {
	namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	return &Watches{
		client: client, life: ctx, namespaces: namespaces, kinds: map[schema.GroupVersionResource]*watchedKind{},
		notices: map[schema.GroupVersionResource]func(*unstructured.Unstructured){},
	}
}

// Notice has a function called with every object of a kind that is added or changed, once that kind is
// watched: it must be said before the first look at it. The function must neither wait nor change the
// object.
func (w *Watches) Notice(gvr schema.GroupVersionResource, notice func(*unstructured.Unstructured)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices[gvr] = notice
}

// Get is an object as it was last seen, nil when there is none. A namespace that is not watched, and a
// watch that can't be believed, cost a request. The object must not be changed.
func (w *Watches) Get(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	part, err := w.part(gvr, namespace)
	if err != nil {
		return nil, err
	}
	if part == nil {
		object, err := w.client.Get(ctx, gvr, namespace, name)
		if errors.Is(err, recovery.ErrNotFound) {
			return nil, nil
		}
		return object, err
	}
	if part.Live() {
		return part.Get(namespace, name), nil
	}
	objects, err := part.list(ctx)
	for _, object := range objects {
		if object.GetNamespace() == namespace && object.GetName() == name {
			return object, err
		}
	}
	return nil, err
}

// List are the objects of a namespace, or all that are watched for "", in no order, as Get has them.
func (w *Watches) List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]*unstructured.Unstructured, error) {
	part, err := w.part(gvr, namespace)
	switch {
	case err != nil:
		return nil, err
	case part == nil:
		items, err := w.client.ListWhere(ctx, gvr, namespace, "")
		return pointers(items), err
	case part.Live():
		return part.List(namespace), nil
	}
	objects, err := part.list(ctx)
	if namespace == "" || err != nil {
		return objects, err
	}
	inside := make([]*unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		if object.GetNamespace() == namespace {
			inside = append(inside, object)
		}
	}
	return inside, nil
}

// part is the watch that has the namespace in it, nil for none.
func (w *Watches) part(gvr schema.GroupVersionResource, namespace string) (*watchedPart, error) {
	w.mu.Lock()
	kind := w.kinds[gvr]
	if kind == nil {
		kind = &watchedKind{}
		w.kinds[gvr] = kind
	}
	notice := w.notices[gvr]
	w.mu.Unlock()

	kind.mu.Lock()
	defer kind.mu.Unlock()
	if kind.parts == nil && time.Since(kind.refusedAt) < refusalHolds {
		return nil, kind.refused
	}
	if kind.parts == nil {
		parts, err := w.begin(gvr, notice)
		if errors.Is(err, recovery.ErrNotFound) || errors.Is(err, recovery.ErrDenied) {
			kind.refused, kind.refusedAt = err, time.Now()
		}
		if err != nil {
			return nil, err
		}
		kind.parts = parts
	}
	for _, part := range kind.parts {
		if part.namespace == "" || part.namespace == namespace {
			return part, nil
		}
	}
	return nil, nil
}

func (w *Watches) begin(gvr schema.GroupVersionResource, notice func(*unstructured.Unstructured)) ([]*watchedPart, error) {
	scope := ""
	if len(w.namespaces) == 1 {
		scope = w.namespaces[0]
	}
	watched, err := w.client.watch(w.life, gvr, scope, "", notice)
	if err == nil {
		return []*watchedPart{{Watched: watched}}, nil
	}
	if scope != "" || len(w.namespaces) == 0 || !errors.Is(err, recovery.ErrDenied) {
		return nil, err
	}
	parts := make([]*watchedPart, 0, len(w.namespaces))
	for _, namespace := range w.namespaces {
		watched, err := w.client.watch(w.life, gvr, namespace, "", notice)
		if err != nil {
			return nil, err
		}
		parts = append(parts, &watchedPart{Watched: watched})
	}
	return parts, nil
}

// list asks the server, for all who look within a moment.
func (p *watchedPart) list(ctx context.Context) ([]*unstructured.Unstructured, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.listedAt) < standIn {
		return p.listed, nil
	}
	items, err := p.client.ListWhere(ctx, p.gvr, p.namespace, "")
	if err != nil {
		return nil, err
	}
	p.listed, p.listedAt = pointers(items), time.Now()
	return p.listed, nil
}

func pointers(items []unstructured.Unstructured) []*unstructured.Unstructured {
	objects := make([]*unstructured.Unstructured, 0, len(items))
	for i := range items {
		objects = append(objects, &items[i])
	}
	return objects
}
