package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// factRefused is a claim whose restore was refused, or taken back, before anything was touched.
const factRefused = "refused/"

// manyStep runs the plans of all claims.
type manyStep struct{ *Many }

func (s manyStep) Observe(_ context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ManyParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	open := 0
	for _, child := range left(run, p) {
		ended, err := s.ended(child)
		if err != nil {
			return operation.Observation{}, err
		}
		if !ended {
			open++
		}
	}
	return operation.IsDoneWhen(open == 0, nil, "%d of %d claims are not done", open, len(p.Children))
}

// ended reports whether a claim's plan is at its end, whichever.
func (s manyStep) ended(child Child) (bool, error) {
	view, err := s.Plans.View(child.Plan)
	if errors.Is(err, recovery.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return !view.Unfinished(), nil
}

func (s manyStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ManyParamsOf(run.Plan)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var unfinished []string
	places := make(chan struct{}, max(1, p.Parallel))
	for _, child := range left(run, p) {
		// The place is taken here, and not by whoever wakes up first: what others need comes early.
		select {
		case <-ctx.Done():
		case places <- struct{}{}:
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			err := s.one(ctx, child)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case ctx.Err() != nil, s.unfinished(child, err):
				unfinished = append(unfinished, child.Target())
			default:
				if factErr := run.SetFact(ctx, factRefused+child.Target(), err.Error()); factErr != nil {
					unfinished = append(unfinished, child.Target()+" ("+factErr.Error()+")")
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(unfinished) == 0 {
		return nil
	}
	// Only the text: what one of them stopped at must not have the others tried again at once.
	return &recovery.Problem{
		What: fmt.Sprintf("%d of %d claims are not done", len(unfinished), len(p.Children)), Why: strings.Join(unfinished, ", "),
		Next: "see each of them: drctl plans", Err: operation.ErrUnfinished,
	}
}

// left are the claims that were not refused. They are found before any is begun: facts are for one at a time.
func left(run *operation.Run, p *ManyParams) []Child {
	var children []Child
	for _, child := range p.Children {
		if _, refused := run.Fact(factRefused + child.Target()); !refused {
			children = append(children, child)
		}
	}
	return children
}

// unfinished tells a claim that is to be gone on with from one that is refused for good: its plan is not at
// its end, somebody else is at it, or what stood in the way passes by itself.
func (s manyStep) unfinished(child Child, cause error) bool {
	for _, passing := range []error{operation.ErrUnfinished, operation.ErrBusy, operation.ErrLockLost, recovery.ErrUnreachable} {
		if errors.Is(cause, passing) {
			return true
		}
	}
	view, err := s.Plans.View(child.Plan)
	return !errors.Is(err, recovery.ErrNotFound) && (err != nil || view.Unfinished())
}

// one begins a claim's plan, or goes on with it.
func (s manyStep) one(ctx context.Context, child Child) (err error) {
	ended, err := s.ended(child)
	if err != nil || ended {
		return err
	}
	if s.Began != nil {
		s.Began(child)
	}
	defer func() {
		if s.Ended != nil {
			s.Ended(child, err)
		}
	}()
	engine, err := s.Engine(child.Options.Namespace)
	if err != nil {
		return err
	}
	engine.Events, engine.Handlers = s.Events, s.Restore.Handlers()
	plan, known, err := s.planOf(ctx, engine, child)
	switch {
	case err != nil:
		return err
	case known:
		return s.Resume(ctx, engine, plan, s.resume)
	}
	return s.Run(ctx, engine, plan)
}

// planOf finds the claim's plan on this computer or in the cluster, else makes it: as it was agreed to, or,
// in another process than that, anew with the same snapshot.
func (s manyStep) planOf(ctx context.Context, engine *operation.Engine, child Child) (plan operation.Plan, known bool, err error) {
	plan, _, err = s.Plans.Read(child.Plan)
	if err == nil {
		return plan, true, nil
	}
	if !errors.Is(err, recovery.ErrNotFound) {
		return plan, false, err
	}
	if s.resume.Takeover && engine.Mirror != nil {
		plan, _, err = engine.Mirror.Load(ctx, child.Plan)
		if !errors.Is(err, recovery.ErrNotFound) {
			return plan, err == nil, err
		}
	}
	prepared := s.prepared[child.Plan]
	if prepared == nil {
		if prepared, err = s.Prepare(ctx, child.Options); err != nil {
			return plan, false, err
		}
		prepared.rename(child.Plan)
	}
	plan, err = s.Plan(prepared)
	return plan, false, err
}

// Undo takes back what the claims' plans did, each up to its point of no return.
func (s manyStep) Undo(ctx context.Context, run *operation.Run) error {
	p, err := ManyParamsOf(run.Plan)
	if err != nil {
		return err
	}
	var all []string
	for _, child := range p.Children {
		if err := s.abort(ctx, child); err != nil {
			all = append(all, child.Target()+": "+err.Error())
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &recovery.Problem{What: fmt.Sprintf("%d of %d claims could not be taken back", len(all), len(p.Children)), Why: strings.Join(all, "; "), Next: "resume each of them: drctl plans", Err: operation.ErrConflict}
}

func (s manyStep) abort(ctx context.Context, child Child) error {
	ended, err := s.ended(child)
	if err != nil || ended {
		return err
	}
	if _, _, err := s.Plans.Read(child.Plan); errors.Is(err, recovery.ErrNotFound) && !s.resume.Takeover {
		return nil
	}
	engine, err := s.Engine(child.Options.Namespace)
	if err != nil {
		return err
	}
	engine.Events, engine.Handlers = s.Events, s.Restore.Handlers()
	err = engine.Abort(ctx, child.Plan, s.resume)
	if errors.Is(err, operation.ErrFinished) || errors.Is(err, recovery.ErrNotFound) {
		return nil
	}
	return err
}
