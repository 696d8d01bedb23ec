package argocd

import (
	"context"
	"fmt"
	"strings"
)

// Observe reads whether the Application has arrived at a commit: compared with it and Synced, its last
// operation a success at that commit and none running, and Healthy. When it has not, why says what is
// missing. The Application is returned as it was read.
func Observe(ctx context.Context, api API, namespace, name, revision string) (app *Application, done bool, why string, err error) {
	app, err = Read(ctx, api, namespace, name)
	if err != nil {
		return nil, false, "", err
	}
	why = app.missing(revision)
	return app, why == "", why, nil
}

// missing says what the Application lacks to be at the revision, the first cause first; empty when it is
// there.
func (a *Application) missing(revision string) string {
	operation := a.Operation
	switch {
	case operation != nil && operation.Running:
		return strings.TrimSuffix("an operation runs: "+operation.String()+": "+operation.Message, ": ")
	case GaveUp(a):
		return fmt.Sprintf("Argo CD gave up: %s", strings.Join(append([]string{operation.String() + ": " + operation.Message}, a.Conditions...), "; "))
	case operation == nil:
		return "no operation has run yet"
	case operation.Revision != revision:
		return fmt.Sprintf("the last operation was at %s, not at %s", operation.Revision, revision)
	case operation.Phase != phaseSucceeded:
		return fmt.Sprintf("the sync ended as %s: %s", operation.Phase, operation.Message)
	case a.SyncRevision != revision:
		return fmt.Sprintf("Argo CD compares with %s, not with %s", orNone(a.SyncRevision), revision)
	case a.SyncStatus != "Synced":
		return "its sync status is " + orNone(a.SyncStatus)
	case a.Health != "Healthy":
		return "its health is " + orNone(a.Health)
	}
	return ""
}

// GaveUp reports whether Argo CD will not try the commit that it compares with again by itself: its last
// operation failed there, with all of its retries. What stood in the way being gone does not help then;
// a sync that is asked for, or a new commit, does.
// Source: argo-cd controller/appcontroller.go autoSync ("failed previous sync attempt to … and will not
// retry for …"), alreadyAttemptedSync.
func GaveUp(app *Application) bool {
	operation := app.Operation
	if operation == nil || operation.Running || (operation.Phase != phaseFailed && operation.Phase != phaseError) {
		return false
	}
	if app.SyncStatus != "OutOfSync" {
		return false
	}
	// A failure without any result counts for every commit.
	result := app.state.Status.OperationState.SyncResult
	return result == nil || result.Revision == app.SyncRevision
}

func orNone(text string) string {
	if text == "" {
		return "not known"
	}
	return text
}
