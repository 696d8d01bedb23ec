package flip

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// whole asks for all that a recovery can do.
func whole() Options {
	return Options{Name: "immich", Push: true, FinalBackup: true}
}

// prepare makes a plan in this world.
func (w *world) prepare(t *testing.T, o Options) (*Prepared, operation.Plan) {
	t.Helper()
	use := w.flip()
	prepared, err := use.Prepare(t.Context(), o)
	require.NoError(t, err)
	plan, err := use.Plan(prepared)
	require.NoError(t, err)
	return prepared, plan
}

// run makes a plan and runs it.
func (w *world) run(t *testing.T, dir string, o Options) (operation.Plan, error) {
	t.Helper()
	_, plan := w.prepare(t, o)
	return plan, w.engine(dir).Start(t.Context(), plan)
}

// requireRecovered: the database is back, handed back, backed up, and nothing was lost on the way.
func (w *world) requireRecovered(t *testing.T) {
	t.Helper()
	require.Empty(t, w.Lost)
	live := w.Clusters[name]
	require.NotNil(t, live)
	require.Equal(t, w.recovered, live.Data)
	require.Equal(t, "initdb", live.Bootstrap)
	require.Equal(t, v2, live.WriteServer)
	require.Equal(t, "argocd", live.Manager)
	require.Empty(t, w.Fences)
	require.Equal(t, map[string]bool{"nightly": false, "weekly": true}, w.Schedules)
	require.True(t, w.Servers[v1].Kept[backupID], "the way back must not expire")
	require.NotNil(t, w.Servers[v2].Newest)
	require.Equal(t, map[string]string{name + "-app": "", name + "-superuser": ""}, w.Secrets, "the passwords outlived their Cluster")
	require.Equal(t, v2, w.RemoteServer)
	require.Equal(t, "c1", w.Synced)
	require.Len(t, w.Claims, 2)
	for _, claim := range w.Claims {
		require.Equal(t, live.UID, claim.OwnerUID)
	}
}

func TestAWholeFlip(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	prepared, plan := w.prepare(t, whole())
	require.Equal(t, int64(240), prepared.LostSeconds)
	require.Contains(t, prepared.Diff, "+serverName: "+v2)
	require.True(t, w.choice.Readable, "the first bytes of each file are read before anything is deleted")
	require.Equal(t, []string{
		stepCommit, stepKeep, stepFinalBackup, stepRetain, stepSecrets, stepSuspend, stepFence, stepDelete, stepGone, stepCreate, stepPush,
		stepRecovered, stepProve, stepBackup, stepProveBackups, stepRemote, stepTerminate, stepHandBack, stepLift, stepSync, stepFields, stepSchedules,
	}, kinds(plan))
	require.NoError(t, w.engine(dir).Start(t.Context(), plan))
	w.requireRecovered(t)

	view, err := operation.NewStore(dir).View(plan.ID)
	require.NoError(t, err)
	require.Equal(t, operation.PlanFinished, view.State)
	_, facts, err := operation.NewStore(dir).Read(plan.ID)
	require.NoError(t, err)
	require.Equal(t, w.Clusters[name].UID, facts[FactUID])
	summary := Summarize(plan.ID, prepared.Params, plan.CreationTime, func(key string) string { return facts[key] })
	require.Equal(t, "4 rows in 2 tables", summary.Rows)
	require.Equal(t, int64(240), summary.RPOSeconds)
	require.Len(t, summary.Volumes, 2, "the old volumes, with the way back")
	require.Contains(t, summary.Volumes[0].BringBack[0], "kubectl patch pv pv-claim-b")
	require.NotContains(t, summary.Volumes[0].BringBack[1], "cnpg", "the operator would adopt it")
}

func kinds(plan operation.Plan) []string {
	var kinds []string
	for _, step := range plan.Steps {
		kinds = append(kinds, step.Kind)
	}
	return kinds
}

// errDied is a process that is killed: nothing of it runs any more.
var errDied = errors.New("died")

// changes holds for the calls that change something.
func changes(call string) bool {
	word, _, _ := strings.Cut(call, " ")
	return slices.Contains([]string{
		"set-policy", "disown", "own", "suspend", "request-backup", "delete", "create", "hand-back", "release-fields", "fence-up", "fence-down",
		"keep", "unkeep", "commit", "undo-commit", "push", "terminate", "sync",
	}, word)
}

// killed lets the process die at the nth call, before its effect or behind it. It gives false when the
// call was never made.
func (w *world) killed(n int, behind bool, do func()) (died bool) {
	begin := len(w.calls)
	die := func() {
		if len(w.calls)-begin == n {
			panic(errDied)
		}
	}
	if behind {
		w.after = func(string) { die() }
	} else {
		w.before = func(string) error { die(); return nil }
	}
	defer func() {
		w.before, w.after = nil, nil
		if thrown := recover(); thrown != nil {
			if thrown != any(errDied) {
				panic(thrown)
			}
			died = true
		}
	}()
	do()
	return false
}

// cleanCalls are the calls of a run that nothing disturbs.
func cleanCalls(t *testing.T, o Options) []string {
	t.Helper()
	w := newWorld()
	_, plan := w.prepare(t, o)
	begin := len(w.calls)
	require.NoError(t, w.engine(t.TempDir()).Start(t.Context(), plan))
	return w.calls[begin:]
}

// TestKilledAnywhere kills the process before and behind each change, and at every third look, and has
// another one go on.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	points := 0
	for n, call := range cleanCalls(t, whole()) {
		for _, behind := range []bool{false, true} {
			if !changes(call) && (behind || n%3 != 0) {
				continue
			}
			w, dir := newWorld(), t.TempDir()
			_, plan := w.prepare(t, whole())
			died := w.killed(n+1, behind, func() { _ = w.engine(dir).Start(t.Context(), plan) })
			require.True(t, died, "%s was not reached", call)
			points++
			err := w.engine(dir).Resume(t.Context(), plan.ID, here)
			require.NoError(t, err, "killed at %d %s, behind %v", n+1, call, behind)
			w.requireRecovered(t)
		}
	}
	t.Logf("killed at %d points", points)
	require.Greater(t, points, 50)
}

// TestAbortRestores: up to the accepted DELETE all is as before, a final backup aside; behind it abort
// refuses and names resume.
func TestAbortRestores(t *testing.T) {
	t.Parallel()
	calls := cleanCalls(t, whole())
	deletion := slices.Index(calls, "delete")
	require.Positive(t, deletion)
	restored, refused := 0, 0
	for n, call := range calls {
		for _, behind := range []bool{false, true} {
			if !changes(call) && (behind || n%3 != 0) {
				continue
			}
			w, dir := newWorld(), t.TempDir()
			_, plan := w.prepare(t, whole())
			before := w.picture()
			require.True(t, w.killed(n+1, behind, func() { _ = w.engine(dir).Start(t.Context(), plan) }))
			err := w.engine(dir).Abort(t.Context(), plan.ID, here)
			if past := n > deletion || (n == deletion && behind); past {
				require.ErrorIs(t, err, operation.ErrPastReturn, call)
				require.ErrorContains(t, err, "drctl resume "+plan.ID)
				refused++
				continue
			}
			require.NoError(t, err, call)
			w.Backups = nil
			if at := w.Servers[v1]; at.Newest != nil {
				at.Newest = nil
			}
			require.Equal(t, before, w.picture(), "killed at %d %s, behind %v", n+1, call, behind)
			if restored++; restored%8 == 0 {
				_, err = w.run(t, t.TempDir(), whole())
				require.NoError(t, err, "and it can be recovered after that")
			}
		}
	}
	t.Logf("restored %d, refused %d", restored, refused)
	require.Greater(t, restored, 20)
	require.Greater(t, refused, 20)
}

// TestAbortIsKilled: an abort that dies anywhere is aborted again.
func TestAbortIsKilled(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		w, dir := newWorld(), t.TempDir()
		_, plan := w.prepare(t, whole())
		before := w.picture()
		w.before = func(call string) error {
			if call == "fence-prove" {
				return errors.New("it let a request through")
			}
			return nil
		}
		err := w.engine(dir).Start(t.Context(), plan)
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorContains(t, err, "drctl resume "+plan.ID+", or drctl abort "+plan.ID)
		died := w.killed(n, n%2 == 0, func() { err = w.engine(dir).Abort(t.Context(), plan.ID, here) })
		if died {
			err = w.engine(dir).Abort(t.Context(), plan.ID, here)
		}
		require.NoError(t, err)
		w.Backups, w.Servers[v1].Newest = nil, nil
		require.Equal(t, before, w.picture())
		if !died && n%2 == 1 {
			require.Greater(t, n, 8)
			return
		}
	}
}

// TestEachCallFailsOnce: a failure that passes is retried, one that does not stops the plan, and resume
// goes on.
func TestEachCallFailsOnce(t *testing.T) {
	t.Parallel()
	causes := []error{recovery.ErrUnreachable, recovery.ErrDenied, recovery.ErrConflict}
	for n, call := range cleanCalls(t, whole()) {
		cause := causes[n%len(causes)]
		w, dir := newWorld(), t.TempDir()
		_, plan := w.prepare(t, whole())
		begin, failed := len(w.calls), false
		w.before = func(string) error {
			if !failed && len(w.calls)-begin == n+1 {
				failed = true
				return cause
			}
			return nil
		}
		err := w.engine(dir).Start(t.Context(), plan)
		w.before = nil
		switch {
		case err == nil:
		case errors.Is(err, operation.ErrUnfinished):
			require.ErrorIs(t, cause, recovery.ErrDenied, "what passes is retried: %v", err)
			err = w.engine(dir).Resume(t.Context(), plan.ID, here)
		default: // nothing was changed yet
			err = w.engine(dir).Start(t.Context(), plan)
		}
		require.NoError(t, err, "%v at %d %s", cause, n+1, call)
		w.requireRecovered(t)
	}
}
