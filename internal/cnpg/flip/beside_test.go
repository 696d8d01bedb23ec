package flip

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const look = "immich-look"

// TestBesideTouchesNothingLive: no fence, no deletion, no Git, no keep mark.
func TestBesideTouchesNothingLive(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	live := *w.Clusters[name]
	prepared, plan := w.prepare(t, Options{Name: name, NewName: look})
	require.Equal(t, []string{stepCreate, stepRecovered, stepProve}, kinds(plan))
	require.Equal(t, namespace+"/"+look, plan.Target)
	require.Empty(t, manifestOf(prepared.Params.Manifest).Server, "a copy must not write into any server")
	begin := len(w.calls)
	require.NoError(t, w.engine(dir).Start(t.Context(), plan))
	for _, call := range w.calls[begin:] {
		require.True(t, call == "create" || !changes(call), call)
	}
	require.Equal(t, live, *w.Clusters[name])
	require.Equal(t, w.recovered, w.Clusters[look].Data)
	require.Empty(t, w.Lost)
}

// TestAbortDeletesTheCopy, and no other Cluster.
func TestAbortDeletesTheCopy(t *testing.T) {
	stop := func(w *world) (string, operation.Plan) {
		dir := t.TempDir()
		_, plan := w.prepare(t, Options{Name: name, NewName: look})
		w.log = "ERROR: Expected empty archive"
		err := w.engine(dir).Start(t.Context(), plan)
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorContains(t, err, "drctl abort "+plan.ID)
		w.log = ""
		return dir, plan
	}
	t.Run("ours", func(t *testing.T) {
		w := newWorld()
		before := w.picture()
		dir, plan := stop(w)
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
		for range 4 {
			fakeCluster{w}.pass(look)
		}
		require.Equal(t, before, w.picture())
	})
	t.Run("somebody else's", func(t *testing.T) {
		w := newWorld()
		dir, plan := stop(w)
		delete(w.Clusters, look)
		w.appear(manifest{Namespace: namespace, Name: look, Bootstrap: "initdb"})
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
		require.False(t, w.Clusters[look].Deleting)
	})
	t.Run("replaced in the last moment", func(t *testing.T) {
		w := newWorld()
		dir, plan := stop(w)
		w.on("delete", func() {
			delete(w.Clusters, look)
			w.appear(manifest{Namespace: namespace, Name: look, Bootstrap: "initdb"})
		})
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here), "the UID holds, and a second look sees another's Cluster")
		require.False(t, w.Clusters[look].Deleting)
	})
}

// TestACopyThatIsDisproved says how to get rid of it.
func TestACopyThatIsDisproved(t *testing.T) {
	w := newWorld()
	w.recovered.Rows = 0
	plan, err := w.run(t, t.TempDir(), Options{Name: name, NewName: look})
	require.ErrorIs(t, err, operation.ErrConflict)
	require.ErrorContains(t, err, "drctl abort "+plan.ID+" deletes the copy, which can then be made anew")
}

// TestADatabaseThatIsGone is created from the tree; there is nothing to delete.
func TestADatabaseThatIsGone(t *testing.T) {
	w := newWorld()
	w.gone(false)
	w.Secrets = map[string]string{}
	plan, err := w.run(t, t.TempDir(), Options{Name: name, Push: true})
	require.NoError(t, err)
	for _, kind := range []string{stepRetain, stepSecrets, stepDelete, stepGone} {
		require.NotContains(t, kinds(plan), kind)
	}
	require.Contains(t, kinds(plan), stepFence)
	require.Equal(t, w.recovered, w.Clusters[name].Data)
	require.Empty(t, w.Lost)
}

// TestACreationThatWasRefused can be aborted: the database was not there, and is not.
func TestACreationThatWasRefused(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	w.gone(false)
	before := w.picture()
	_, plan := w.prepare(t, Options{Name: name, Push: true})
	w.before = func(call string) error {
		if call == "create" {
			return &recovery.Problem{What: "create Cluster", Why: "exceeded quota", Err: recovery.ErrInvalid}
		}
		return nil
	}
	err := w.engine(dir).Start(t.Context(), plan)
	require.ErrorIs(t, err, recovery.ErrInvalid)
	require.ErrorContains(t, err, "exceeded quota")
	require.ErrorContains(t, err, "or drctl abort "+plan.ID+" in case it did not happen")
	w.before, w.Lost = nil, nil
	require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
	w.Lost = nil // the fence falls with no Cluster behind it, as it was before
	require.Equal(t, before, w.picture())
}

// TestACreationThatHappened cannot be aborted, also when nobody came to write its UID down, or when it
// arrives later.
func TestACreationThatHappened(t *testing.T) {
	for _, late := range []bool{false, true} {
		w, dir := newWorld(), t.TempDir()
		w.gone(false)
		prepared, plan := w.prepare(t, Options{Name: name, Push: true})
		died := false
		func() {
			defer func() { died = recover() != nil }()
			w.before = func(call string) error {
				if call == "create" {
					panic(errDied)
				}
				return nil
			}
			_ = w.engine(dir).Start(t.Context(), plan)
		}()
		require.True(t, died)
		looks := 0
		w.before = func(call string) error {
			if looks++; call == "find" && (!late || looks > 2) && w.Clusters[name] == nil {
				w.appear(manifestOf(prepared.Params.Manifest))
			}
			return nil
		}
		err := w.engine(dir).Abort(t.Context(), plan.ID, here)
		require.ErrorIs(t, err, operation.ErrPastReturn)
		require.ErrorContains(t, err, "drctl resume "+plan.ID)
		w.before = nil
		require.NoError(t, w.engine(dir).Resume(t.Context(), plan.ID, here))
		require.Equal(t, w.recovered, w.Clusters[name].Data)
	}
}

// TestADeletionInFlight: a request of a process that was killed arrives while abort looks; one look would
// have let the fence fall and the volumes go.
func TestADeletionInFlight(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	_, plan := w.prepare(t, whole())
	w.before = func(call string) error {
		if call == "delete" {
			return errors.New("connection reset")
		}
		return nil
	}
	err := w.engine(dir).Start(t.Context(), plan)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, "in case it did not happen")
	looks := 0
	w.before = func(call string) error {
		if looks++; looks == 3 {
			w.Clusters[name].Deleting, w.Clusters[name].Looks = true, 2
		}
		return nil
	}
	err = w.engine(dir).Abort(t.Context(), plan.ID, here)
	require.ErrorIs(t, err, operation.ErrPastReturn)
	w.before = nil
	require.NoError(t, w.engine(dir).Resume(t.Context(), plan.ID, here))
	w.requireRecovered(t)
}

// TestDeletedBySomebodyElse goes on, and cannot be aborted any more: the volumes must stay.
func TestDeletedBySomebodyElse(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	_, plan := w.prepare(t, whole())
	w.on("fence-prove", func() { w.Clusters[name].Deleting, w.Clusters[name].Looks = true, 30 })
	died := false
	func() {
		defer func() { died = recover() != nil }()
		w.after = func(call string) {
			if call == "delete" {
				panic(errDied)
			}
		}
		_ = w.engine(dir).Start(t.Context(), plan)
	}()
	require.True(t, died)
	w.after = nil
	require.ErrorIs(t, w.engine(dir).Abort(t.Context(), plan.ID, here), operation.ErrPastReturn)
	require.NoError(t, w.engine(dir).Resume(t.Context(), plan.ID, here))
	w.requireRecovered(t)
}

// TestAbortLeavesTheVolumesOfADyingCluster on Retain: its claims are still bound, and will be gone.
func TestAbortLeavesTheVolumesOfADyingCluster(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	_, plan := w.prepare(t, whole())
	w.before = func(call string) error {
		if call == "fence-prove" {
			w.Clusters[name].Deleting, w.Clusters[name].Looks = true, 9
			return errors.New("it let a request through")
		}
		return nil
	}
	require.ErrorIs(t, w.engine(dir).Start(t.Context(), plan), operation.ErrUnfinished)
	w.before = nil
	var said []string
	engine := w.engine(dir)
	engine.Events = func(e operation.Event) { said = append(said, e.Text) }
	require.NoError(t, engine.Abort(t.Context(), plan.ID, here))
	require.Contains(t, strings.Join(said, "\n"), "the volumes stay on Retain")
	for range 12 {
		fakeCluster{w}.pass(name)
	}
	require.Empty(t, w.Lost)
}

// TestGivenUpAndRecoveredAgain: a recovery that was disproved is no dead end.
func TestGivenUpAndRecoveredAgain(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	w.recovered.Rows = 0
	plan, err := w.run(t, dir, whole())
	require.ErrorIs(t, err, operation.ErrConflict)
	require.ErrorIs(t, w.engine(dir).Abort(t.Context(), plan.ID, here), operation.ErrPastReturn)
	give := here
	give.GiveUp = true
	require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, give))
	require.Empty(t, w.Fences)
	require.False(t, w.Schedules["nightly"])
	require.True(t, w.Servers[v1].Kept[backupID])
	view, err := operation.NewStore(dir).View(plan.ID)
	require.NoError(t, err)
	require.Equal(t, operation.PlanGivenUp, view.State)

	w.recovered.Rows, w.Lost = 4, nil
	second, err := w.run(t, dir, Options{Name: name, Push: true, SourceServer: v1})
	require.NoError(t, err)
	require.NotEqual(t, plan.ID, second.ID)
	require.Equal(t, w.recovered, w.Clusters[name].Data)
	require.Empty(t, w.Lost)
}

// TestCommitIsTakenBackOnlyWhereItIsOurs.
func TestCommitIsTakenBackOnlyWhereItIsOurs(t *testing.T) {
	dirty := &recovery.Problem{What: "the checkout has changes: notes.md", Next: "commit or stash them first", Err: recovery.ErrConflict}
	stop := func(t *testing.T, w *world) (string, operation.Plan) {
		dir := t.TempDir()
		_, plan := w.prepare(t, whole())
		w.before = func(call string) error {
			if call == "keep" {
				return recovery.ErrDenied
			}
			return nil
		}
		require.ErrorIs(t, w.engine(dir).Start(t.Context(), plan), operation.ErrUnfinished)
		w.before = nil
		return dir, plan
	}
	t.Run("a dirty tree is left alone, and named", func(t *testing.T) {
		w := newWorld()
		dir, plan := stop(t, w)
		w.dirty = dirty
		err := w.engine(dir).Abort(t.Context(), plan.ID, here)
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorContains(t, err, "notes.md")
		require.ErrorContains(t, err, "commit or stash them, then run the command again; then drctl abort "+plan.ID)
		require.Equal(t, v2, w.Tree)
		w.dirty = nil
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
		require.Equal(t, v1, w.Tree)
	})
	t.Run("reverted by hand", func(t *testing.T) {
		w := newWorld()
		dir, plan := stop(t, w)
		w.dirty, w.Tree = dirty, v1 // there are commits on top of it, one of which takes it back
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
	})
	t.Run("made by hand", func(t *testing.T) {
		w := newWorld()
		dir := t.TempDir()
		_, plan := w.prepare(t, whole())
		w.Tree = v2
		w.on("keep", func() { panic(errDied) })
		require.Panics(t, func() { _ = w.engine(dir).Start(t.Context(), plan) })
		_, facts, err := operation.NewStore(dir).Read(plan.ID)
		require.NoError(t, err)
		require.Equal(t, "by-hand", facts[factCommit])
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
		require.Equal(t, v2, w.Tree, "what the operator committed himself is not taken back")
	})
	t.Run("a change without its commit", func(t *testing.T) {
		w := newWorld()
		dir := t.TempDir()
		_, plan := w.prepare(t, whole())
		w.on("commit", func() { panic(errDied) })
		require.Panics(t, func() { _ = w.engine(dir).Start(t.Context(), plan) })
		w.dirty = dirty
		var said []string
		engine := w.engine(dir)
		engine.Events = func(e operation.Event) { said = append(said, e.Text) }
		require.NoError(t, engine.Abort(t.Context(), plan.ID, here))
		require.Contains(t, strings.Join(said, "\n"), "the plan has no commit, and the GitOps tree is left as it is: the checkout has changes: notes.md")
	})
}
