package operation

import "errors"

// Kinds of stop that callers tell apart with errors.Is. They come joined with their cause, mostly in a
// recovery.Problem.
var (
	// ErrConflict: the world is not as the plan says; a person must decide.
	ErrConflict = errors.New("conflict with the plan")
	// ErrNotVerified: the step's time is over and its result is not proven.
	ErrNotVerified = errors.New("not verified in time")
	// ErrUnfinished: the plan may have had an effect and is not at its end (exit code 4).
	ErrUnfinished = errors.New("the plan is unfinished")
	// ErrFinished: there is nothing left to do in this plan, it is finished or aborted.
	ErrFinished = errors.New("the plan is at its end")
	// ErrBusy: another process or another operator works on the plan or on its target.
	ErrBusy = errors.New("somebody else is at it")
	// ErrLockLost: somebody else took the lock over while the plan ran.
	ErrLockLost = errors.New("the lock was lost")
	// ErrOtherCluster: the plan was made for another cluster.
	ErrOtherCluster = errors.New("the plan is for another cluster")
	// ErrPastReturn: the plan is past its point of no return and cannot be aborted.
	ErrPastReturn = errors.New("past the point of no return")
)
