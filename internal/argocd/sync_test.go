package argocd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	policy = `spec:
  project: infra
  source: {repoURL: https://git.example/tree, path: infrastructure/database/cnpg/immich, targetRevision: main}
  destination: {server: https://kubernetes.default.svc}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [CreateNamespace=true, ServerSideApply=false]
    retry: {limit: 3, backoff: {duration: 5s}}
`
	running   = policy + "operation: {sync: {revision: old}}\nstatus: {sync: {status: OutOfSync, revision: old}, operationState: {phase: Running, message: waiting, retryCount: 2, startedAt: '2026-11-24T06:00:00Z', operation: {sync: {revision: old}, initiatedBy: {username: eve}}}}\n"
	requested = policy + "operation: {sync: {revision: old}}\nstatus: {operationState: {phase: Succeeded, startedAt: '2026-11-24T05:00:00Z', syncResult: {revision: older}}}\n"
	arrived   = policy + "status: {sync: {status: Synced, revision: new}, health: {status: Healthy}, operationState: {phase: Succeeded, startedAt: '2026-11-24T06:00:00Z', finishedAt: '2026-11-24T06:00:09Z', operation: {sync: {revision: new}}, syncResult: {revision: new}}}\n"
)

func read(t *testing.T, text string) (*fake, *Application) {
	t.Helper()
	api := &fake{apps: []*unstructured.Unstructured{application(t, "immich", text)}}
	api.apps[0].SetResourceVersion("17")
	app, err := Read(t.Context(), api, "argocd", "immich")
	require.NoError(t, err)
	return api, app
}

func TestRead(t *testing.T) {
	_, app := read(t, running)
	require.Equal(t, "infra", app.Project)
	require.Equal(t, []string{"https://git.example/tree", "infrastructure/database/cnpg/immich", "main"}, []string{app.RepoURL, app.Path, app.TargetRevision})
	require.True(t, app.AutoSync)
	require.True(t, app.SelfHeal)
	require.Equal(t, &Operation{
		Phase: "Running", Revision: "old", Message: "waiting", Retries: 2, Running: true, Username: "eve", StartedAt: time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC),
	}, app.Operation)
	require.Equal(t, "Running, sync by eve of old", app.Operation.String())

	_, app = read(t, requested)
	require.Equal(t, &Operation{Phase: PhaseRequested, Revision: "old", Running: true}, app.Operation, "the state is the last operation's")
	_, app = read(t, "spec: {sources: [{repoURL: a}, {repoURL: b}], syncPolicy: {automated: {enabled: false, selfHeal: true}}}")
	require.True(t, app.MultiSource)
	require.Equal(t, "a", app.RepoURL)
	require.False(t, app.AutoSync)
	require.False(t, app.SelfHeal)
	require.Nil(t, app.Operation)

	_, err := Read(t.Context(), &fake{}, "argocd", "immich")
	require.ErrorIs(t, err, recovery.ErrNotFound)
}

func TestSync(t *testing.T) {
	api, app := read(t, arrived)
	require.NoError(t, Sync(t.Context(), api, app, "newer", "drctl plan x"))
	require.Len(t, api.patches, 1)
	require.JSONEq(t, `[
		{"op":"test","path":"/metadata/resourceVersion","value":"17"},
		{"op":"add","path":"/operation","value":{
			"initiatedBy":{"username":"drctl"},"info":[{"name":"Reason","value":"drctl plan x"}],
			"retry":{"limit":3,"backoff":{"duration":"5s"}},
			"sync":{"revision":"newer","prune":true,"syncOptions":["CreateNamespace=true","ServerSideApply=true"]}}},
		{"op":"remove","path":"/status/operationState"}]`, api.patches[0])

	api, app = read(t, "spec: {source: {repoURL: a}}")
	require.NoError(t, Sync(t.Context(), api, app, "newer", ""))
	require.JSONEq(t, `[
		{"op":"test","path":"/metadata/resourceVersion","value":"17"},
		{"op":"add","path":"/operation","value":{"initiatedBy":{"username":"drctl"},"sync":{"revision":"newer","syncOptions":["ServerSideApply=true"]}}}]`, api.patches[0])
}

func TestSyncRefuses(t *testing.T) {
	api, app := read(t, running)
	err := Sync(t.Context(), api, app, "newer", "")
	require.ErrorIs(t, err, recovery.ErrConflict)
	require.ErrorContains(t, err, "another operation runs: Running, sync by eve of old")
	require.Empty(t, api.patches)
	require.NoError(t, Sync(t.Context(), api, app, "old", ""), "that one is what was asked for")
	require.Empty(t, api.patches)

	api, app = read(t, requested)
	require.ErrorIs(t, Sync(t.Context(), api, app, "newer", ""), recovery.ErrConflict)

	api, app = read(t, "spec: {sources: [{repoURL: a}, {repoURL: b}]}")
	require.ErrorIs(t, Sync(t.Context(), api, app, "newer", ""), recovery.ErrUnsupported)
}

func TestSyncTriesAgainWhenTheControllerWroteInBetween(t *testing.T) {
	api, app := read(t, arrived)
	api.conflicts = attempts - 1
	require.NoError(t, Sync(t.Context(), api, app, "newer", ""))
	require.Len(t, api.patches, 1)

	api.conflicts = attempts
	require.ErrorIs(t, Sync(t.Context(), api, app, "newer", ""), recovery.ErrConflict)
}

func TestTerminate(t *testing.T) {
	const replaced = `[{"op":"test","path":"/metadata/resourceVersion","value":"17"},{"op":"replace","path":"/status/operationState/phase","value":"Terminating"}]`
	api, app := read(t, running)
	require.NoError(t, Terminate(t.Context(), api, app))
	require.Len(t, api.patches, 1)
	require.JSONEq(t, replaced, api.patches[0])

	api, app = read(t, requested)
	require.NoError(t, Terminate(t.Context(), api, app))
	require.JSONEq(t, `[{"op":"test","path":"/metadata/resourceVersion","value":"17"},{"op":"remove","path":"/operation"}]`, api.patches[0])

	// What was seen as requested has been taken up meanwhile.
	api.patches, api.apps[0] = nil, application(t, "immich", running)
	api.apps[0].SetResourceVersion("17")
	require.NoError(t, Terminate(t.Context(), api, app))
	require.JSONEq(t, replaced, api.patches[0])

	for name, now := range map[string]string{
		"ended": arrived, "none": policy,
		"another of the same commit": `{status: {operationState: {phase: Running, startedAt: '2026-11-24T07:00:00Z', operation: {sync: {revision: old}}}}}`,
		"another commit":             `{status: {operationState: {phase: Running, startedAt: '2026-11-24T06:00:00Z', operation: {sync: {revision: new}}}}}`,
		"ending already":             `{status: {operationState: {phase: Terminating, startedAt: '2026-11-24T06:00:00Z', operation: {sync: {revision: old}}}}}`,
	} {
		api, app = read(t, running)
		api.apps[0] = application(t, "immich", now)
		require.NoError(t, Terminate(t.Context(), api, app), name)
		require.Empty(t, api.patches, name)
	}
	api, app = read(t, arrived)
	require.NoError(t, Terminate(t.Context(), api, app))
	require.Empty(t, api.patches)
}

func TestObserve(t *testing.T) {
	const failed = "operationState: {phase: Failed, message: denied, startedAt: '2026-11-24T06:00:00Z', operation: {sync: {revision: new}}, syncResult: {revision: new}}"
	for _, test := range []struct{ name, text, why string }{
		{"arrived", arrived, ""},
		{"none yet", policy, "no operation has run yet"},
		{"running", running, "an operation runs: Running, sync by eve of old: waiting"},
		{"requested", requested, "an operation runs: Requested, sync of old"},
		{"an older commit", policy + "status: {sync: {status: Synced, revision: old}, operationState: {phase: Succeeded, syncResult: {revision: old}}}", "the last operation was at old, not at new"},
		{"failed", policy + "status: {sync: {status: Synced, revision: new}, " + failed + "}", "the sync ended as Failed: denied"},
		{"gave up", policy + "status: {sync: {status: OutOfSync, revision: new}, conditions: [{type: SyncError, message: 'Failed last sync attempt to new: denied'}], " + failed + "}", "Argo CD gave up: Failed, sync of new: denied; SyncError: Failed last sync attempt to new: denied"},
		{"compared with an older one", policy + "status: {sync: {status: Synced, revision: old}, operationState: {phase: Succeeded, syncResult: {revision: new}}}", "Argo CD compares with old, not with new"},
		{"never compared", policy + "status: {operationState: {phase: Succeeded, syncResult: {revision: new}}}", "Argo CD compares with not known, not with new"},
		{"out of sync", policy + "status: {sync: {status: OutOfSync, revision: new}, operationState: {phase: Succeeded, syncResult: {revision: new}}}", "its sync status is OutOfSync"},
		{"unhealthy", policy + "status: {sync: {status: Synced, revision: new}, health: {status: Progressing}, operationState: {phase: Succeeded, syncResult: {revision: new}}}", "its health is Progressing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			api, _ := read(t, test.text)
			app, done, why, err := Observe(t.Context(), api, "argocd", "immich", "new")
			require.NoError(t, err)
			require.Equal(t, test.why, why)
			require.Equal(t, test.why == "", done)
			require.Equal(t, "immich", app.Name)
		})
	}
	_, done, _, err := Observe(t.Context(), &fake{}, "argocd", "immich", "new")
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.False(t, done)
}

func TestGaveUp(t *testing.T) {
	for text, want := range map[string]bool{
		"status: {sync: {status: OutOfSync, revision: a}, operationState: {phase: Failed, syncResult: {revision: a}}}":                                   true,
		"status: {sync: {status: OutOfSync, revision: a}, operationState: {phase: Error}}":                                                               true,
		"status: {sync: {status: OutOfSync, revision: b}, operationState: {phase: Failed, syncResult: {revision: a}}}":                                   false,
		"status: {sync: {status: Synced, revision: a}, operationState: {phase: Failed, syncResult: {revision: a}}}":                                      false,
		"status: {sync: {status: OutOfSync, revision: a}, operationState: {phase: Running, syncResult: {revision: a}}}":                                  false,
		"status: {sync: {status: OutOfSync, revision: a}, operationState: {phase: Succeeded, syncResult: {revision: a}}}":                                false,
		"operation: {sync: {revision: a}}\nstatus: {sync: {status: OutOfSync, revision: a}, operationState: {phase: Failed, syncResult: {revision: a}}}": false,
		"status: {sync: {status: OutOfSync, revision: a}}":                                                                                               false,
	} {
		_, app := read(t, text)
		require.Equal(t, want, GaveUp(app), text)
	}
}
