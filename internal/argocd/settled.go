package argocd

import "context"

// Settled reads whether the Application is at rest: Synced with the commit that it compares with, Healthy,
// and no operation running. When it is not, why says what is missing, and stuck is true when Argo CD will
// not mend that by itself: it gave the commit up, or does not sync by itself at all.
func Settled(ctx context.Context, api API, namespace, name string) (app *Application, stuck bool, why string, err error) {
	app, err = Read(ctx, api, namespace, name)
	if err != nil {
		return nil, false, "", err
	}
	operation := app.Operation
	switch {
	case operation != nil && operation.Running:
		return app, false, app.missing(app.SyncRevision), nil
	case GaveUp(app):
		return app, true, app.missing(app.SyncRevision), nil
	case app.SyncStatus != "Synced":
		return app, app.SyncStatus == "OutOfSync" && !app.AutoSync, "its sync status is " + orNone(app.SyncStatus), nil
	case app.Health != "Healthy":
		return app, false, "its health is " + orNone(app.Health), nil
	}
	return app, false, "", nil
}
