package restore

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// stopAt runs a plan until it is denied a call.
func (w *world) stopAt(t *testing.T, dir, stop string, o Options) (*Prepared, operation.Plan) {
	t.Helper()
	prepared, plan := w.prepare(t, o)
	w.before = func(call string) error {
		if call == stop {
			return recovery.ErrDenied
		}
		return nil
	}
	require.ErrorIs(t, w.use().Run(t.Context(), w.engine(dir), plan), operation.ErrUnfinished)
	w.before = nil
	return prepared, plan
}

// said collects what an engine tells people.
func said(engine *operation.Engine) *[]string {
	var all []string
	engine.Events = func(e operation.Event) { all = append(all, e.Text) }
	return &all
}

var giveUp = operation.ResumeOptions{ClusterUID: clusterUID, Context: "home", GiveUp: true}

// TestADeletionInFlight: a DELETE whose answer was lost may still arrive while abort looks.
func TestADeletionInFlight(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	s := scenarios()["replace"]
	prepared, plan := w.stopAt(t, dir, "delete-claim", s.options)
	looks := 0
	w.before = func(string) error {
		if looks++; looks == 3 {
			w.delete(target)
		}
		return nil
	}
	require.ErrorIs(t, w.engine(dir).Abort(t.Context(), plan.ID, here), operation.ErrPastReturn)
	w.before = nil
	require.Equal(t, retain, w.Volumes[prepared.Params.OldVolume.Name].ReclaimPolicy)
	require.NoError(t, w.use().Resume(t.Context(), w.engine(dir), plan, here))
	w.requireRestored(t, s, prepared.Params, plan.ID)
}

// TestDeletedBySomebodyElse: the claim goes while it is being fenced.
func TestDeletedBySomebodyElse(t *testing.T) {
	t.Run("the plan goes on", func(t *testing.T) {
		w := newWorld()
		s := scenarios()["replace"]
		prepared, plan := w.prepare(t, s.options)
		w.on("fence-prove", func() { w.delete(target) })
		require.NoError(t, w.use().Run(t.Context(), w.engine(t.TempDir()), plan))
		w.requireRestored(t, s, prepared.Params, plan.ID)
	})
	t.Run("with its volume, which was on Delete", func(t *testing.T) {
		w, dir := newWorld(), t.TempDir()
		_, plan := w.prepare(t, options(nil))
		w.on("fence-prove", func() {
			v := w.Volumes[w.Claims[target].Volume]
			delete(w.Volumes, v.Name)
			delete(w.Claims, target)
		})
		require.NoError(t, w.use().Run(t.Context(), w.engine(dir), plan), "the restored data are all there is")
		require.Equal(t, "data of s3", w.Volumes[w.Claims[target].Volume].Data)
	})
	t.Run("abort leaves a volume whose claim goes on Retain", func(t *testing.T) {
		w, dir := newWorld(), t.TempDir()
		prepared, plan := w.stopAt(t, dir, "fence-prove", options(nil))
		w.Pods["karakeep/late"] = &pod{Namespace: namespace, Claim: name, MountingPod: recovery.MountingPod{Name: "late", UID: "p", Phase: "Succeeded"}}
		w.delete(target)
		engine := w.engine(dir)
		texts := said(engine)
		require.NoError(t, engine.Abort(t.Context(), plan.ID, here))
		require.Contains(t, strings.Join(*texts, "\n"), "stays on Retain: its claim is going")
		delete(w.Pods, "karakeep/late")
		w.app = nil
		w.picture()
		require.Empty(t, w.Lost)
		require.NotNil(t, w.Volumes[prepared.Params.OldVolume.Name])
	})
}

// TestAFenceThatFell: while nobody was at the plan its fence expired, and the Pods came back.
func TestAFenceThatFell(t *testing.T) {
	for name, stop := range map[string]string{"replace": "delete-claim", "in place": "create-destination"} {
		t.Run(name, func(t *testing.T) {
			w, dir := newWorld(), t.TempDir()
			s := scenarios()[name]
			prepared, plan := w.stopAt(t, dir, stop, s.options)
			w.Fences = map[string]Hold{}
			for range 200 {
				w.pass()
			}
			require.NotEmpty(t, w.Pods)
			begin := len(w.calls)
			require.NoError(t, w.use().Resume(t.Context(), w.engine(dir), plan, here))
			require.Contains(t, w.calls[begin:], "fence-prove", "what is put up anew is proven anew")
			w.requireRestored(t, s, prepared.Params, plan.ID)
		})
	}
}

// TestTheFenceOutlivesTheMover: in place Pods must stay away for as long as the mover may write.
func TestTheFenceOutlivesTheMover(t *testing.T) {
	w := newWorld()
	_, plan := w.prepare(t, options(func(o *Options) { o.Mode, o.Timeout = InPlace, 5*fenceLife }))
	hold, err := w.use().hold(&operation.Run{Plan: &plan})
	require.NoError(t, err)
	require.True(t, hold.Expires.After(noon.Add(5*fenceLife)))
	require.Equal(t, "volsync-dst-"+plan.ID, hold.ExemptJob)
	require.Nil(t, hold.Manifest)
}

// TestGivenUp: what must not outlive the plan goes, the rest stays, and it can be restored again.
func TestGivenUp(t *testing.T) {
	t.Run("a claim that was never populated keeps its source", func(t *testing.T) {
		w, dir := newWorld(), t.TempDir()
		w.stuckPopulator = true
		prepared, plan := w.prepare(t, options(nil))
		require.ErrorIs(t, w.use().Run(t.Context(), w.engine(dir), short(plan, stepBound)), operation.ErrNotVerified)
		engine := w.engine(dir)
		texts := said(engine)
		require.NoError(t, engine.Abort(t.Context(), plan.ID, giveUp))
		require.Contains(t, strings.Join(*texts, "\n"), "claim karakeep/data-pvc is still to be populated from it")
		require.Empty(t, w.Fences)
		require.Len(t, w.Movers, 1)
		w.stuckPopulator = false
		w.picture()
		require.Equal(t, "data of s3", w.Volumes[w.Claims[target].Volume].Data)
		require.Equal(t, retain, w.Volumes[prepared.Params.OldVolume.Name].ReclaimPolicy)
		require.Empty(t, w.Lost)
	})
	t.Run("in place the Pods wait for the mover's Pod to go", func(t *testing.T) {
		w, dir := newWorld(), t.TempDir()
		prepared, plan := w.prepare(t, options(func(o *Options) { o.Mode = InPlace }))
		restores(func(m *mover) { m.Condition = "swallowed" })(w)
		require.ErrorIs(t, w.use().Run(t.Context(), w.engine(dir), short(plan, stepRestored)), operation.ErrNotVerified)
		w.Pods["karakeep/mover"] = &pod{Namespace: namespace, Claim: name, MountingPod: recovery.MountingPod{Name: "mover", UID: "m", Phase: "Running", Mover: true, Job: moverJob(plan.ID), Deleting: true}}
		w.before = func(call string) error {
			if call == "fence-down" {
				require.NotContains(t, w.Pods, "karakeep/mover")
			}
			return nil
		}
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, giveUp))
		w.before, w.twist = nil, nil
		w.picture()
		require.Len(t, w.Pods, len(prepared.Params.Pods))
		_, err := w.run(t, t.TempDir(), options(nil))
		require.NoError(t, err, "and it can be restored after that")
	})
}

// TestAnApplicationGivesUpLate: it was still at it when the fence fell, and gives up a moment later.
func TestAnApplicationGivesUpLate(t *testing.T) {
	w := newWorld()
	s := scenarios()["replace"]
	prepared, plan := w.prepare(t, s.options)
	looks := 0
	w.before = func(call string) error {
		if call == "settled" {
			looks++
			w.unwell = "Progressing"
			if looks > 3 && w.synced == 0 {
				w.gaveUp, w.unwell = true, ""
			} else if w.synced > 0 {
				w.unwell = ""
			}
		}
		return nil
	}
	require.NoError(t, w.use().Run(t.Context(), w.engine(t.TempDir()), plan))
	require.Equal(t, 1, w.synced)
	w.requireRestored(t, s, prepared.Params, plan.ID)
}

// TestControllersThatAreNotTouched: one that is gone, and one that drctl does not know, stop nothing.
func TestControllersThatAreNotTouched(t *testing.T) {
	for _, cause := range []error{recovery.ErrNotFound, recovery.ErrUnsupported, recovery.ErrDenied} {
		w, dir := newWorld(), t.TempDir()
		s := scenarios()["replace"]
		prepared, plan := w.prepare(t, s.options)
		w.before = func(call string) error {
			if call == "touch" {
				return cause
			}
			return nil
		}
		engine := w.engine(dir)
		texts := said(engine)
		require.NoError(t, w.use().Run(t.Context(), engine, plan))
		require.Contains(t, strings.Join(*texts, "\n"), "ReplicaSet web-data-pvc is not touched")
		w.requireRestored(t, s, prepared.Params, plan.ID)
	}
}

// TestACopyInUseStays: abort does not take a claim away that somebody mounts.
func TestACopyInUseStays(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	_, plan := w.stopAt(t, dir, "release-claim", options(func(o *Options) { o.NewName = "copy" }))
	w.Pods["karakeep/look"] = &pod{Namespace: namespace, Claim: "copy", MountingPod: recovery.MountingPod{Name: "look", UID: "p", Phase: "Running"}}
	engine := w.engine(dir)
	texts := said(engine)
	require.NoError(t, engine.Abort(t.Context(), plan.ID, here))
	require.Contains(t, strings.Join(*texts, "\n"), "claim karakeep/copy stays: Pod look mounts it")
	require.False(t, w.Claims["karakeep/copy"].Deleting)
}

// TestSomebodyElsesDestination is never touched, nor taken for the plan's own.
func TestSomebodyElsesDestination(t *testing.T) {
	foreign := func(plan operation.Plan) *mover {
		return &mover{MoverRun: recovery.MoverRun{Name: plan.ID, PlanID: "another", Trigger: "x", Completed: "x"}, Destination: &Destination{}}
	}
	for _, o := range []Options{options(nil), options(func(o *Options) { o.Mode = InPlace })} {
		w, dir := newWorld(), t.TempDir()
		_, plan := w.prepare(t, o)
		key := "destination " + namespace + "/" + plan.ID
		w.on("create-destination", func() { w.Movers[key] = foreign(plan) })
		err := w.use().Run(t.Context(), w.engine(dir), plan)
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorIs(t, err, recovery.ErrExists)
		require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
		require.Contains(t, w.Movers, key)
	}
	w := newWorld()
	_, plan := w.prepare(t, options(nil))
	w.Movers["destination "+namespace+"/"+plan.ID] = foreign(plan)
	err := w.use().Run(t.Context(), w.engine(t.TempDir()), plan)
	require.ErrorIs(t, err, operation.ErrConflict)
	require.NotErrorIs(t, err, operation.ErrUnfinished, "nothing was changed")
}

// TestNobodyHeardTheMover: another process went on, and the first one's mover is gone with its lines.
func TestNobodyHeardTheMover(t *testing.T) {
	for _, name := range []string{"replace", "in place", "beside"} {
		w, dir := newWorld(), t.TempDir()
		s := scenarios()[name]
		prepared, plan := w.prepare(t, s.options)
		w.on("destination", func() {
			w.before = func(call string) error {
				if call == "mover-log" {
					panic(errDied)
				}
				return nil
			}
		})
		require.PanicsWithError(t, errDied.Error(), func() { _ = w.use().Run(t.Context(), w.engine(dir), plan) })
		w.before = nil
		begin := len(w.calls)
		require.NoError(t, w.use().Resume(t.Context(), w.engine(dir), plan, here))
		require.Contains(t, w.calls[begin:], "rerun")
		w.requireRestored(t, s, prepared.Params, plan.ID)
	}
}

// TestTakingBackFails: both failures are told, and the plan is still there.
func TestTakingBackFails(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	restores(func(m *mover) { m.restored.SelectedID = "other" })(w)
	_, plan := w.prepare(t, options(nil))
	w.before = func(call string) error {
		if call == "remove" {
			return errors.New("the webhook says no")
		}
		return nil
	}
	err := w.use().Run(t.Context(), w.engine(dir), plan)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, "the mover restored another snapshot")
	require.ErrorContains(t, err, "the webhook says no")
	w.before = nil
	require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
	require.Empty(t, w.Movers)
}
