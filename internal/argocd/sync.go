package argocd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// username is who our operations are begun by.
	username = "drctl"
	// serverSide is the option without which Argo CD applies client-side, in another field manager's name.
	serverSide = "ServerSideApply=true"
	// attempts is how often a patch is computed again because the controller changed the Application
	// meanwhile, which it does at every comparison.
	attempts = 8
	// refreshAnnotation asks for a comparison with what the branch names now. The controller removes it.
	refreshAnnotation = "argocd.argoproj.io/refresh"
)

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Refresh has Argo CD look at once what its branch names. Without it the commit that it compares with
// may be up to three minutes old, and self-heal applies that old one.
// Source: argo-cd controller/appcontroller.go needRefreshAppStatus (CompareWithLatestForceResolve).
func Refresh(ctx context.Context, api API, app *Application) error {
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:"normal"}}}`, refreshAnnotation)
	_, err := api.PatchMerge(ctx, applicationsResource(), app.Namespace, app.Name, []byte(body))
	return err
}

// Terminate ends the operation that app was seen to run, and only that one; nothing when it ran none, or
// when it has ended or another one runs by now. The controller ends it after the step that it is in: read
// the Application until no operation runs. An operation that no controller has taken up yet is withdrawn.
//
// Source: argo-cd server/application/application.go TerminateOperation: the phase in the status is set
// to Terminating; the CRD has no status subresource.
func Terminate(ctx context.Context, api API, app *Application) error {
	seen := app.Operation
	return change(ctx, api, app, func(now *Application) ([]operation, error) {
		if seen == nil || !seen.Running || now.Operation == nil || !now.Operation.Running || now.Operation.Phase == phaseTerminating {
			return nil, nil
		}
		another := !now.Operation.StartedAt.Equal(seen.StartedAt) && seen.Phase != PhaseRequested
		if another || (now.Operation.Revision != seen.Revision && seen.Revision != "") {
			return nil, nil
		}
		if now.Operation.Phase == PhaseRequested {
			return []operation{{Op: "remove", Path: "/operation"}}, nil
		}
		return []operation{{"replace", "/status/operationState/phase", phaseTerminating}}, nil
	})
}

// Sync begins the sync of one commit, with the Application's own options and retries, server-side. It is
// recovery.ErrConflict while another operation runs: terminate that, or wait for it. An operation of the
// same commit is what was asked for, and is left alone.
//
// The note goes into the operation, for whoever looks at it in Argo CD.
// Source: argo-cd server/application/application.go Sync, util/argo/argo.go SetAppOperation.
func Sync(ctx context.Context, api API, app *Application, revision, note string) error {
	what := fmt.Sprintf("sync Application %s/%s to %s", app.Namespace, app.Name, revision)
	return change(ctx, api, app, func(now *Application) ([]operation, error) {
		switch running := now.Operation; {
		case now.MultiSource:
			return nil, &recovery.Problem{
				What: what, Why: "it has several sources, each with a revision of its own",
				Next: fmt.Sprintf("sync it yourself: argocd app sync %s", now.Name), Err: recovery.ErrUnsupported,
			}
		case running != nil && running.Running && running.Revision == revision && running.Phase != phaseTerminating:
			return nil, nil
		case running != nil && running.Running:
			return nil, &recovery.Problem{
				What: what, Why: "another operation runs: " + running.String(),
				Next: fmt.Sprintf("wait for it, or end it: argocd app terminate-op %s", now.Name), Err: recovery.ErrConflict,
			}
		}
		patch := []operation{{"add", "/operation", now.syncOf(revision, note)}}
		if now.state.Status.OperationState != nil {
			patch = append(patch, operation{Op: "remove", Path: "/status/operationState"})
		}
		return patch, nil
	})
}

// syncOf is the operation to ask for. No source is given, so that the Application's own is taken.
// Source: argo-cd controller/sync.go newSyncOperationResult.
func (a *Application) syncOf(revision, note string) map[string]any {
	policy := a.state.Spec.SyncPolicy
	options := slices.Clone(policy.SyncOptions)
	if !slices.Contains(options, serverSide) {
		options = append(slices.DeleteFunc(options, func(option string) bool { return strings.HasPrefix(option, "ServerSideApply=") }), serverSide)
	}
	sync := map[string]any{"revision": revision, "syncOptions": options}
	if policy.Automated != nil && policy.Automated.Prune {
		sync["prune"] = true
	}
	request := map[string]any{"sync": sync, "initiatedBy": map[string]any{"username": username}}
	if note != "" {
		request["info"] = []any{map[string]any{"name": "Reason", "value": note}}
	}
	if policy.Retry != nil {
		request["retry"] = policy.Retry
	}
	return request
}

// change patches the Application as compute says, given how it stands now; an empty patch ends it. The
// patch holds for that state alone: when the controller changed it in between, it is computed again.
func change(ctx context.Context, api API, app *Application, compute func(now *Application) ([]operation, error)) error {
	var err error
	for range attempts {
		now, readErr := Read(ctx, api, app.Namespace, app.Name)
		if readErr != nil {
			return readErr
		}
		patch, computeErr := compute(now)
		if computeErr != nil || len(patch) == 0 {
			return computeErr
		}
		body, encodeErr := json.Marshal(append([]operation{{"test", "/metadata/resourceVersion", now.resourceVersion}}, patch...))
		if encodeErr != nil {
			return fmt.Errorf("encode the patch of Application %s/%s: %w", app.Namespace, app.Name, encodeErr)
		}
		_, err = api.PatchJSON(ctx, applicationsResource(), app.Namespace, app.Name, body)
		if !errors.Is(err, recovery.ErrConflict) {
			return err
		}
	}
	return err
}

// String names the operation for a message.
func (o *Operation) String() string {
	by := ""
	if o.Username != "" {
		by = " by " + o.Username
	}
	revision := o.Revision
	if revision == "" {
		revision = "a revision not decided yet"
	}
	return fmt.Sprintf("%s, sync%s of %s", o.Phase, by, revision)
}
