package operation

import "context"

// Leaver is a Handler whose effect must not outlive its plan, even where it is past return: a fence that
// nobody would take down. Leave is idempotent; what else the plan did stays.
type Leaver interface {
	Leave(ctx context.Context, run *Run) error
}

// giveUp ends a plan that cannot be taken back where it stands. It may be interrupted and done again.
func (s *session) giveUp() error {
	for index := len(s.log.Plan.Steps); index > 0; index-- {
		w := s.newWork(index)
		leaver, ok := w.handler.(Leaver)
		if !ok || !s.log.steps[w.run.Step.ID].started {
			continue
		}
		ctx, cancel := context.WithTimeout(s.ctx, w.run.Step.Timeout)
		s.emit(index, UndoStarted, "", nil)
		err := s.retry(ctx, func(ctx context.Context) error { return leaver.Leave(ctx, w.run) })
		if err != nil {
			err = w.overdue(ctx, err)
		}
		cancel()
		if err != nil {
			return s.stopUndo(index, err)
		}
		s.emit(index, UndoDone, "", nil)
	}
	return s.finish(EntryAborted)
}
