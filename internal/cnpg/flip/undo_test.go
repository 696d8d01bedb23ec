package flip

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

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

// TestAMarkThatStoodBefore is not the plan's, and stays.
func TestAMarkThatStoodBefore(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	w.Servers[v1].Kept[backupID] = true
	before := w.picture()
	_, plan := w.prepare(t, Options{Name: name, Push: true})
	w.on("fence-prove", func() { panic(errDied) })
	require.Panics(t, func() { _ = w.engine(dir).Start(t.Context(), plan) })
	require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
	require.Equal(t, before, w.picture())
}
