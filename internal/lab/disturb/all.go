package disturb

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/lab"
)

// Quick is every crash point once, in one operation, and every request once with faults of one kind.
func (m *Matrix) Quick(ctx context.Context, kind lab.FaultKind) (Tally, error) {
	total, err := m.Stutter(ctx)
	if err != nil {
		return total, err
	}
	m.Logf("dying everywhere: %s", &total)
	spoilt, err := m.Spoil(ctx, kind, false)
	total.Add(spoilt)
	return total, err
}

// job is one part of a matrix: an operation that somebody disturbs.
type job struct {
	name string
	run  func(*Matrix, context.Context) (Tally, error)
}

// All is every crash point by itself, before and after the request; abort from each point ahead of the one
// of no return; and every request once with each kind of fault, also where only the answer is lost. The
// worlds share the work. What was counted until an error is given with it.
func All(ctx context.Context, worlds []*Matrix) (Tally, error) {
	var requests []lab.ProxyRequest
	for range 2 {
		var err error
		if requests, err = worlds[0].Clean(ctx); err != nil {
			return Tally{}, err
		}
	}
	jobs, err := jobsOf(requests, worlds[0].Return)
	if err != nil {
		return Tally{}, err
	}
	worlds[0].Logf("%d operations to disturb, in %d worlds", len(jobs), len(worlds))
	sum := &whole{}
	err = spread(ctx, jobs, worlds, sum)
	return sum.total, err
}

// spread has the worlds do the jobs, each the next one that nobody does.
func spread(ctx context.Context, jobs []job, worlds []*Matrix, sum *whole) error {
	next := make(chan job)
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(next)
		for _, j := range jobs {
			select {
			case <-both.Done():
				return nil
			case next <- j:
			}
		}
		return nil
	})
	for _, m := range worlds {
		group.Go(func() error {
			for j := range next {
				tally, err := j.run(m, both)
				if enough := sum.add(m, j, tally, err); enough || both.Err() != nil {
					return errBroken
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil && !errors.Is(err, errBroken) {
		sum.broken = append(sum.broken, err)
	}
	// What somebody broke off is no whole matrix, however well it went until then.
	return errors.Join(append(sum.broken, ctx.Err())...)
}

// whole is what all worlds of a matrix counted.
type whole struct {
	mu     sync.Mutex
	total  Tally
	broken []error
}

// add notes a job that was run in a world, and reports whether too many ended without a judgement.
func (w *whole) add(m *Matrix, j job, tally Tally, err error) (enough bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total.Add(tally)
	m.Logf("so far: %s", &w.total)
	if err != nil {
		m.Logf("%s: %v", j.name, err)
		w.broken = append(w.broken, fmt.Errorf("%s: %w", j.name, err))
	}
	return len(w.broken) >= mostBroken
}

// mostBroken is how many jobs may end without a judgement before a matrix gives up: what the others of
// its hour have to say is worth hearing, and the matrix has failed either way.
const mostBroken = 3

var errBroken = errors.New("disturb: too much is broken")

// jobsOf are the operations of a whole matrix, in an order in which a matrix that is broken off has said
// as much as it can: each point once, aborts, each fault once, then the same from the other side.
func jobsOf(requests []lab.ProxyRequest, isReturn func(lab.ProxyRequest) bool) ([]job, error) {
	points, deletion := 0, 0
	for _, r := range requests {
		points = max(points, r.MutatingN)
		if deletion == 0 && r.Mutating && isReturn(r) {
			deletion = r.MutatingN
		}
	}
	if deletion == 0 {
		return nil, errors.New("disturb: the clean run did not reach its point of no return")
	}
	jobs := crashes(points, lab.After)
	jobs = append(jobs, aborts(deletion)...)
	jobs = append(jobs, faults(false)...)
	jobs = append(jobs, crashes(points, lab.Before)...)
	return append(jobs, faults(true)...), nil
}

func crashes(points int, when lab.KillWhen) []job {
	var jobs []job
	for n := 1; n <= points; n++ {
		jobs = append(jobs, job{fmt.Sprintf("killed %s request %d", when, n), func(m *Matrix, ctx context.Context) (Tally, error) { return m.Crash(ctx, n, when) }})
	}
	return jobs
}

// aborts are those ahead of the point of no return.
func aborts(deletion int) []job {
	var jobs []job
	for n := 1; n <= deletion; n++ {
		for _, when := range []lab.KillWhen{lab.Before, lab.After} {
			if n == deletion && when == lab.After {
				continue
			}
			jobs = append(jobs, job{fmt.Sprintf("aborted %s request %d", when, n), func(m *Matrix, ctx context.Context) (Tally, error) { return m.CrashAndAbort(ctx, n, when) }})
		}
	}
	return jobs
}

// faults spoil every request once with each kind; applied: only the answer is lost.
func faults(applied bool) []job {
	var jobs []job
	for _, kind := range lab.FaultKinds() {
		jobs = append(jobs, job{fmt.Sprintf("%s at every request, applied %v", kind, applied), func(m *Matrix, ctx context.Context) (Tally, error) {
			return m.Spoil(ctx, kind, applied)
		}})
	}
	return jobs
}
