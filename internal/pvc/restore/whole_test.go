package restore

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// scenario is a world with what is asked of it.
type scenario struct {
	set     func(w *world)
	options Options
	// data is what the volume holds in the end, at which claim.
	data string
	at   string
}

func options(change func(o *Options)) Options {
	o := Options{Namespace: namespace, Name: name}
	if change != nil {
		change(&o)
	}
	return o
}

// gone takes the claim away, before the plan is made: nothing but its snapshots is left.
func (w *world) gone() {
	delete(w.Claims, target)
	w.Volumes, w.Pods, w.Generated = map[string]*disk{}, map[string]*pod{}, map[string]*recovery.GeneratedObject{}
	w.gaveUp = true
}

func waits(w *world) {
	class := w.classes["longhorn"]
	class.WaitsForConsumer = true
	w.classes["longhorn"] = class
}

// unlabelled takes the backup label off the claim.
func unlabelled(w *world) {
	w.Claims[target].Backup = ""
	w.Claims[target].Manifest = json.RawMessage(`{"metadata":{"namespace":"karakeep","name":"data-pvc"},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"longhorn","resources":{"requests":{"storage":"10Gi"}}}}`)
	w.Generated = map[string]*recovery.GeneratedObject{}
}

func scenarios() map[string]scenario {
	inPlace := func(change func(o *Options)) Options {
		return options(func(o *Options) {
			o.Mode = InPlace
			if change != nil {
				change(o)
			}
		})
	}
	return map[string]scenario{
		"replace":                {options: options(nil), data: "data of s3"},
		"replace, previous":      {options: options(func(o *Options) { o.Choice = pvc.Choice{Previous: 2} }), data: "data of s1"},
		"replace, by ID":         {options: options(func(o *Options) { o.SnapshotID = "s2" }), data: "data of s2"},
		"replace, as of":         {options: options(func(o *Options) { o.AsOf = noon.Add(-150 * 60 * 1e9) }), data: "data of s2"},
		"replace, consumer":      {set: waits, options: options(nil), data: "data of s3"},
		"replace, no label":      {set: unlabelled, options: options(nil), data: "data of s3"},
		"replace, keep":          {options: options(func(o *Options) { o.Keep = true }), data: "data of s3"},
		"replace, no backup":     {options: options(func(o *Options) { o.NoBackup = true }), data: "data of s3"},
		"replace, from another":  {set: func(w *world) { w.protect("other/src", 0) }, options: options(func(o *Options) { o.FromNamespace, o.FromName = "other", "src" }), data: "data of srcs3"},
		"replace, stateful":      {set: func(w *world) { w.Controllers["web-"+target].keeps = true }, options: options(nil), data: "data of s3"},
		"replace, Argo gives up": {set: func(w *world) { w.leaks = true }, options: options(nil), data: "data of s3"},
		"gone, tree": {set: func(w *world) {
			w.gone()
			w.tree[target] = &recovery.LiveClaim{Namespace: namespace, Name: name, Backup: "hourly", StorageClass: "longhorn", AccessModes: []string{"ReadWriteOnce"}, RequestBytes: 10 * gib, Manifest: w.git[target]}
		}, options: options(nil), data: "data of s3"},
		"gone, flags":      {set: (*world).gone, options: options(func(o *Options) { o.SizeBytes, o.StorageClass = 10*gib, "longhorn" }), data: "data of s3"},
		"in place":         {options: inPlace(nil), data: "data of s3"},
		"in place, merge":  {options: inPlace(func(o *Options) { o.Merge = true }), data: "data of s3 over live"},
		"in place, unsafe": {options: inPlace(func(o *Options) { o.NoSafety = true }), data: "data of s3"},
		"beside":           {options: options(func(o *Options) { o.NewName = "copy" }), data: "data of s3", at: namespace + "/copy"},
		"beside, consumer": {set: waits, options: options(func(o *Options) { o.NewName = "copy" }), data: "data of s3", at: namespace + "/copy"},
	}
}

// begin is the world of a scenario.
func (s scenario) begin() *world {
	w := newWorld()
	if s.set != nil {
		s.set(w)
	}
	return w
}

// prepare makes a plan in this world.
func (w *world) prepare(t *testing.T, o Options) (*Prepared, operation.Plan) {
	t.Helper()
	use := w.use()
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
	return plan, w.use().Run(t.Context(), w.engine(dir), plan)
}

// requireRestored: the data are back, the old ones kept, and nothing of drctl's is left.
func (w *world) requireRestored(t *testing.T, s scenario, p *Params, planID string, note ...any) {
	t.Helper()
	require.Empty(t, w.Lost, note...)
	w.mu.Lock()
	defer w.mu.Unlock()
	at := s.at
	if at == "" {
		at = target
	}
	claim := w.Claims[at]
	require.NotNil(t, claim, note...)
	require.Equal(t, s.data, w.Volumes[claim.Volume].Data, note...)
	require.Empty(t, claim.PlanID, note...)
	require.Empty(t, w.Fences, note...)
	if p.Keep {
		require.Len(t, w.Movers, 2)
	} else {
		require.Empty(t, w.Movers, note...)
	}
	for _, pod := range w.Pods {
		require.Empty(t, pod.PlanID, note...)
	}
	if len(p.Pods) > 0 {
		ready := 0
		for _, pod := range w.Pods {
			if pod.Ready && pod.Namespace+"/"+pod.Claim == target {
				ready++
			}
		}
		require.Equal(t, len(p.Pods), ready, note...)
	}
	switch {
	case p.Mode == InPlace:
		require.Equal(t, p.OldUID, claim.UID, note...)
		if before := w.Images[namespace+"/"+safetyName(planID)]; !p.NoSafety {
			require.NotNil(t, before, note...)
			require.Equal(t, live, before.Data, note...)
		} else {
			require.Empty(t, w.Images)
		}
	case p.Mode == Beside:
		require.Empty(t, claim.Backup, note...)
		require.Equal(t, live, w.Volumes[w.Claims[target].Volume].Data, note...)
		require.Equal(t, "Delete", w.Volumes[w.Claims[target].Volume].ReclaimPolicy, note...)
	case p.OldUID != "":
		require.NotEqual(t, p.OldUID, claim.UID, note...)
		old := w.Volumes[p.OldVolume.Name]
		require.NotNil(t, old, note...)
		require.Equal(t, []string{live, retain, "Released"}, []string{old.Data, old.ReclaimPolicy, old.Phase}, note...)
	}
	newest := w.Repo[len(w.Repo)-1]
	require.Equal(t, p.Backup, newest.StartTime.After(noon), note...)
	if p.Backup {
		require.Equal(t, s.data, w.Contents[newest.ID], note...)
		require.Equal(t, identity, newest.Source, note...)
	}
}

func TestWholeRestores(t *testing.T) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, dir := s.begin(), t.TempDir()
			prepared, plan := w.prepare(t, s.options)
			require.NoError(t, w.use().Run(t.Context(), w.engine(dir), plan))
			w.requireRestored(t, s, prepared.Params, plan.ID)
			view, err := operation.NewStore(dir).View(plan.ID)
			require.NoError(t, err)
			require.Equal(t, operation.PlanFinished, view.State)
			require.NotEqual(t, InPlace == prepared.Params.Mode, slices.Contains(w.calls, "admit"))
			require.Equal(t, s.options.Mode == InPlace, prepared.Params.Manifest == nil)
			if w.leaks {
				require.Equal(t, 1, w.synced, "an Application that gave up is told to try again")
			}
		})
	}
}

func kinds(plan operation.Plan) []string {
	var kinds []string
	for _, step := range plan.Steps {
		kinds = append(kinds, step.Kind)
	}
	return kinds
}

func TestTheOrder(t *testing.T) {
	w := newWorld()
	waits(w)
	_, plan := w.prepare(t, options(nil))
	require.Equal(t, []string{
		stepDestination, stepRestored, stepProve, stepRetain, stepFence, stepStop, stepDelete, stepGone, stepCreate, stepConsumer, stepBound, stepNoConsumer,
		stepLift, stepWorkloads, stepSettle, stepFirstBackup, stepBackedUp, stepProveBackup, stepCleanUp, stepReleaseClaim,
	}, kinds(plan))
	for _, step := range plan.Steps {
		require.Equal(t, step.Kind == stepDelete, step.PointOfNoReturn, step.Kind)
	}
	_, plan = w.prepare(t, options(func(o *Options) { o.Mode = InPlace }))
	require.Equal(t, []string{
		stepFence, stepStop, stepSafety, stepWriteInto, stepRestored, stepProve, stepLift, stepWorkloads, stepSettle, stepFirstBackup, stepBackedUp, stepProveBackup, stepCleanUp,
	}, kinds(plan))
	for _, step := range plan.Steps {
		require.Equal(t, step.Kind == stepWriteInto, step.PointOfNoReturn, step.Kind)
	}
	_, plan = w.prepare(t, options(func(o *Options) { o.NewName = "copy" }))
	require.Equal(t, []string{stepDestination, stepRestored, stepProve, stepCreate, stepConsumer, stepBound, stepNoConsumer, stepCleanUp, stepReleaseClaim}, kinds(plan))
	for _, step := range plan.Steps {
		require.False(t, step.PointOfNoReturn, step.Kind)
	}
}
