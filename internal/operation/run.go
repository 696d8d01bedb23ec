package operation

import (
	"context"
	"fmt"
)

// Run is what a Handler is given: the plan, the step, and the facts that were learned so far. One that
// is made by hand, in a handler's test, keeps its facts in memory and reports nowhere. It is not safe
// for concurrent use.
type Run struct {
	Plan *Plan
	Step Step

	session *session
	facts   map[string]string
	index   int
	// observing while Observe runs: what it learns whoever takes over can learn once more.
	observing bool
}

// Fact is what a step of this plan learned: a commit, a UID.
func (r *Run) Fact(key string) (string, bool) {
	if r.session != nil {
		value, found := r.session.log.facts[key]
		return value, found
	}
	value, found := r.facts[key]
	return value, found
}

// SetFact keeps a fact for this step and later ones; the newest value counts. It is in the journal before
// SetFact returns, and, once the plan has acted, in its mirror, too, unless Observe sets it: that reaches
// the mirror with what is announced next, and until then whoever takes over looks once more. A fact is
// never a secret. What is set to the value that it has is not written again.
func (r *Run) SetFact(ctx context.Context, key, value string) error {
	if r.session != nil {
		return r.session.setFact(ctx, r, key, value)
	}
	if r.facts == nil {
		r.facts = map[string]string{}
	}
	r.facts[key] = value
	return nil
}

// Started says whether the step of this ID may have acted.
func (r *Run) Started(stepID string) bool {
	return r.session != nil && r.session.log.steps[stepID].started
}

// Done says whether the step of this ID is proven.
func (r *Run) Done(stepID string) bool {
	return r.session != nil && r.session.log.steps[stepID].done
}

// Report tells people something about this step.
func (r *Run) Report(format string, args ...any) {
	if r.session != nil {
		r.session.emit(r.index, Note, fmt.Sprintf(format, args...), nil)
	}
}
