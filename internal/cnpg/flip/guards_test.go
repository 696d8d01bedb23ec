package flip

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// on changes the world once, right ahead of the first such call.
func (w *world) on(call string, do func()) {
	w.before = func(now string) error {
		if word, _, _ := strings.Cut(now, " "); word == call {
			w.before = nil
			do()
		}
		return nil
	}
}

// replace is somebody who deletes the Cluster and creates another one of its name.
func (w *world) replace() {
	w.gone(false)
	w.appear(manifest{Namespace: namespace, Name: name, Server: v1, Bootstrap: "initdb"})
}

// prepareShort makes a plan in which one step waits a moment only.
func (w *world) prepareShort(t *testing.T, o Options, short string) operation.Plan {
	t.Helper()
	_, plan := w.prepare(t, o)
	for i := range plan.Steps {
		if plan.Steps[i].Kind == short {
			plan.Steps[i].Timeout = 100 * time.Millisecond
		}
	}
	return plan
}

// TestGuardsFire: each lie and each change behind the plan's back stops it, with what to type next.
func TestGuardsFire(t *testing.T) {
	cases := map[string]struct {
		change func(*world)
		// options are whole unless they are given.
		options *Options
		step    string
		kind    error
		text    string
		next    string
	}{
		"another system identifier": {change: func(w *world) { w.recovered.System = "7400000000000000000" }, step: stepProve, kind: operation.ErrConflict,
			text: "systemIdentifier is disproved: 7400000000000000000, expected " + systemID, next: "to recover again: drctl abort"},
		"forked early": {change: func(w *world) { w.recovered.History = early }, step: stepProve, kind: operation.ErrConflict,
			text: "forkLSN is disproved: forked at 0/5000000, 4 segments early, expected at or behind the end of 000000010000000000000009", next: "to recover again: drctl abort"},
		"no rows": {change: func(w *world) { w.recovered.Rows = 0 }, step: stepProve, kind: operation.ErrConflict,
			text: "rows is disproved: 0 rows in 2 tables, expected user tables in immich that hold rows", next: "to recover again: drctl abort"},
		"the query says no": {options: &Options{Name: name, Push: true, VerifySQL: "0"}, step: stepProve, kind: operation.ErrConflict,
			text: "rows is disproved: 0, expected --verify-sql gives rows and neither 0 nor f", next: "to recover again: drctl abort"},
		"the timeline of the backup": {change: func(w *world) { w.recovered.Timeline = 1 }, step: stepProve, kind: operation.ErrConflict,
			text: "timeline is disproved: 1, expected above 1", next: "to recover again: drctl abort"},
		"a fork that cannot be read": {change: func(w *world) { w.readFork = errors.New("no line in it") }, step: stepProve, kind: operation.ErrNotVerified,
			text: "forkLSN is unknown: no line in it", next: "drctl resume"},
		"an initdb Cluster that is Ready": {change: func(w *world) {
			w.on("log", func() { delete(w.Clusters, name); w.Claims = map[string]*claim{}; w.replaceReady() })
		}, step: stepProve, kind: operation.ErrConflict, text: "origin is disproved", next: "to recover again: drctl abort"},
		"old claims adopted": {change: func(w *world) {
			w.on("log", func() { w.Claims[name+"-1"].ClaimUID = "claim-b" })
		}, step: stepProve, kind: operation.ErrConflict, text: "volumes is disproved: claim immich-database-1 has UID claim-b", next: "to recover again: drctl abort"},
		"a claim of another owner": {change: func(w *world) {
			w.on("log", func() { w.Claims[name+"-1"].OwnerUID = "uid-z" })
		}, step: stepProve, kind: operation.ErrConflict, text: `is owned by "uid-z"`, next: "to recover again: drctl abort"},
		"gone again while it is waited for": {change: func(w *world) {
			w.on("log", func() { w.on("find", func() { delete(w.Clusters, name) }) })
		}, step: stepRecovered, kind: operation.ErrConflict, text: "is gone again: somebody deleted it while it recovered", next: "--give-up, then drctl cnpg recover immich-database --source-server-name " + v1},
		"a recovery that fails": {change: func(w *world) { w.log = "ERROR: Expected empty archive" }, step: stepRecovered, kind: operation.ErrConflict,
			text: "write serverName reused", next: "take the next clean one"},
		"a recovery that goes on for ever": {change: func(w *world) { w.log = "restored log file 09" }, step: stepRecovered, kind: operation.ErrNotVerified,
			text: "Setting up primary: restored log file 09", next: "drctl resume"},
		"replaced before the deletion": {change: func(w *world) { w.on("fence-prove", w.replace) }, step: stepDelete, kind: operation.ErrConflict,
			text: "is not the one that the plan was made for: its UID is uid-d, not uid-a", next: "drctl abort"},
		"replaced in the last moment": {change: func(w *world) { w.on("delete", w.replace) }, step: stepDelete, kind: operation.ErrConflict,
			text: "is not the one that the plan was made for", next: "drctl abort"},
		"somebody else's Cluster instead of ours": {change: func(w *world) {
			w.on("create", func() { w.appear(manifest{Namespace: namespace, Name: name, Bootstrap: "initdb"}) })
		}, step: stepCreate, kind: operation.ErrConflict, text: "that this plan did not create (UID uid-d, bootstrap initdb)", next: "delete it if it is empty (its volumes are not those of the plan); then drctl resume"},
		"a claim that does not go": {change: func(w *world) { w.stuck = name + "-1" }, step: stepGone, kind: operation.ErrNotVerified,
			text: "waiting for PersistentVolumeClaim immich-database-1 (finalizer kubernetes.io/pvc-protection) to go", next: "drctl resume"},
		"a claim that came back": {change: func(w *world) {
			w.on("delete", func() {
				seen := 0
				w.before = func(call string) error {
					if call == "leftovers" {
						if seen++; seen == 2 {
							w.Claims["late"] = &claim{Cluster: name}
						}
					}
					return nil
				}
			})
		}, step: stepCreate, kind: operation.ErrConflict, text: "the operator would adopt them and recover nothing", next: "see what holds them: kubectl"},
		"a fence that lets through": {change: func(w *world) { w.on("fence-prove", func() { w.Fences = map[string]time.Time{} }) }, step: stepFence,
			text: "it let a request through", next: "drctl abort"},
		"a final backup that fails": {change: func(w *world) { w.backupFail = "no space left on device" }, step: stepFinalBackup, kind: operation.ErrConflict,
			text: "failed: no space left on device", next: "kubectl -n cloudnative-pg delete backups.postgresql.cnpg.io"},
		"archiving that fails": {change: func(w *world) { w.archiving, w.archiveWhy = "false", "403 AccessDenied" }, step: stepProveBackups, kind: operation.ErrConflict,
			text: "archiving is disproved: false 403 AccessDenied", next: "drctl resume"},
		"a remote without the Cluster": {change: func(w *world) { w.on("newest-done", func() { w.RemoteServer = "" }) }, step: stepRemote, kind: operation.ErrConflict,
			text: "the remote builds no Cluster", next: "put its manifest back, and cd /src/platform && git push"},
		"a remote with bootstrap.recovery": {change: func(w *world) { w.on("newest-done", func() { w.RemoteBootstrap = "recovery" }) }, step: stepRemote, kind: operation.ErrConflict,
			text: "whenever the Cluster is created anew it would be rolled back", next: "put bootstrap.initdb there, and cd /src/platform && git push"},
		"not pushed": {options: &Options{Name: name}, step: stepRemote, kind: operation.ErrConflict,
			text: "the remote names server immich-database-v1 and not immich-database-v2", next: "cd /src/platform && git push origin HEAD:main; then drctl resume"},
		"replaced before the hand-back": {change: func(w *world) { w.on("busy", w.replace) }, step: stepHandBack, kind: operation.ErrConflict,
			text: "is not the one that was recovered", next: "drctl resume"},
		"Argo CD would be refused": {change: func(w *world) {
			w.before = func(call string) error {
				if call == "admit-as-gitops" {
					return recovery.ErrInvalid
				}
				return nil
			}
		}, step: stepHandBack, kind: recovery.ErrInvalid, text: "refused as invalid", next: "drctl resume"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w, dir := newWorld(), t.TempDir()
			o := whole()
			if c.options != nil {
				o = *c.options
			}
			short := ""
			if errors.Is(c.kind, operation.ErrNotVerified) {
				short = c.step
			}
			plan := w.prepareShort(t, o, short)
			if c.change != nil {
				c.change(w)
			}
			err := w.engine(dir).Start(t.Context(), plan)
			require.ErrorIs(t, err, operation.ErrUnfinished)
			if c.kind != nil {
				require.ErrorIs(t, err, c.kind)
			}
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, c.next)
			require.ErrorContains(t, err, plan.ID, "the way on has the plan's name")
			view, err := operation.NewStore(dir).View(plan.ID)
			require.NoError(t, err)
			failed, _ := view.Failed()
			require.Equal(t, c.step, failed.ID)
		})
	}
}

// replaceReady is an initdb Cluster that is Ready at once.
func (w *world) replaceReady() {
	w.appear(manifest{Namespace: namespace, Name: name, Server: v1, Bootstrap: "initdb"})
	w.Clusters[name].Looks = 0
	fakeCluster{w}.pass(name)
}

// TestWhatWasPutRightGoesOn: the advice of a stop works.
func TestWhatWasPutRightGoesOn(t *testing.T) {
	cases := map[string]struct {
		options Options
		change  func(*world)
		mend    func(*world)
	}{
		"pushed by hand": {Options{Name: name}, nil, func(w *world) { w.RemoteServer = v2 }},
		"another's Cluster is deleted": {whole(), func(w *world) {
			w.on("create", func() { w.appear(manifest{Namespace: namespace, Name: name, Bootstrap: "initdb"}) })
		}, func(w *world) { w.gone(false) }},
		"the claim went at last":       {whole(), func(w *world) { w.stuck = name + "-1" }, func(w *world) { w.stuck = ""; w.Claims = map[string]*claim{} }},
		"initdb is back on the remote": {whole(), func(w *world) { w.on("newest-done", func() { w.RemoteBootstrap = "recovery" }) }, func(w *world) { w.RemoteBootstrap = "initdb" }},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w, dir := newWorld(), t.TempDir()
			plan := w.prepareShort(t, c.options, stepGone)
			if c.change != nil {
				c.change(w)
			}
			require.ErrorIs(t, w.engine(dir).Start(t.Context(), plan), operation.ErrUnfinished)
			c.mend(w)
			require.NoError(t, w.engine(dir).Resume(t.Context(), plan.ID, here))
			w.requireRecovered(t)
		})
	}
}

// TestArgoThatGaveUp does not come back by itself: it is asked for exactly the new commit.
func TestArgoThatGaveUp(t *testing.T) {
	w := newWorld()
	w.gaveUp = true
	_, err := w.run(t, t.TempDir(), whole())
	require.NoError(t, err)
	require.Equal(t, 1, w.synced)
	w.requireRecovered(t)
}

// TestArgoAtAnOlderCommit is ended: it would go on with the old server.
func TestArgoAtAnOlderCommit(t *testing.T) {
	w := newWorld()
	w.Running = "c0"
	_, err := w.run(t, t.TempDir(), whole())
	require.NoError(t, err)
	require.Contains(t, w.calls, "terminate")
	w.requireRecovered(t)
}

// TestArgoIsAtTheCommitAlready: nothing is asked of it.
func TestArgoIsAtTheCommitAlready(t *testing.T) {
	w := newWorld()
	w.on("busy", func() { w.Running = "c1" })
	_, err := w.run(t, t.TempDir(), whole())
	require.NoError(t, err)
	require.NotContains(t, w.calls, "terminate")
	require.Zero(t, w.synced)
}

// TestTheFenceIsKeptUp: resume moves its end, until the plan has let it down itself.
func TestTheFenceIsKeptUp(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	_, plan := w.prepare(t, Options{Name: name})
	require.ErrorIs(t, w.engine(dir).Start(t.Context(), plan), operation.ErrUnfinished)
	require.Equal(t, noon.Add(fenceLife), w.Fences[plan.ID])
	w.Fences[plan.ID] = noon
	require.ErrorIs(t, w.engine(dir).Resume(t.Context(), plan.ID, here), operation.ErrUnfinished)
	require.Equal(t, noon.Add(fenceLife), w.Fences[plan.ID])
	w.RemoteServer = v2
	w.before = func(call string) error {
		if call == "sync" {
			return recovery.ErrDenied
		}
		return nil
	}
	require.ErrorIs(t, w.engine(dir).Resume(t.Context(), plan.ID, here), operation.ErrUnfinished)
	require.Empty(t, w.Fences)
	w.before = nil
	require.NoError(t, w.engine(dir).Resume(t.Context(), plan.ID, here))
	require.Empty(t, w.Fences)
	w.requireRecovered(t)
}

// TestWithoutItsTree: a plan that changes the tree does not go on without it.
func TestWithoutItsTree(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	_, plan := w.prepare(t, Options{Name: name})
	require.ErrorIs(t, w.engine(dir).Start(t.Context(), plan), operation.ErrUnfinished)
	w.noTree = true
	err := w.engine(dir).Resume(context.Background(), plan.ID, here)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, "give --gitops DIR, the same checkout as before; then drctl resume "+plan.ID)
}
