package operation

import (
	"context"
	"time"
)

// State is what Observe finds.
type State int

const (
	// Pending: not there yet. Before Apply that means: Apply is needed.
	Pending State = iota
	// Done: what the step wants holds, and that is proven.
	Done
	// Conflict: the world is such that the step must not act, or cannot ever succeed.
	Conflict
)

// Observation is the answer of Observe.
type Observation struct {
	State State
	// Why is the reason of a Conflict, or the progress of a Pending step in a few words: "waiting for
	// Pod immich-database-1".
	Why string
}

// Handler does one kind of step. It keeps nothing between calls: a step that began in one process ends
// in another, so all that it knows is the plan, its facts and what it observes.
type Handler interface {
	// Observe only reads. It is asked before Apply and after it until it says Done.
	Observe(ctx context.Context, run *Run) (Observation, error)
	// Apply acts. It may be called again after a crash or a failure that Engine.Retryable knows, each
	// time after an Observe that said Pending. It sets its facts before or after its effect, and must
	// find its own work again without them.
	Apply(ctx context.Context, run *Run) error
}

// Undoer is a Handler whose effect can be taken back. A step that acted and has no Undo stays.
type Undoer interface {
	// Undo is idempotent and checks its own precondition: the effect may have happened, or not, and
	// somebody may have changed the thing since.
	Undo(ctx context.Context, run *Run) error
}

// Renewer is a Handler whose effect does not last by itself, as a fence that expires. On resume it is
// asked for each of its steps that is done, before the plan goes on.
type Renewer interface {
	// Renew asks run.Started about the step that ends its effect on purpose: the fence that the plan
	// has let down itself must stay down.
	Renew(ctx context.Context, run *Run) error
}

// Waiter is a Handler of steps that change nothing: a wait, a proof. They never make a plan unfinished.
type Waiter interface {
	WaitOnly() bool
}

// Prover is a Handler whose step is there to see something, and acts only when it cannot: found done it is
// proven, and not left out.
type Prover interface {
	Proves() bool
}

// Undecided is a Handler of a point of no return that can tell whether it happened. Without it a step
// that was started counts as happened.
type Undecided interface {
	// Happened is false only when the effect certainly did not happen and cannot happen any more.
	Happened(ctx context.Context, run *Run) (bool, error)
}

// Mirror keeps a copy of plan and journal where another computer finds it. Errors that pass by
// themselves are told by Engine.Retryable; a plan that is not there is recovery.ErrNotFound.
type Mirror interface {
	// Save writes the whole of it, a few kilobytes, anew each time.
	Save(ctx context.Context, plan Plan, journal []byte) error
	Load(ctx context.Context, id string) (Plan, []byte, error)
	List(ctx context.Context) ([]Plan, error)
	// Remove is no error when it is gone already.
	Remove(ctx context.Context, id string) error
}

// Lock keeps two operators apart.
type Lock interface {
	// Acquire answers ErrBusy when somebody else holds it. The engine holds the plan's file lock before
	// it asks, so that a holder with the same plan, user and host is a process that died: its lock may
	// be taken at once. With takeover a live one is taken, too.
	Acquire(ctx context.Context, plan Plan, takeover bool) (Held, error)
}

// Held is a Lock that was acquired.
type Held interface {
	Release(ctx context.Context) error
	// Lost is closed, or gets a value, when somebody else holds the lock now or that cannot be ruled out.
	Lost() <-chan struct{}
}

// Backoff is the pause between tries: First, doubled until Most, each cut by up to a half at random.
type Backoff struct {
	First, Most time.Duration
}
