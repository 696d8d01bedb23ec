package lab

import (
	"fmt"
	"slices"
	"time"
)

// ArgoEventKind says what the Argo CD stand-in did.
type ArgoEventKind string

// The kinds of events.
const (
	// ArgoStarted is an operation that began, ArgoRetried one more attempt of it.
	ArgoStarted ArgoEventKind = "started"
	ArgoRetried ArgoEventKind = "retried"
	// ArgoAttemptFailed is a failure that will be retried; ArgoSucceeded, ArgoFailed and
	// ArgoTerminated end an operation.
	ArgoAttemptFailed ArgoEventKind = "attempt failed"
	ArgoSucceeded     ArgoEventKind = "succeeded"
	ArgoFailed        ArgoEventKind = "failed"
	ArgoTerminated    ArgoEventKind = "terminated"
	// ArgoGaveUp is an automated sync that is left out because the same revision failed before.
	ArgoGaveUp ArgoEventKind = "gave up"
	// ArgoFailedRound is trouble of the stand-in itself, such as an API server that is gone.
	ArgoFailedRound ArgoEventKind = "failed round"
)

// ArgoEvent is one thing that the stand-in did to an Application.
type ArgoEvent struct {
	At          time.Time
	Application string
	Kind        ArgoEventKind
	// Revision is the commit that it was about; empty where there is none.
	Revision string
	Message  string
}

// String is one line for a test's log.
func (e ArgoEvent) String() string {
	return fmt.Sprintf("%s %s %s %.7s %s", e.At.Format(time.StampMilli), e.Application, e.Kind, e.Revision, e.Message)
}

// Events are all events so far, oldest first. What repeats without a change is given once.
func (a *ArgoCD) Events() []ArgoEvent {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.events)
}

// EventsOf are the events of one kind.
func (a *ArgoCD) EventsOf(kind ArgoEventKind) []ArgoEvent {
	return slices.DeleteFunc(a.Events(), func(e ArgoEvent) bool { return e.Kind != kind })
}

func (a *ArgoCD) note(event ArgoEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, last := range slices.Backward(a.events) {
		if last.Application != event.Application {
			continue
		}
		last.At = event.At
		if last == event {
			return
		}
		break
	}
	event.At = a.now().UTC()
	a.events = append(a.events, event)
	a.logf("argocd: %s", event)
}
