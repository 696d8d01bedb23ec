package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// run runs the steps that are not done yet, and ends the plan.
func (s *session) run() error {
	for i, step := range s.log.Plan.Steps {
		if s.log.steps[step.ID].done {
			continue
		}
		if err := s.step(i + 1); err != nil {
			return s.stop(i+1, err)
		}
	}
	return s.finish(EntryFinished)
}

// finish ends the plan. Its own entry comes last, so that whatever is left over is found again by a
// resume or an abort.
func (s *session) finish(event EntryEvent) error {
	err := s.unmirror()
	if err == nil {
		s.release()
		err = s.log.Append(Entry{Time: s.now(), Event: event})
	}
	if err == nil {
		return nil
	}
	verb := "resume"
	if event == EntryAborted {
		verb = "abort"
	}
	return &recovery.Problem{
		What: "end plan " + s.log.Plan.ID, Why: "all its steps are done, but: " + s.stopped(err).Error(),
		Next: "drctl " + verb + " " + s.log.Plan.ID, Err: errors.Join(ErrUnfinished, s.stopped(err)),
	}
}

// work is one step while it runs.
type work struct {
	*session
	index   int
	run     *Run
	handler Handler
	// announced: the journal has it. applied: Apply succeeded. looked: it was looked at since.
	announced, applied, looked bool
	// why and err are what stood in the way last.
	why string
	err error
}

func (s *session) newWork(index int) *work {
	plan := &s.log.Plan
	step := plan.Steps[index-1]
	return &work{session: s, index: index, handler: s.Handlers[step.Kind], run: &Run{Plan: plan, Step: step, session: s, index: index}}
}

// step runs one step until it is proven.
func (s *session) step(index int) error {
	w := s.newWork(index)
	step := w.run.Step
	ctx, cancel := context.WithTimeout(s.ctx, step.Timeout)
	defer cancel()
	s.emit(index, StepStarted, "", nil)
	pauses := s.pauses()
	for {
		done, err := w.turn(ctx)
		switch {
		case done:
			return w.done()
		case err == nil && sleep(ctx, w.pause()):
			continue
		case ctx.Err() != nil:
			return w.timeUp(err)
		case !s.retryable(err):
			return err
		}
		w.err = err
		s.emit(index, StepRetry, "", err)
		if !pauses.wait(ctx) {
			return w.timeUp(err)
		}
	}
}

// turn looks at the step and, where it is needed and was not done yet, acts.
func (w *work) turn(ctx context.Context) (done bool, err error) {
	if w.lost() {
		return false, ErrLockLost
	}
	w.run.observing = true
	seen, err := w.handler.Observe(ctx, w.run)
	w.run.observing = false
	if err != nil {
		return false, err
	}
	switch seen.State {
	case Done:
		return true, nil
	case Conflict:
		return false, &recovery.Problem{What: w.run.Step.Title, Why: seen.Why, Err: ErrConflict}
	}
	if seen.Why != "" && seen.Why != w.why {
		w.why = seen.Why
		w.emit(w.index, StepProgress, seen.Why, nil)
	}
	if w.applied {
		w.looked = true
		return false, nil
	}
	if err := w.act(ctx); err != nil {
		return false, err
	}
	w.applied = true
	return false, nil
}

func proves(h Handler) bool {
	prover, ok := h.(Prover)
	return ok && prover.Proves()
}

// pause is the time until the next look: none right after the step acted.
func (w *work) pause() time.Duration {
	if w.looked {
		return w.poll()
	}
	return 0
}

// act journals and applies, in this order: after a crash in between the journal says that the effect
// may have happened, and never that it did not.
func (w *work) act(ctx context.Context) error {
	if safeguard.WriteAhead {
		if err := w.start(ctx); err != nil {
			return err
		}
	}
	err := w.handler.Apply(ctx, w.run)
	if !safeguard.WriteAhead {
		err = errors.Join(err, w.start(ctx))
	}
	return err
}

func (w *work) start(ctx context.Context) error {
	if w.announced {
		return w.save(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// A mirror that cannot be kept at all shows itself here, while the plan can still be dropped.
	if !waitOnly(w.handler) && !w.acted() {
		if err := w.save(ctx); err != nil {
			return err
		}
	}
	if err := w.note(w.run.Step, EntryStarted, nil); err != nil {
		return err
	}
	w.announced = true
	if waitOnly(w.handler) {
		return nil
	}
	return w.save(ctx)
}

// done journals that the step is proven.
func (w *work) done() error {
	started := w.log.steps[w.run.Step.ID].started
	if err := w.note(w.run.Step, EntryDone, nil); err != nil {
		return err
	}
	// The mirror gets it with what is announced next: until then whoever takes over looks once more.
	kind := StepDone
	if !started && !waitOnly(w.handler) && !proves(w.handler) {
		kind = StepSkipped
	}
	w.emit(w.index, kind, "", nil)
	return nil
}

// timeUp is the error of a step whose time is over, or whose session ended.
func (w *work) timeUp(err error) error {
	if w.ctx.Err() != nil {
		return w.stopped(err)
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		err = w.err
	}
	why := fmt.Sprintf("not proven within %s", w.run.Step.Timeout)
	if w.why != "" {
		why += ", the last thing seen: " + w.why
	}
	if err != nil {
		why += ", the last error: " + err.Error()
	}
	return &recovery.Problem{What: w.run.Step.Title, Why: why, Err: errors.Join(ErrNotVerified, err)}
}
