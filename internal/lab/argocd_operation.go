package lab

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// operate takes the operation that an Application asks for one step further, and tells when it ended.
// Source: controller/appcontroller.go, processRequestedAppOperation and setOperationState.
func (a *ArgoCD) operate(ctx context.Context, app *argoApplication) (finished bool, err error) {
	name := app.Metadata.Name
	waiting := app.Status.OperationState.waiting()
	state, due, err := a.beginAttempt(app)
	if err != nil || !due {
		return false, err
	}
	terminating := state.Phase == argoPhaseTerminating
	if terminating {
		// Source: gitops-engine pkg/sync, Terminate.
		state.Phase, state.Message = argoPhaseFailed, "Operation terminated"
	} else {
		if !waiting {
			if err := a.setOperationState(ctx, name, state); err != nil {
				return false, err
			}
		}
		a.syncTo(ctx, app, state)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if state.Phase == argoPhaseRunning {
		return false, a.setOperationState(ctx, name, state)
	}
	a.endAttempt(name, state, terminating)
	return state.completed(), a.setOperationState(ctx, name, state)
}

// waiting: an attempt is between two waves.
func (s *argoOperationState) waiting() bool {
	return s != nil && s.Phase == argoPhaseRunning && s.FinishedAt == nil && s.SyncResult != nil
}

// beginAttempt gives the state of a new operation, of one that is under way, or of its next attempt;
// due is false as long as a retry has to wait. An operation under way keeps what it was started with:
// neither a newer commit nor another request changes it.
func (a *ArgoCD) beginAttempt(app *argoApplication) (state *argoOperationState, due bool, err error) {
	name := app.Metadata.Name
	state = app.Status.OperationState
	if state == nil || state.completed() {
		state = &argoOperationState{Phase: argoPhaseRunning, Operation: *app.Operation, StartedAt: a.timestamp()}
		a.note(ArgoEvent{Application: name, Kind: ArgoStarted, Revision: state.revision(), Message: initiatorOf(state.Operation)})
		return state, true, nil
	}
	if state.Phase != argoPhaseRunning || state.FinishedAt == nil {
		return state, true, nil
	}
	pause, err := state.Operation.Retry.pause(state.RetryCount)
	if err != nil {
		return nil, false, fmt.Errorf("lab: retry strategy of Application %s: %w", name, err)
	}
	if a.now().Before(state.FinishedAt.Add(pause)) {
		return state, false, nil
	}
	state.Message = fmt.Sprintf("Retrying operation. Attempt #%d", state.RetryCount)
	if state.Operation.Retry.Refresh {
		state.Operation.Sync.Revision = ""
	}
	state.FinishedAt, state.SyncResult = nil, nil
	a.note(ArgoEvent{Application: name, Kind: ArgoRetried, Revision: state.revision(), Message: state.Message})
	return state, true, nil
}

// endAttempt decides whether a failed attempt was the last one.
func (a *ArgoCD) endAttempt(name string, state *argoOperationState, terminating bool) {
	kind := ArgoFailed
	switch {
	case terminating:
		kind = ArgoTerminated
	case state.Phase == argoPhaseSucceeded:
		kind = ArgoSucceeded
	case state.RetryCount < state.Operation.Retry.Limit || state.Operation.Retry.Limit < 0:
		pause, err := state.Operation.Retry.pause(state.RetryCount)
		if err != nil {
			state.Message = fmt.Sprintf("%s (failed to retry: %v)", state.Message, err)
			break
		}
		kind = ArgoAttemptFailed
		now := a.timestamp()
		state.Phase, state.FinishedAt = argoPhaseRunning, &now
		state.RetryCount++
		state.Message = fmt.Sprintf("%s. Retrying attempt #%d at %s.", state.Message, state.RetryCount, now.Add(pause).Format(time.Kitchen))
	case state.RetryCount > 0:
		state.Message = fmt.Sprintf("%s (retried %d times).", state.Message, state.RetryCount)
	}
	a.note(ArgoEvent{Application: name, Kind: kind, Revision: state.revision(), Message: state.Message})
}

// setOperationState writes the state; the end of an operation clears the request for it.
func (a *ArgoCD) setOperationState(ctx context.Context, name string, state *argoOperationState) error {
	if state.completed() {
		now := a.timestamp()
		state.FinishedAt = &now
		a.finished[name] = a.now()
	}
	err := a.update(ctx, name, func(app *argoApplication) bool {
		// It may have been terminated while we were operating on it; a running operation must not
		// clobber that. (Of a completed one it does.)
		if fresh := app.Status.OperationState; !state.completed() && fresh != nil && fresh.Phase == argoPhaseTerminating {
			state.Phase, state.Message = argoPhaseTerminating, "operation is terminating"
		}
		app.Status.OperationState = state
		if state.completed() {
			app.Operation = nil
		}
		return true
	})
	return err
}

// timestamp is now as an Application can hold it, in whole seconds.
func (a *ArgoCD) timestamp() metav1.Time { return metav1.NewTime(a.now().UTC().Truncate(time.Second)) }

// revision is the commit that the operation syncs, as far as it is known.
func (s *argoOperationState) revision() string {
	if s.SyncResult != nil && s.SyncResult.Revision != "" {
		return s.SyncResult.Revision
	}
	if s.Operation.Sync != nil {
		return s.Operation.Sync.Revision
	}
	return ""
}

func initiatorOf(operation argoOperation) string {
	if operation.InitiatedBy.Automated {
		return "automated"
	}
	return "asked for by " + operation.InitiatedBy.Username
}
