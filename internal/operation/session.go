package operation

import (
	"context"
	"errors"
	"fmt"

	"github.com/drctl/drctl/internal/recovery"
)

// session is one process's work on one plan.
type session struct {
	*Engine
	log *Journal
	// ctx ends with the caller's, and with ErrLockLost.
	ctx    context.Context
	cancel context.CancelCauseFunc
	held   Held
	// behind: the mirror has not everything that the journal has. mirrored: the mirror may have something.
	// kept: it certainly had.
	behind, mirrored, kept bool
}

func (e *Engine) begin(ctx context.Context, log *Journal) *session {
	s := &session{Engine: e, log: log, behind: true}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// acquire takes the lock, and watches it from then on.
func (s *session) acquire(takeover bool) error {
	if s.Lock == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, setupTimeout)
	defer cancel()
	err := s.retry(ctx, func(ctx context.Context) error {
		held, err := s.Lock.Acquire(ctx, s.log.Plan, takeover)
		s.held = held
		return err
	})
	if err != nil {
		s.held = nil
		return s.stopped(err)
	}
	go func(ctx context.Context, lost <-chan struct{}) {
		select {
		case <-ctx.Done():
		case <-lost:
			s.cancel(ErrLockLost)
		}
	}(s.ctx, s.held.Lost())
	return nil
}

// release gives the lock back, so that nobody has to wait for it to expire.
func (s *session) release() {
	if s.held == nil {
		return
	}
	held := s.held
	s.held = nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), partingTimeout)
	defer cancel()
	if err := s.retry(ctx, held.Release); err != nil {
		s.emit(0, Note, "the lock could not be released and expires by itself", err)
	}
}

// close ends the session: whoever goes on may have lock and plan.
func (s *session) close() {
	defer s.log.Close()
	if !s.lost() {
		s.release()
	}
	s.cancel(nil)
}

// lost holds when somebody else has the lock: then neither cluster nor journal are ours any more.
func (s *session) lost() bool {
	if s.held == nil {
		return false
	}
	select {
	case <-s.held.Lost():
		s.cancel(ErrLockLost)
	default:
	}
	return errors.Is(context.Cause(s.ctx), ErrLockLost)
}

// stopped is why the session ended, if it did, else err itself.
func (s *session) stopped(err error) error {
	switch {
	case errors.Is(context.Cause(s.ctx), ErrLockLost):
		return ErrLockLost
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	}
	return err
}

// acted holds once something may have been changed by this plan.
func (s *session) acted() bool {
	for _, step := range s.log.Plan.Steps {
		if s.log.steps[step.ID].started && !waitOnly(s.Handlers[step.Kind]) {
			return true
		}
	}
	return false
}

func waitOnly(h Handler) bool {
	waiter, ok := h.(Waiter)
	return ok && waiter.WaitOnly()
}

// note writes an entry that need not be in the mirror at once.
func (s *session) note(step Step, event EntryEvent, err error) error {
	if s.lost() {
		return ErrLockLost
	}
	entry := Entry{Time: s.now(), Step: step.ID, Event: event}
	if err != nil {
		entry.Error = err.Error()
	}
	s.behind = true
	return s.log.Append(entry)
}

// announce writes an entry before the effect that it announces: on the disk, and in the mirror.
func (s *session) announce(ctx context.Context, step Step, event EntryEvent) error {
	if err := s.note(step, event, nil); err != nil {
		return err
	}
	return s.save(ctx)
}

func (s *session) setFact(ctx context.Context, r *Run, key, value string) error {
	if known, found := s.log.facts[key]; !found || known != value {
		entry := Entry{Time: s.now(), Step: r.Step.ID, Event: EntryFact, Facts: map[string]string{key: value}}
		s.behind = true
		if err := s.log.Append(entry); err != nil {
			return err
		}
	}
	// Before the first effect nobody needs the mirror; the entry that announces it brings the facts along.
	if r.observing || !s.acted() {
		return nil
	}
	return s.save(ctx)
}

// save brings the mirror up to date. Whoever took the lock over owns it.
func (s *session) save(ctx context.Context) error {
	if s.lost() {
		return ErrLockLost
	}
	if s.Mirror == nil || !s.behind {
		return nil
	}
	s.mirrored = true
	err := s.retry(ctx, func(ctx context.Context) error { return s.Mirror.Save(ctx, s.log.Plan, s.log.Bytes()) })
	if err != nil {
		return fmt.Errorf("keep the plan's copy in the cluster: %w", err)
	}
	s.behind, s.kept = false, true
	return nil
}

// report brings the mirror up to date after an effect: it is not worth stopping for, as the next effect
// is not begun without it.
func (s *session) report() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), partingTimeout)
	defer cancel()
	if err := s.save(ctx); err != nil && !errors.Is(err, ErrLockLost) {
		s.emit(0, Note, "the plan's copy in the cluster is behind", err)
	}
}

// drop removes a plan that has changed nothing. Where its mirror stays, the plan stays, too. A mirror
// that could not even be written is not expected to be there.
func (s *session) drop() error {
	if err := s.unmirror(); err != nil && s.kept {
		return err
	}
	if err := s.log.remove(); err != nil {
		return fmt.Errorf("remove plan %s, which changed nothing: %w", s.log.Plan.ID, err)
	}
	return nil
}

// unmirror removes the mirror of a plan that is at its end.
func (s *session) unmirror() error {
	if s.lost() {
		return ErrLockLost
	}
	if s.Mirror == nil || !s.mirrored {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), partingTimeout)
	defer cancel()
	err := s.retry(ctx, func(ctx context.Context) error { return s.Mirror.Remove(ctx, s.log.Plan.ID) })
	if err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return fmt.Errorf("remove the plan's copy in the cluster: %w", err)
	}
	return nil
}

// emit tells the reporter. Index counts from 1; 0 belongs to no step.
func (s *session) emit(index int, kind EventKind, text string, err error) {
	if s.Events == nil {
		return
	}
	event := Event{Time: s.now(), Plan: s.log.Plan.ID, Index: index, Total: len(s.log.Plan.Steps), Kind: kind, Text: text, Err: err}
	if index > 0 {
		event.Step = s.log.Plan.Steps[index-1]
	}
	s.Events(event)
}
