package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/volsync"
	"github.com/drctl/drctl/internal/volsync/live"
)

// restoreMovers are VolSync's objects, in the use case's words.
type restoreMovers struct{ *live.Movers }

// Template is what the claim's mover looks like.
func (m restoreMovers) Template(ctx context.Context, namespace, claim string) (restore.Template, error) {
	found, err := m.Movers.Template(ctx, namespace, claim)
	if err != nil {
		return restore.Template{}, err
	}
	block, err := json.Marshal(found.Kopia)
	if err != nil {
		return restore.Template{}, fmt.Errorf("encode the Kopia block of claim %s/%s: %w", namespace, claim, err)
	}
	return restore.Template{
		Identity: found.Identity, Secret: found.Secret, Fallback: found.Fallback, Kopia: block, SourceName: found.SourceName,
		SnapshotClass: found.SnapshotClass, Paused: found.Paused, Schedule: found.Schedule,
	}, nil
}

// templateOf keeps whole numbers whole: the API server refuses 2.0 where it wants 2.
func templateOf(t restore.Template) (volsync.Template, error) {
	block := map[string]any{}
	if len(t.Kopia) > 0 {
		if err := utiljson.Unmarshal(t.Kopia, &block); err != nil {
			return volsync.Template{}, fmt.Errorf("read the plan's Kopia block: %w", errors.Join(recovery.ErrDamaged, err))
		}
	}
	return volsync.Template{
		Identity: t.Identity, Secret: t.Secret, Fallback: t.Fallback, Kopia: block, SourceName: t.SourceName,
		SnapshotClass: t.SnapshotClass, Paused: t.Paused, Schedule: t.Schedule,
	}, nil
}

// CreateDestination makes the Secret's copy and the ReplicationDestination.
func (m restoreMovers) CreateDestination(ctx context.Context, d restore.Destination) error {
	template, err := templateOf(d.Template)
	if err != nil {
		return err
	}
	return m.Movers.CreateDestination(ctx, volsync.Destination{
		PlanID: d.PlanID, Namespace: d.Namespace, Name: d.Name, Template: template, Identity: d.Identity, RestoreAsOf: d.RestoreAsOf,
		Previous: d.Previous, Into: d.Into, Exact: d.Exact, StorageClass: d.StorageClass, AccessModes: d.AccessModes, CapacityBytes: d.CapacityBytes,
	})
}

// CreateSource makes a ReplicationSource that runs once.
func (m restoreMovers) CreateSource(ctx context.Context, s restore.Source) error {
	template, err := templateOf(s.Template)
	if err != nil {
		return err
	}
	return m.Movers.CreateSource(ctx, volsync.Source{
		PlanID: s.PlanID, Namespace: s.Namespace, Name: s.Name, Claim: s.Claim, Template: template,
		StorageClass: s.StorageClass, AccessModes: s.AccessModes, CapacityBytes: s.CapacityBytes,
	})
}

// sharedRepository lists the repository once for all who ask at the same time: hundreds of restores ask for
// the same listing. Who asks gets one that was begun after he asked.
type sharedRepository struct {
	from restore.Repository

	mu      sync.Mutex
	running bool
	next    *listing
}

// listing is what several wait for.
type listing struct {
	done      chan struct{}
	snapshots []recovery.Snapshot
	gaps      recovery.Gaps
	err       error
}

// Snapshots lists every snapshot, incomplete ones included.
func (r *sharedRepository) Snapshots(ctx context.Context) ([]recovery.Snapshot, recovery.Gaps, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &listing{done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		go r.run(context.WithoutCancel(ctx)) // others wait for it, too
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.snapshots, mine.gaps, mine.err
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// run lists until nobody waits.
func (r *sharedRepository) run(ctx context.Context) {
	for {
		r.mu.Lock()
		mine := r.next
		r.next, r.running = nil, mine != nil
		r.mu.Unlock()
		if mine == nil {
			return
		}
		mine.snapshots, mine.gaps, mine.err = r.from.Snapshots(ctx)
		// The repository's key took 64 MB, which a collector that thinks them in use lets double.
		debug.FreeOSMemory()
		close(mine.done)
	}
}
