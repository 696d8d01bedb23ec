package restore

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// PrepareMany prepares each claim; one that is refused is told and left out. The order is Argo CD's sync
// wave, then the size, the small ones first: what others need is there early.
func (m *Many) PrepareMany(ctx context.Context, wanted []Options, progress func(done, all int)) ([]*Prepared, []Refusal, error) {
	const atOnce = 16
	// A claim that is named twice is one claim: two plans would undo each other's work.
	named := map[string]bool{}
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(o Options) bool {
		key := o.Namespace + "/" + o.Name
		again := named[key]
		named[key] = true
		return again
	})
	shared := m.together(ctx)
	results := make([]*Prepared, len(wanted))
	failures := make([]error, len(wanted))
	var group sync.WaitGroup
	var mu sync.Mutex
	places, ready := make(chan struct{}, atOnce), 0
	for i, o := range wanted {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			results[i], failures[i] = shared.Prepare(ctx, o)
			mu.Lock()
			defer mu.Unlock()
			ready++
			if progress != nil {
				progress(ready, len(wanted))
			}
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var prepared []*Prepared
	var refused []Refusal
	for i, o := range wanted {
		if failures[i] != nil {
			refused = append(refused, Refusal{o.Namespace + "/" + o.Name, failures[i]})
			continue
		}
		prepared = append(prepared, results[i])
	}
	slices.SortStableFunc(prepared, func(a, b *Prepared) int {
		return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Params.Snapshot.SizeBytes, b.Params.Snapshot.SizeBytes), cmp.Compare(a.Params.target(), b.Params.target()))
	})
	uniqueIDs(prepared)
	return prepared, refused, nil
}

// together is the use case that prepares many claims: what is the same for all of them is asked once, and what
// a watch has is looked at. Whatever decides over something that cannot be taken back is asked anew, of the
// server itself, by the step that does it.
func (r *Restore) together(ctx context.Context) *Restore {
	shared := &Restore{
		Cluster: lookingCluster{Cluster: r.Cluster, identity: sync.OnceValues(func() (Identity, error) { return r.Cluster.Identity(ctx) })},
		Movers:  r.Movers, Fence: r.Fence, Argo: r.Argo, Tree: r.Tree, Now: r.Now, Unfinished: r.Unfinished,
		Repository: repositoryOnce(sync.OnceValue(func() (all listed[recovery.Snapshot]) {
			all.items, all.gaps, all.err = r.Repository.Snapshots(ctx)
			return all
		})),
	}
	if r.Inventory != nil {
		shared.Inventory = inventoryOnce{r.Inventory, sync.OnceValue(func() (all listed[recovery.ReplicationSource]) {
			all.items, all.gaps, all.err = r.Inventory.Sources(ctx, "")
			return all
		})}
	}
	return shared
}

// lookingCluster answers from the watches what they know.
type lookingCluster struct {
	Cluster

	identity func() (Identity, error)
}

func (c lookingCluster) Identity(context.Context) (Identity, error) { return c.identity() }

func (c lookingCluster) Claim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error) {
	return c.LookClaim(ctx, namespace, name)
}

func (c lookingCluster) Pods(ctx context.Context, namespace, claim string) ([]recovery.MountingPod, error) {
	return c.LookPods(ctx, namespace, claim)
}

// listed is a listing that was asked for once.
type listed[T any] struct {
	items []T
	gaps  recovery.Gaps
	err   error
}

type repositoryOnce func() listed[recovery.Snapshot]

func (r repositoryOnce) Snapshots(context.Context) ([]recovery.Snapshot, recovery.Gaps, error) {
	all := r()
	return all.items, all.gaps, all.err
}

// inventoryOnce lists the sources of all namespaces once.
type inventoryOnce struct {
	pvc.Inventory

	all func() listed[recovery.ReplicationSource]
}

func (i inventoryOnce) Sources(ctx context.Context, namespace string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	if namespace != "" {
		return i.Inventory.Sources(ctx, namespace)
	}
	all := i.all()
	return all.items, all.gaps, all.err
}
