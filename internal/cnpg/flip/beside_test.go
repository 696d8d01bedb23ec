package flip

import (
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
// TestDeletedBySomebodyElse goes on, and cannot be aborted any more: the volumes must stay.
// TestAbortLeavesTheVolumesOfADyingCluster on Retain: its claims are still bound, and will be gone.
// TestGivenUpAndRecoveredAgain: a recovery that was disproved is no dead end.
// TestCommitIsTakenBackOnlyWhereItIsOurs.
