package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	defaultPoll  = 500 * time.Millisecond
	defaultFirst = 250 * time.Millisecond
	defaultMost  = 5 * time.Second
	// setupTimeout bounds what precedes and follows the steps: lock and mirror.
	setupTimeout = time.Minute
	// partingTimeout bounds what is still tried after Ctrl-C.
	partingTimeout = 10 * time.Second
)

// Engine runs plans. Store and Handlers are needed, the rest has defaults.
type Engine struct {
	Store *Store
	// Handlers by the kind of step.
	Handlers map[string]Handler
	// Events may be nil.
	Events func(Event)
	// Now is time.Now when nil.
	Now func() time.Time
	// Mirror and Lock are nil where there is no cluster to keep them in.
	Mirror Mirror
	Lock   Lock
	// Poll is the pause between two looks at a step that acted; 0 means 500 ms.
	Poll time.Duration
	// Retry is the pause after a failure that Retryable knows; 250 ms doubling to 5 s by default.
	Retry Backoff
	// Retryable knows the failures that pass by themselves; nil knows none.
	Retryable func(error) bool
}

// ResumeOptions say who resumes or aborts, and where.
type ResumeOptions struct {
	// Takeover takes a plan that is known from its mirror only, or that somebody else went on with, and
	// the lock of somebody who still holds it.
	Takeover bool
	// GiveUp lets abort end a plan that is past its point of no return, and leave all as it stands.
	GiveUp bool
	// ClusterUID is the UID of namespace kube-system of the cluster at hand, Context its name for people.
	ClusterUID string
	Context    string
}

// Start writes the plan and runs it. A run that stops before anything was changed leaves no plan behind
// and gives the cause; any later stop is ErrUnfinished, joined with its cause.
func (e *Engine) Start(ctx context.Context, plan Plan) error {
	if err := e.knows(plan); err != nil {
		return err
	}
	log, err := e.Store.Create(plan)
	if err != nil {
		return err
	}
	s := e.begin(ctx, log)
	defer s.close()
	if err := s.acquire(false); err != nil {
		if dropped := s.drop(); dropped != nil {
			return errors.Join(err, dropped)
		}
		return err
	}
	return s.run()
}

// Resume goes on with a plan where it stopped: ErrFinished when there is nothing to do, ErrOtherCluster
// when this is not its cluster, ErrBusy when somebody else is at it.
func (e *Engine) Resume(ctx context.Context, id string, o ResumeOptions) error {
	s, err := e.reopen(ctx, id, "resume", o)
	if err != nil {
		return err
	}
	defer s.close()
	if !s.log.aborting.IsZero() {
		return &recovery.Problem{
			What: "resume plan " + id, Why: "it is being aborted since " + s.log.aborting.Format(time.RFC3339),
			Next: "finish that: drctl abort " + id, Err: ErrUnfinished,
		}
	}
	if err := s.renew(); err != nil {
		return err
	}
	return s.run()
}

// reopen opens a plan to go on with it in the given direction (resume or abort).
func (e *Engine) reopen(ctx context.Context, id, verb string, o ResumeOptions) (*session, error) {
	log, err := e.Store.Open(id)
	if errors.Is(err, recovery.ErrNotFound) && e.Mirror != nil {
		log, err = e.adopt(ctx, id, verb, o)
	}
	if err != nil {
		return nil, err
	}
	s := e.begin(ctx, log)
	if err := s.admit(verb, o); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// admit checks that the plan may be gone on with here, by us, from this journal.
func (s *session) admit(verb string, o ResumeOptions) error {
	plan := s.log.Plan
	if s.log.ended() {
		return ended(verb, plan, s.log.record)
	}
	if err := sameCluster(verb, plan, o); err != nil {
		return err
	}
	if err := s.knows(plan); err != nil {
		return err
	}
	if err := s.acquire(o.Takeover); err != nil {
		return err
	}
	return s.reconcile(verb, o)
}

func ended(verb string, plan Plan, r *record) error {
	why := "it was finished at " + r.finished.Format(time.RFC3339)
	if r.finished.IsZero() {
		why = "it was aborted at " + r.aborted.Format(time.RFC3339)
	}
	return &recovery.Problem{What: verb + " plan " + plan.ID, Why: why, Next: "nothing is left to do", Err: ErrFinished}
}

// sameCluster refuses a plan that was made for another cluster, or whose cluster cannot be told.
func sameCluster(verb string, plan Plan, o ResumeOptions) error {
	if plan.ClusterUID == o.ClusterUID || plan.ClusterUID == "" {
		return nil
	}
	why := fmt.Sprintf("it was made for context %q (%s, cluster %s), and this is context %q (cluster %s)",
		plan.Context, plan.Server, plan.ClusterUID, o.Context, o.ClusterUID)
	if o.ClusterUID == "" {
		why = fmt.Sprintf("it was made for context %q (%s), and the identity of this cluster, context %q, is not known", plan.Context, plan.Server, o.Context)
	}
	return &recovery.Problem{What: verb + " plan " + plan.ID, Why: why, Next: "drctl " + verb + " " + plan.ID + " --context " + plan.Context, Err: ErrOtherCluster}
}

// knows checks that there is a handler for every step, before the first of them is run.
func (e *Engine) knows(plan Plan) error {
	for _, step := range plan.Steps {
		if e.Handlers[step.Kind] == nil {
			return &recovery.Problem{
				What: "run plan " + plan.ID, Why: "this drctl knows no step " + step.Kind, Next: "use the drctl that made the plan, or a newer one",
				Err: recovery.ErrUnsupported,
			}
		}
	}
	return nil
}

func (e *Engine) now() time.Time {
	if e.Now == nil {
		return time.Now().UTC()
	}
	return e.Now().UTC()
}

func (e *Engine) poll() time.Duration {
	if e.Poll == 0 {
		return defaultPoll
	}
	return e.Poll
}
