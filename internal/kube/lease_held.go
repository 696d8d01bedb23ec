package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// heldLease is a lease that this process holds and renews until Release.
type heldLease struct {
	lock *LeaseLock
	plan operation.Plan
	// identity is what stands in the lease as long as it is ours.
	identity string

	stop    context.CancelFunc
	stopped chan struct{}
	lost    chan struct{}

	mu   sync.Mutex
	live *unstructured.Unstructured
}

// hold begins to renew. What was sent at the given time is valid from then on: the answer may have taken
// long.
func (l *LeaseLock) hold(ctx context.Context, live *unstructured.Unstructured, plan operation.Plan, sent time.Time) *heldLease {
	// The lock outlives the call that took it; Release ends it.
	renewCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &heldLease{
		lock: l, plan: plan, identity: l.holderOf(plan), live: live,
		stop: stop, stopped: make(chan struct{}), lost: make(chan struct{}),
	}
	go h.renew(renewCtx, sent)
	return h
}

// Lost is closed when somebody else holds the lease, or when it could not be renewed for its whole
// duration, so that somebody else may.
func (h *heldLease) Lost() <-chan struct{} { return h.lost }

func (h *heldLease) renew(ctx context.Context, renewed time.Time) {
	defer close(h.stopped)
	// By the wall clock: the monotonic one stands still while a laptop sleeps.
	end := renewed.Round(0).Add(h.lock.duration)
	next := renewed.Round(0).Add(h.lock.every)
	for h.sleepUntil(ctx, next, end) {
		sent := time.Now().Round(0)
		if !sent.Before(end) {
			close(h.lost)
			return
		}
		// What is not answered before the lease is over is of no use any more.
		requestCtx, cancel := context.WithDeadline(ctx, end)
		err := h.renewOnce(requestCtx)
		cancel()
		switch {
		case err == nil:
			end, next = sent.Add(h.lock.duration), sent.Add(h.lock.every)
		case errors.Is(err, operation.ErrLockLost) && ctx.Err() == nil:
			close(h.lost)
			return
		default:
			next = time.Now().Round(0).Add(h.lock.every / 5)
		}
	}
}

// sleepUntil waits for the earlier of the two, and says whether ctx is still alive then. It looks often: a
// timer stands still, too, while a laptop sleeps.
func (h *heldLease) sleepUntil(ctx context.Context, next, end time.Time) bool {
	for ctx.Err() == nil {
		now := time.Now().Round(0)
		pause := min(next.Sub(now), end.Sub(now), time.Second)
		if pause <= 0 {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return false
}

// renewOnce renews the lease, also when something else than its holder was changed in it meanwhile.
func (h *heldLease) renewOnce(ctx context.Context) error {
	updated, err := h.lock.put(ctx, h.current(), h.plan, false)
	switch {
	case err == nil:
		h.keep(updated)
		return nil
	case errors.Is(err, recovery.ErrNotFound):
		return fmt.Errorf("%w: the Lease was deleted", operation.ErrLockLost)
	case !errors.Is(err, recovery.ErrConflict):
		return err
	}
	live, err := h.lock.client.Get(ctx, leasesResource(), h.lock.namespace, h.current().GetName())
	if errors.Is(err, recovery.ErrNotFound) {
		return fmt.Errorf("%w: the Lease was deleted", operation.ErrLockLost)
	}
	if err != nil {
		return err
	}
	if err := h.ours(live); err != nil {
		return err
	}
	updated, err = h.lock.put(ctx, live, h.plan, false)
	if err == nil {
		h.keep(updated)
	}
	return err
}

func (h *heldLease) isOurs(live *unstructured.Unstructured) bool { return h.ours(live) == nil }

// ours is nil while this process stands in the lease that it acquired.
func (h *heldLease) ours(live *unstructured.Unstructured) error {
	identity, _, _ := unstructured.NestedString(live.Object, "spec", "holderIdentity")
	if identity == h.identity && live.GetUID() == h.current().GetUID() {
		return nil
	}
	return fmt.Errorf("%w to %q", operation.ErrLockLost, identity)
}

func (h *heldLease) current() *unstructured.Unstructured {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live
}

func (h *heldLease) keep(live *unstructured.Unstructured) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = live
}

// Release gives the lock back, when it is still ours. It may be called twice.
func (h *heldLease) Release(ctx context.Context) error {
	h.stop()
	<-h.stopped
	name := h.current().GetName()
	for range acquireTries {
		live := h.current()
		err := h.lock.client.Delete(ctx, leasesResource(), h.lock.namespace, name,
			Preconditions{UID: string(live.GetUID()), ResourceVersion: live.GetResourceVersion()}, metav1.DeletePropagationBackground)
		switch {
		case err == nil, errors.Is(err, recovery.ErrNotFound):
			return nil
		case !errors.Is(err, recovery.ErrConflict):
			return fmt.Errorf("unlock %s: %w", h.plan.Target, err)
		}
		// A renewal whose answer was not awaited has changed it, or somebody else holds it.
		live, err = h.lock.client.Get(ctx, leasesResource(), h.lock.namespace, name)
		switch {
		case errors.Is(err, recovery.ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("unlock %s: %w", h.plan.Target, err)
		case !h.isOurs(live):
			return nil
		}
		h.keep(live)
	}
	return &recovery.Problem{
		What: "unlock " + h.plan.Target, Why: fmt.Sprintf("Lease %s/%s changes all the time", h.lock.namespace, name),
		Next: fmt.Sprintf("it ends by itself after %s", h.lock.duration), Err: recovery.ErrConflict,
	}
}
