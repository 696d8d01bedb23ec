package restore

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// restores twists the end of movers that restore.
func restores(change func(m *mover)) func(w *world) {
	return func(w *world) {
		w.twist = func(m *mover) {
			if m.Destination != nil {
				change(m)
			}
		}
	}
}

func backups(change func(w *world, m *mover)) func(w *world) {
	return func(w *world) {
		w.twist = func(m *mover) {
			if m.Source != nil {
				change(w, m)
			}
		}
	}
}

// untold are movers whose word is not that the planned snapshot is there, whole.
func untold() map[string]struct {
	set  func(w *world)
	text string
} {
	return map[string]struct {
		set  func(w *world)
		text string
	}{
		"nothing": {restores(func(m *mover) { m.Data, m.restored = "", recovery.RestoreLog{Nothing: true} }), "the mover found no snapshot of data-pvc-backup@karakeep:/data, and restored nothing"},
		"another": {restores(func(m *mover) { m.Data, m.restored.SelectedID = "other", "s9" }), "the mover restored another snapshot: s9; expected snapshot s3 with 602 files"},
		"a checkpoint": {restores(func(m *mover) {
			m.Data, m.restored = "half", recovery.RestoreLog{SelectedID: "s4", Counted: true, FileCount: 1}
		}), "the mover restored another snapshot: s4"},
		"fewer files":       {restores(func(m *mover) { m.restored.FileCount = 1 }), "the mover restored 1 files"},
		"files passed over": {restores(func(m *mover) { m.restored.Errors = []string{"Kopia ignored 3 errors"} }), "files could not be written: Kopia ignored 3 errors"},
		"no count":          {restores(func(m *mover) { m.restored.Counted = false }), "no line of the mover says how many files it restored"},
		"no name":           {restores(func(m *mover) { m.restored.SelectedID = "" }), "no line of the mover names the snapshot that it restored"},
		"an error":          {restores(func(m *mover) { m.restored.Counted, m.restored.Errors = false, []string{"ERROR: no space left"} }), "the mover said: ERROR: no space left"},
		"a run that never was": {func(w *world) {
			w.silent = true
			restores(func(m *mover) { m.Image, m.Result, m.Completed = "", "", m.Trigger })(w)
		}, "no line of the mover names the snapshot that it restored"},
		"no line at all": {func(w *world) { w.silent = true }, "no line of the mover names the snapshot that it restored"},
	}
}

// TestUnprovenIsTakenBack: nothing of the claim was touched, so nothing is left of the plan.
func TestUnprovenIsTakenBack(t *testing.T) {
	for name, lie := range untold() {
		for mode, o := range map[string]Options{"replace": options(nil), "beside": options(func(o *Options) { o.NewName = "copy" })} {
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()
				w, dir := newWorld(), t.TempDir()
				lie.set(w)
				before := w.picture()
				plan, err := w.run(t, dir, o)
				require.ErrorIs(t, err, recovery.ErrPartial)
				require.ErrorIs(t, err, ErrUnproven)
				require.NotErrorIs(t, err, operation.ErrUnfinished)
				require.ErrorContains(t, err, lie.text)
				require.ErrorContains(t, err, "nothing of the claim was touched, and what drctl made is removed")
				require.Regexp(t, `\(.*(drctl pvc |mend that)`, err.Error())
				require.Equal(t, before, w.picture())
				for _, call := range []string{"delete-pod", "delete-claim", "create-claim", "set-policy", "fence-up"} {
					require.NotContains(t, w.calls, call)
				}
				view, err := operation.NewStore(dir).View(plan.ID)
				require.NoError(t, err)
				require.Equal(t, operation.PlanAborted, view.State)
			})
		}
	}
}

// TestUnprovenInPlace: the volume was written into. No Pod is let at it, and the way back is named.
func TestUnprovenInPlace(t *testing.T) {
	for name, lie := range untold() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, dir := newWorld(), t.TempDir()
			lie.set(w)
			plan, err := w.run(t, dir, options(func(o *Options) { o.Mode = InPlace }))
			require.ErrorIs(t, err, operation.ErrUnfinished)
			require.ErrorIs(t, err, ErrUnproven)
			require.ErrorContains(t, err, lie.text)
			require.ErrorContains(t, err, "the volume as it was is VolumeSnapshot "+safetyName(plan.ID))
			require.Equal(t, live, w.Images[namespace+"/"+safetyName(plan.ID)].Data)
			require.Len(t, w.Fences, 1)
			for range 200 {
				w.pass()
			}
			require.Empty(t, w.Pods)

			give := here
			give.GiveUp = true
			require.ErrorIs(t, w.engine(dir).Abort(t.Context(), plan.ID, here), operation.ErrPastReturn)
			require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, give))
			require.Empty(t, w.Fences)
			require.Empty(t, w.Movers)
			require.Len(t, w.Images, 1, "the way back stays")
		})
	}
}

// TestDisprovedIsTriedAgain: who resumes has mended the cause, and the mover runs once more.
func TestDisprovedIsTriedAgain(t *testing.T) {
	for name, lie := range untold() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, dir := newWorld(), t.TempDir()
			lie.set(w)
			plan, err := w.run(t, dir, options(inPlace))
			require.ErrorIs(t, err, ErrUnproven)
			require.ErrorContains(t, err, "to give up, drctl abort "+plan.ID+" --give-up")
			require.ErrorIs(t, w.use().Resume(t.Context(), w.engine(dir), plan, here), ErrUnproven, "nothing was mended")
			w.twist, w.silent = nil, false
			require.NoError(t, w.use().Resume(t.Context(), w.engine(dir), plan, here))
			require.Equal(t, w.Contents["s3"], w.Volumes[w.Claims[target].Volume].Data)
			require.Empty(t, w.Fences)
			require.Empty(t, w.Lost)
		})
	}
}

// short makes one step wait a moment only.
func short(plan operation.Plan, kind string) operation.Plan {
	for i := range plan.Steps {
		if plan.Steps[i].Kind == kind {
			plan.Steps[i].Timeout = 60 * time.Millisecond
		}
	}
	return plan
}

// TestGuardsFire: each lie and each change behind the plan's back stops it, with what to type next.
func TestGuardsFire(t *testing.T) {
	deletedAt := func(call string, do func(w *world)) func(w *world) {
		return func(w *world) { w.on(call, func() { do(w) }) }
	}
	destination := func(w *world) *mover { return w.Movers[sorted(w.Movers)[0]] }
	cases := map[string]struct {
		set     func(w *world)
		options Options
		step    string
		kind    error
		text    string
		next    string
		// live: the old data must still be in use, under their claim.
		live bool
	}{
		"a mover that fails": {set: restores(func(m *mover) { m.Result, m.Logs = "Failed", "x\nERROR: no route to host" }), kind: operation.ErrConflict,
			text: "the mover failed: ", next: "VolSync tries again by itself; mend the cause (kubectl -n karakeep describe replicationdestination", live: true},
		"a swallowed trigger": {set: restores(func(m *mover) { m.Condition = "swallowed" }), step: stepRestored, kind: operation.ErrNotVerified,
			text: "the mover is at work", next: "drctl resume", live: true},
		"no controller": {set: func(w *world) { w.on("destination", func() { destination(w).Paused = true }) }, kind: operation.ErrConflict,
			text: "is paused: it would never run", next: `-p '{"spec":{"paused":false}}'`, live: true},
		"a destination that somebody deleted": {set: deletedAt("destination", func(w *world) { w.Movers = map[string]*mover{} }), kind: operation.ErrConflict,
			text: "is gone: somebody deleted it", next: "drctl abort", live: true},
		"an image that does not come": {set: restores(func(m *mover) { m.Image = "" }), step: stepRestored, kind: operation.ErrNotVerified,
			text: "the mover is done, its VolumeSnapshot is not ready", next: "drctl resume", live: true},
		"a volume that is gone": {set: deletedAt("volume", func(w *world) { delete(w.Volumes, w.Claims[target].Volume) }), kind: operation.ErrConflict,
			text: "is gone", next: "drctl abort"},
		"a fence that lets through": {set: func(w *world) { w.on("fence-prove", func() { w.Fences = map[string]Hold{} }) }, text: "it let a request through", next: "drctl abort", live: true},
		"a Pod on a lost node": {set: deletedAt("fence-up", func(w *world) {
			for _, p := range w.Pods {
				p.Node, p.NodeLost = "worker-2", true
			}
		}), step: stepStop, kind: operation.ErrNotVerified, text: "on node worker-2, which does not answer", next: "drctl resume", live: true},
		"a Pod of nobody": {set: deletedAt("fence-up", func(w *world) {
			w.Pods["karakeep/shell"] = &pod{Namespace: namespace, Claim: name, MountingPod: recovery.MountingPod{Name: "shell", UID: "p", Phase: "Running"}}
		}), kind: operation.ErrConflict, text: "no controller made it, so nobody would bring it back", next: "stop it yourself", live: true},
		"set back to Delete": {set: deletedAt("fence-prove", func(w *world) { w.Volumes[w.Claims[target].Volume].ReclaimPolicy = "Delete" }), kind: operation.ErrConflict,
			text: "is not on Retain any more, and would go with it", next: "kubectl get pv pv-claim-1", live: true},
		"replaced before the deletion": {set: deletedAt("fence-prove", func(w *world) { w.recreate(target) }), kind: operation.ErrConflict,
			text: "is not the one that the plan was made for", next: "drctl abort", live: true},
		"replaced in the last moment": {set: deletedAt("delete-claim", func(w *world) { w.recreate(target) }), kind: recovery.ErrConflict,
			text: "the UID is another one", next: "drctl abort", live: true},
		"a claim that is held": {set: deletedAt("delete-claim", func(w *world) {
			w.Pods["karakeep/late"] = &pod{Namespace: namespace, Claim: name, MountingPod: recovery.MountingPod{Name: "late", UID: "p", Phase: "Succeeded"}}
		}), step: stepGone, kind: operation.ErrNotVerified, text: "claim karakeep/data-pvc is held; waiting for Pod late (succeeded) to go", next: "drctl resume"},
		"generated objects that stay": {set: deletedAt("delete-claim", func(w *world) {
			w.before = func(string) error {
				w.Generated["Secret "+target] = &recovery.GeneratedObject{Kind: "Secret", Name: "data-pvc-backup", UID: "g", ClaimUID: "claim-1"}
				return nil
			}
		}), step: stepGone, kind: operation.ErrNotVerified, text: "waiting for Kyverno to remove", next: "drctl resume"},
		"a stranger's claim": {set: deletedAt("create-claim", func(w *world) { w.newClaim(w.git[target], "somebody") }), kind: operation.ErrConflict,
			text: "a claim karakeep/data-pvc stands there that this plan did not create", next: "look at it, and delete it if it is empty (its volume is pv-claim-"},
		"a populator that is stuck": {set: func(w *world) { w.stuckPopulator = true }, step: stepBound, kind: operation.ErrNotVerified,
			text: "it is Pending: waiting for a volume to be created", next: "drctl resume"},
		"our claim, about to be deleted": {set: deletedAt("create-claim", func(w *world) {
			w.on("generated", func() {})
			w.before = func(call string) error {
				if claim := w.Claims[target]; call == "claim" && claim != nil && claim.Phase == bound {
					claim.Deleting = true
				}
				return nil
			}
		}), kind: operation.ErrConflict, text: "somebody deleted it", next: "--give-up) and restore karakeep/data-pvc again"},
		"our claim, deleted": {set: func(w *world) {
			w.stuckPopulator = true
			w.on("create-claim", func() { w.on("claim", func() { w.on("claim", func() { delete(w.Claims, target) }) }) })
		}, kind: operation.ErrConflict, text: "claim karakeep/data-pvc is gone: somebody deleted it", next: "--give-up) and restore karakeep/data-pvc again"},
		"the old volume again": {set: deletedAt("create-claim", func(w *world) {
			w.on("claim", func() {
				w.Claims[target].Phase, w.Claims[target].Volume = bound, "pv-claim-1"
			})
		}), kind: operation.ErrConflict, text: "is bound to its old volume pv-claim-1 again", next: "drctl resume"},
		"a backup that made nothing": {set: backups(func(w *world, m *mover) { w.Repo, m.backedUp = w.Repo[:len(w.Repo)-1], recovery.BackupLog{} }), step: stepProveBackup,
			kind: operation.ErrNotVerified, text: "the repository has no new complete snapshot of data-pvc-backup@karakeep:/data", next: "drctl resume"},
		"a backup that never ran": {set: backups(func(w *world, m *mover) { w.Repo, m.Result, m.Completed = w.Repo[:len(w.Repo)-1], "", m.Trigger }), kind: ErrUnproven,
			text: "VolSync reports a run that never was", next: "drctl pvc backup karakeep/data-pvc; drctl abort"},
		"a paused backup": {set: backups(func(w *world, m *mover) {
			w.Repo, m.Result, m.Completed, m.Paused = w.Repo[:len(w.Repo)-1], "", m.Trigger, true
		}), kind: ErrUnproven, text: "-b is paused", next: "drctl pvc backup karakeep/data-pvc; drctl abort"},
		"a paused destination": {set: restores(func(m *mover) { m.Image, m.Result, m.Completed, m.Paused = "", "", m.Trigger, true }), kind: operation.ErrConflict,
			text: "is paused: VolSync reports a run that never was", next: `-p '{"spec":{"paused":false}}'`, live: true},
		"a backup of another": {set: backups(func(w *world, m *mover) { m.backedUp.SnapshotID = "elsewhere" }), step: stepProveBackup,
			kind: operation.ErrNotVerified, text: "nor the mover's elsewhere", next: "drctl resume"},
		"half a backup": {set: backups(func(w *world, m *mover) { w.Repo[len(w.Repo)-1].Incomplete = "canceled" }), step: stepProveBackup,
			kind: operation.ErrNotVerified, text: "the repository has no new complete snapshot", next: "drctl resume"},
		"an empty volume": {set: backups(func(w *world, m *mover) { m.backedUp = recovery.BackupLog{Empty: true} }), kind: ErrUnproven,
			text: "an empty volume makes no snapshot", next: "drctl abort"},
		"a safety snapshot that fails": {options: options(func(o *Options) { o.Mode = InPlace }), set: func(w *world) {
			w.on("volume-snapshot", func() {
				w.before = func(string) error {
					for _, i := range w.Images {
						i.Error = "quota exceeded"
					}
					return nil
				}
			})
		}, step: stepSafety, kind: operation.ErrNotVerified, text: "the snapshotter says: quota exceeded", next: "drctl abort", live: true},
		"a snapshot that expired meanwhile": {options: options(inPlace), set: deletedAt("volume-snapshot", func(w *world) { w.Repo = slices.Delete(w.Repo, 2, 3) }),
			kind: operation.ErrConflict, text: "it is not in the repository any more, and it empties the volume first", next: "drctl abort", live: true},
		"a snapshot that is another by now": {options: options(inPlace), set: deletedAt("volume-snapshot", func(w *world) { w.Repo[2].Incomplete = "checkpoint" }),
			kind: operation.ErrConflict, text: "the mover would select another one now", next: "drctl pvc snapshots", live: true},
		"a backup that runs in place": {options: options(func(o *Options) { o.Mode = InPlace }), set: func(w *world) {
			w.on("fence-up", func() { w.running = []string{"data-pvc-backup"} })
		}, step: stepStop, kind: operation.ErrNotVerified, text: "ReplicationSource data-pvc-backup is backing it up right now", next: "drctl abort", live: true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, dir := newWorld(), t.TempDir()
			o := test.options
			if o.Name == "" {
				o = options(nil)
			}
			_, plan := w.prepare(t, o)
			test.set(w)
			err := w.use().Run(t.Context(), w.engine(dir), short(plan, test.step))
			require.ErrorIs(t, err, operation.ErrUnfinished)
			if test.kind != nil {
				require.ErrorIs(t, err, test.kind)
			}
			require.ErrorContains(t, err, test.text)
			require.ErrorContains(t, err, test.next)
			require.NotErrorIs(t, err, recovery.ErrPartial)
			require.Empty(t, w.Lost)
			if test.live {
				require.False(t, w.Claims[target].Deleting)
				require.Equal(t, live, w.Volumes[w.Claims[target].Volume].Data)
			}
		})
	}
}
