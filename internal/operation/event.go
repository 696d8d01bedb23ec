package operation

import "time"

// EventKind says what an Event reports.
type EventKind string

// What happens to a step, in the order in which it may happen.
const (
	StepStarted EventKind = "started"
	// StepProgress: Text is what the step waits for now. It comes only when that changes.
	StepProgress EventKind = "progress"
	// StepRetry: Err was a passing failure, the step tries again.
	StepRetry EventKind = "retry"
	StepDone  EventKind = "done"
	// StepSkipped: it was found done, nothing was changed.
	StepSkipped EventKind = "skipped"
	StepFailed  EventKind = "failed"
	// StepRenewed: a step that was done before is kept up on resume (a fence's expiry).
	StepRenewed EventKind = "renewed"
	// Note: Text is for people and belongs to no change of state.
	Note        EventKind = "note"
	UndoStarted EventKind = "undoStarted"
	UndoDone    EventKind = "undone"
	// UndoSkipped: the step acted and has no way back; Text says that it stays.
	UndoSkipped EventKind = "undoSkipped"
	UndoFailed  EventKind = "undoFailed"
)

// Event is something that happened in a run, for a reporter.
type Event struct {
	Time time.Time
	// Plan is the plan's ID.
	Plan string
	Step Step
	// Index counts from 1 to Total. It is 0 for what belongs to no step.
	Index, Total int
	Kind         EventKind
	Text         string
	Err          error
}
