package operation

import (
	"context"
	"errors"
	"fmt"

	"github.com/drctl/drctl/internal/recovery"
)

// Abort takes back what the plan did, the newest step first. Past the point of no return it refuses
// with ErrPastReturn and names resume, unless the plan is given up: then all stays but what must not
// outlive it. An abort that was interrupted is aborted again.
func (e *Engine) Abort(ctx context.Context, id string, o ResumeOptions) error {
	s, err := e.reopen(ctx, id, "abort", o)
	if err != nil {
		return err
	}
	defer s.close()
	if s.log.aborting.IsZero() {
		err := s.mayReturn()
		if o.GiveUp && errors.Is(err, ErrPastReturn) {
			return s.giveUp()
		}
		if err != nil {
			return err
		}
		if err := s.announceAbort(); err != nil {
			return err
		}
	}
	for index := len(s.log.Plan.Steps); index > 0; index-- {
		if err := s.undo(index); err != nil {
			return s.stopUndo(index, err)
		}
	}
	return s.finish(EntryAborted)
}

func (s *session) announceAbort() error {
	ctx, cancel := context.WithTimeout(s.ctx, setupTimeout)
	defer cancel()
	if err := s.announce(ctx, Step{}, EntryAborting); err != nil {
		id := s.log.Plan.ID
		return problemAt("abort plan "+id, "", s.stopped(err), "drctl abort "+id)
	}
	return nil
}

// mayReturn refuses once a point of no return may have been passed.
func (s *session) mayReturn() error {
	plan := s.log.Plan
	for i, step := range plan.Steps {
		if !step.PointOfNoReturn || !s.log.steps[step.ID].started {
			continue
		}
		why := "its point of no return is behind it: " + step.Title
		handler, decidable := s.Handlers[step.Kind].(Undecided)
		if decidable && !s.log.steps[step.ID].done {
			happened, err := s.happened(i+1, handler)
			if err == nil && !happened {
				continue
			}
			if err != nil {
				why = "whether it is past its point of no return (" + step.Title + ") could not be told: " + err.Error()
			}
		}
		return &recovery.Problem{
			What: "abort plan " + plan.ID, Why: why, Next: "go on with it: drctl resume " + plan.ID, Err: errors.Join(ErrUnfinished, ErrPastReturn),
		}
	}
	return nil
}

func (s *session) happened(index int, handler Undecided) (happened bool, err error) {
	w := s.newWork(index)
	ctx, cancel := context.WithTimeout(s.ctx, min(w.run.Step.Timeout, setupTimeout))
	defer cancel()
	err = s.retry(ctx, func(ctx context.Context) error {
		var err error
		happened, err = handler.Happened(ctx, w.run)
		return err
	})
	return happened, err
}

// undo takes one step back if it may have acted. What was found done before is not ours to take back.
func (s *session) undo(index int) error {
	w := s.newWork(index)
	step := w.run.Step
	record := s.log.steps[step.ID]
	if !record.started || record.undone || waitOnly(w.handler) {
		return s.stopped(nil)
	}
	undoer, ok := w.handler.(Undoer)
	switch {
	case !ok && step.PointOfNoReturn:
		// It did not happen, or the abort would not have begun.
		return nil
	case !ok:
		s.emit(index, UndoSkipped, step.Title+" stays", nil)
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, step.Timeout)
	defer cancel()
	s.emit(index, UndoStarted, "", nil)
	if err := s.announce(ctx, step, EntryUndoStarted); err != nil {
		return w.overdue(ctx, err)
	}
	if err := s.retry(ctx, func(ctx context.Context) error { return undoer.Undo(ctx, w.run) }); err != nil {
		return w.overdue(ctx, err)
	}
	if err := s.note(step, EntryUndone, nil); err != nil {
		return err
	}
	s.report()
	s.emit(index, UndoDone, "", nil)
	return nil
}

// overdue tells a step whose time is over from one that failed.
func (w *work) overdue(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return w.timeUp(err)
	}
	return err
}

// stopUndo ends an abort that does not reach its end.
func (s *session) stopUndo(index int, cause error) error {
	cause = s.stopped(cause)
	plan := s.log.Plan
	step := plan.Steps[index-1]
	s.emit(index, UndoFailed, "", cause)
	if !errors.Is(cause, ErrLockLost) {
		if err := s.note(step, EntryFailed, cause); err != nil {
			cause = errors.Join(cause, err)
		}
		s.report()
	}
	return problemAt(fmt.Sprintf("take back step %d of %d, %s", index, len(plan.Steps), step.Title), step.Title, cause, "drctl abort "+plan.ID)
}

// renew keeps up what does not last by itself, before the plan goes on.
func (s *session) renew() error {
	for i, step := range s.log.Plan.Steps {
		renewer, ok := s.Handlers[step.Kind].(Renewer)
		if !ok || !s.log.steps[step.ID].done {
			continue
		}
		w := s.newWork(i + 1)
		ctx, cancel := context.WithTimeout(s.ctx, step.Timeout)
		err := s.retry(ctx, func(ctx context.Context) error { return renewer.Renew(ctx, w.run) })
		if err != nil {
			err = w.overdue(ctx, err)
		}
		cancel()
		if err != nil {
			return s.stop(i+1, err)
		}
		s.emit(i+1, StepRenewed, "", nil)
	}
	return nil
}
