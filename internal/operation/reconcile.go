package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/drctl/drctl/internal/recovery"
)

// load reads the mirror of a plan.
func (e *Engine) load(ctx context.Context, id string) (Plan, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	var plan Plan
	var raw []byte
	err := e.retry(ctx, func(ctx context.Context) error {
		var err error
		plan, raw, err = e.Mirror.Load(ctx, id)
		return err
	})
	return plan, raw, err
}

// adopt writes a plan that only the mirror knows.
func (e *Engine) adopt(ctx context.Context, id, verb string, o ResumeOptions) (*Journal, error) {
	if !validID(id) {
		return nil, notFound(id)
	}
	plan, raw, err := e.load(ctx, id)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil, &recovery.Problem{
			What: verb + " plan " + id, Why: "neither this computer nor the cluster has such a plan", Next: "list them: drctl plans", Err: recovery.ErrNotFound,
		}
	}
	if err != nil {
		return nil, &recovery.Problem{What: "read plan " + id + " from the cluster", Next: "drctl doctor", Err: err}
	}
	if err := sameCluster(verb, plan, o); err != nil {
		return nil, err
	}
	if !o.Takeover {
		return nil, &recovery.Problem{
			What: verb + " plan " + id, Why: "it was begun by " + plan.CreatedBy + " on another computer",
			Next: "make sure that nobody is at it, then: drctl " + verb + " " + id + " --takeover", Err: ErrUnfinished,
		}
	}
	return e.Store.Adopt(plan, raw)
}

// reconcile compares the journal with its mirror. Whoever is ahead knows more: nothing is done that is
// not in the mirror before.
func (s *session) reconcile(verb string, o ResumeOptions) error {
	if s.Mirror == nil {
		return nil
	}
	id := s.log.Plan.ID
	plan, theirs, err := s.load(s.ctx, id)
	if errors.Is(err, recovery.ErrNotFound) {
		return s.withoutMirror(verb, o)
	}
	if err != nil {
		return &recovery.Problem{What: "read plan " + id + " from the cluster", Next: "drctl doctor", Err: s.stopped(err)}
	}
	s.mirrored, s.kept = true, true
	mine := s.log.Bytes()
	switch {
	case !same(plan, s.log.Plan):
		return s.diverged(verb)
	case bytes.Equal(mine, theirs):
		s.behind = false
		return nil
	case bytes.HasPrefix(mine, theirs):
		return nil
	case !bytes.HasPrefix(theirs, withoutFailures(mine)):
		return s.diverged(verb)
	case !o.Takeover:
		return &recovery.Problem{
			What: verb + " plan " + id, Why: "somebody went on with it on another computer",
			Next: "make sure that nobody is at it, then: drctl " + verb + " " + id + " --takeover", Err: ErrUnfinished,
		}
	}
	if err := s.log.replace(theirs); err != nil {
		return s.Store.problem("take over", id, err)
	}
	s.behind = false
	if s.log.ended() {
		return ended(verb, s.log.Plan, s.log.record)
	}
	return nil
}

// withoutMirror goes on with a plan whose mirror is not there. That is as it should be before the first
// effect and at the very end; else somebody finished the plan elsewhere, or removed its copy.
func (s *session) withoutMirror(verb string, o ResumeOptions) error {
	if !s.acted() || s.log.proven(s.log.Plan) || !s.log.aborting.IsZero() || o.Takeover {
		return nil
	}
	id := s.log.Plan.ID
	return &recovery.Problem{
		What: verb + " plan " + id, Why: "its copy in the cluster is gone: it was finished or aborted on another computer, or the copy was removed",
		Next: "if it was finished, remove " + s.Store.Dir(id) + "; else drctl " + verb + " " + id + " --takeover", Err: errors.Join(ErrUnfinished, ErrConflict),
	}
}

func (s *session) diverged(verb string) error {
	id := s.log.Plan.ID
	return &recovery.Problem{
		What: verb + " plan " + id, Why: "its journal on this computer and the one in the cluster tell different stories",
		Next: "go on from the cluster's: move " + s.Store.Dir(id) + " away, then drctl " + verb + " " + id + " --takeover",
		Err:  errors.Join(ErrUnfinished, ErrConflict),
	}
}

// same compares two plans as they are stored.
func same(a, b Plan) bool {
	first, err := json.Marshal(a)
	if err != nil {
		return false
	}
	second, err := json.Marshal(b)
	return err == nil && bytes.Equal(first, second)
}
