package operation

import (
	"errors"
	"fmt"

	"github.com/drctl/drctl/internal/recovery"
)

// stop ends a run that does not reach its end. While nothing was changed the plan is taken away again
// and the cause comes back as it is.
func (s *session) stop(index int, cause error) error {
	cause = s.stopped(cause)
	s.emit(index, StepFailed, "", cause)
	if errors.Is(cause, ErrLockLost) {
		return s.unfinished(index, cause)
	}
	if !s.acted() {
		if err := s.drop(); err != nil {
			return s.unfinished(index, errors.Join(cause, err))
		}
		return cause
	}
	if err := s.note(s.log.Plan.Steps[index-1], EntryFailed, cause); err != nil {
		cause = errors.Join(cause, err)
	}
	s.report()
	return s.unfinished(index, cause)
}

// unfinished says where it stopped, why, and both ways on.
func (s *session) unfinished(index int, cause error) error {
	plan := s.log.Plan
	step := plan.Steps[index-1]
	next := "drctl resume " + plan.ID
	if errors.Is(cause, ErrLockLost) {
		next = "see who took it: drctl plans; to take it back: " + next + " --takeover"
	} else if past, ok := s.log.pastReturn(plan); !ok {
		next += ", or drctl abort " + plan.ID
	} else if _, can := s.Handlers[past.Kind].(Undecided); can && !s.log.steps[past.ID].done {
		next += ", or drctl abort " + plan.ID + " in case it did not happen"
	}
	return problemAt(fmt.Sprintf("step %d of %d, %s", index, len(plan.Steps), step.Title), step.Title, cause, next)
}

// problemAt wraps the problem of a step: its own advice comes first, then the way on.
func problemAt(what, title string, cause error, next string) error {
	why := cause.Error()
	var inner *recovery.Problem
	if errors.As(cause, &inner) {
		plain := *inner
		plain.Next = ""
		why = plain.Error()
		if reason := inner.Cause(); reason != "" && inner.What == title {
			why = reason
		}
		if inner.Next != "" {
			next = inner.Next + "; then " + next
		}
	}
	return &recovery.Problem{What: what, Why: why, Next: next, Err: errors.Join(ErrUnfinished, cause)}
}
