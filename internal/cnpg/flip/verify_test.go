package flip

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// byHand is a world in which somebody flipped the database without drctl, and did not hand it back.
func byHand() *world {
	w := newWorld()
	w.gone(false)
	w.Tree, w.RemoteServer = v2, v2
	w.appear(manifest{
		Namespace: namespace, Name: name, Server: v2, Bootstrap: "recovery", Source: v1, Backup: backupID, Class: "longhorn", Database: "immich",
	})
	w.Clusters[name].Looks = 0
	fakeCluster{w}.pass(name)
	w.Servers[v2] = &server{WAL: true, Kept: map[string]bool{}, Newest: &recovery.Backup{ID: "20261123T110000", Timeline: 2, SystemID: systemID}}
	return w
}

func (w *world) verify(t *testing.T, known *Known, sql string) (*VerifyReport, error) {
	t.Helper()
	use := w.flip()
	live, db, err := use.Locate(t.Context(), "", name)
	require.NoError(t, err)
	return use.Verify(t.Context(), live, db, known, sql)
}

func results(report *VerifyReport) map[string]Result {
	all := map[string]Result{}
	for _, check := range report.Checks {
		all[check.Name] = check.Result
	}
	return all
}

// TestVerify: each check alone is disproved or unknown, and the report is as bad as its worst check.
func TestVerify(t *testing.T) {
	all := func(change map[string]Result) map[string]Result {
		want := map[string]Result{}
		for _, check := range []string{"origin", "volumes", "systemIdentifier", "timeline", "forkLSN", "rows", "archiving", "backup"} {
			want[check] = Proven
		}
		for check, result := range change {
			want[check] = result
		}
		return want
	}
	live := func(change func(*cluster)) func(*world) { return func(w *world) { change(w.Clusters[name]) } }
	cases := map[string]struct {
		change func(*world)
		sql    string
		want   map[string]Result
		result Result
	}{
		"recovered":           {nil, "", nil, Proven},
		"by a query":          {nil, "t", nil, Proven},
		"a query says 0":      {nil, "0", map[string]Result{"rows": Disproved}, Disproved},
		"a query says f":      {nil, "f", map[string]Result{"rows": Disproved}, Disproved},
		"a query says naught": {nil, " ", map[string]Result{"rows": Disproved}, Disproved},
		"another identifier":  {live(func(c *cluster) { c.Data.System = "1" }), "", map[string]Result{"systemIdentifier": Disproved}, Disproved},
		"forked early":        {live(func(c *cluster) { c.Data.History = early }), "", map[string]Result{"forkLSN": Disproved}, Disproved},
		"the old timeline":    {live(func(c *cluster) { c.Data.Timeline = 1 }), "", map[string]Result{"timeline": Disproved, "forkLSN": Unknown}, Disproved},
		"empty":               {live(func(c *cluster) { c.Data.Rows = 0 }), "", map[string]Result{"rows": Disproved}, Disproved},
		"archiving fails":     {live(func(c *cluster) { c.Archiving = "false" }), "", map[string]Result{"archiving": Disproved}, Disproved},
		"archiving unknown":   {live(func(c *cluster) { c.Archiving = "unknown" }), "", map[string]Result{"archiving": Unknown}, Unknown},
		"no primary": {live(func(c *cluster) { c.Primary, c.Looks = "", 9 }), "",
			map[string]Result{"systemIdentifier": Unknown, "timeline": Unknown, "forkLSN": Unknown, "rows": Unknown}, Unknown},
		"no claims":        {func(w *world) { w.Claims = nil }, "", map[string]Result{"volumes": Unknown}, Unknown},
		"adopted claims":   {func(w *world) { w.Claims[name+"-1"].OwnerUID = "uid-a" }, "", map[string]Result{"volumes": Disproved}, Disproved},
		"no backup yet":    {func(w *world) { w.Servers[v2].Newest = nil }, "", map[string]Result{"backup": Unknown}, Unknown},
		"an older backup":  {func(w *world) { w.Servers[v2].Newest.Timeline = 1 }, "", map[string]Result{"backup": Disproved}, Disproved},
		"another's backup": {func(w *world) { w.Servers[v2].Newest.SystemID = "1" }, "", map[string]Result{"backup": Disproved}, Disproved},
		"both": {func(w *world) { w.Clusters[name].Data.Rows = 0; w.Servers[v2].Newest = nil }, "",
			map[string]Result{"rows": Disproved, "backup": Unknown}, Disproved},
		"PostgreSQL does not answer": {func(w *world) {
			w.before = func(call string) error {
				if call == "sql" {
					return recovery.ErrUnreachable
				}
				return nil
			}
		}, "", map[string]Result{"systemIdentifier": Unknown, "timeline": Unknown, "forkLSN": Unknown, "rows": Unknown}, Unknown},
		"S3 does not answer": {func(w *world) {
			w.before = func(call string) error {
				if call == "newest-done" {
					return recovery.ErrUnreachable
				}
				return nil
			}
		}, "", map[string]Result{"backup": Unknown}, Unknown},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w := byHand()
			if c.change != nil {
				c.change(w)
			}
			report, err := w.verify(t, nil, c.sql)
			require.NoError(t, err)
			require.Equal(t, all(c.want), results(report))
			require.Equal(t, c.result, report.Result)
			w.noChange(t)
		})
	}
}

// TestVerifyWithItsPlan knows more: whose Cluster it must be, and which claims it must not have.
func TestVerifyWithItsPlan(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	plan, err := w.run(t, dir, whole())
	require.NoError(t, err)
	known := func() *Known {
		stored, facts, err := operation.NewStore(dir).Read(plan.ID)
		require.NoError(t, err)
		params, err := ParamsOf(&stored)
		require.NoError(t, err)
		return &Known{PlanID: plan.ID, Params: params, UID: facts[FactUID]}
	}
	report, err := w.verify(t, known(), "")
	require.NoError(t, err)
	require.Equal(t, Proven, report.Result, "handed back, it is proven still")
	require.Equal(t, plan.ID, report.Plan)

	_, err = w.verify(t, nil, "")
	require.ErrorIs(t, err, recovery.ErrNotFound, "without its plan nothing says what it ought to hold")
	require.ErrorContains(t, err, "run it where the recovery was run (drctl plans); Ready alone proves nothing")

	w.Claims[name+"-1"].ClaimUID = "claim-b"
	report, err = w.verify(t, known(), "")
	require.NoError(t, err)
	require.Equal(t, Disproved, results(report)["volumes"])

	w.gone(false)
	w.replaceReady()
	report, err = w.verify(t, known(), "")
	require.NoError(t, err)
	require.Equal(t, Disproved, results(report)["origin"], "an initdb Cluster that is Ready")
}

func TestVerifyWhatIsNotThere(t *testing.T) {
	w := newWorld()
	w.gone(false)
	_, _, err := w.flip().Locate(t.Context(), "", name)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.ErrorContains(t, err, "recover it: drctl cnpg recover immich-database")
}

// TestVerifyToAMoment reads the target out of the live object.
func TestVerifyToAMoment(t *testing.T) {
	w := byHand()
	m := manifestOf(w.Clusters[name].Manifest)
	m.Target = "2026-11-22T18:00:00Z"
	w.Clusters[name].Manifest = m.raw()
	report, err := w.verify(t, nil, "")
	require.NoError(t, err)
	require.Equal(t, "at the target 2026-11-22T18:00:00Z", report.Checks[4].Expected)
	m.Target = "2026-11-22 18:00:00"
	w.Clusters[name].Manifest = m.raw()
	_, err = w.verify(t, nil, "")
	require.ErrorContains(t, err, "it is no RFC 3339 time with a zone")
}

// TestRevert hands back what somebody recovered by hand: proof and first backup come before.
func TestRevert(t *testing.T) {
	w, dir := byHand(), t.TempDir()
	w.Running = "c0"
	use := w.flip()
	prepared, err := use.PrepareRevert(t.Context(), "", name, "")
	require.NoError(t, err)
	plan, err := use.RevertPlan(prepared)
	require.NoError(t, err)
	require.Equal(t, RevertOperation, plan.Operation)
	require.Equal(t, []string{
		stepProve, stepBackup, stepProveBackups, stepRemote, stepTerminate, stepHandBack, stepSync, stepFields,
	}, kinds(plan))
	for _, step := range plan.Steps {
		require.False(t, step.PointOfNoReturn)
	}
	require.NoError(t, w.engine(dir).Start(t.Context(), plan))
	require.Equal(t, "initdb", w.Clusters[name].Bootstrap)
	require.Equal(t, "argocd", w.Clusters[name].Manager)
	require.Equal(t, "c1", w.Synced)
	require.Empty(t, w.Lost)

	_, err = use.PrepareRevert(t.Context(), "", name, "")
	require.ErrorIs(t, err, operation.ErrFinished)
	require.ErrorContains(t, err, "its bootstrap is initdb: it is handed back already")
}

func TestRevertRefuses(t *testing.T) {
	t.Run("early", func(t *testing.T) {
		w := byHand()
		w.Clusters[name].Data.Rows = 0
		use := w.flip()
		prepared, err := use.PrepareRevert(t.Context(), "", name, "")
		require.NoError(t, err)
		plan, err := use.RevertPlan(prepared)
		require.NoError(t, err)
		err = w.engine(t.TempDir()).Start(t.Context(), plan)
		require.ErrorIs(t, err, operation.ErrConflict)
		require.ErrorContains(t, err, "rows is disproved")
		require.NotErrorIs(t, err, operation.ErrUnfinished, "nothing was changed")
		require.Equal(t, "recovery", w.Clusters[name].Bootstrap)
	})
	t.Run("a remote that names the old server", func(t *testing.T) {
		w := byHand()
		w.RemoteServer = v1
		use := w.flip()
		prepared, err := use.PrepareRevert(t.Context(), "", name, "")
		require.NoError(t, err)
		plan, err := use.RevertPlan(prepared)
		require.NoError(t, err)
		err = w.engine(t.TempDir()).Start(t.Context(), plan)
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorContains(t, err, "git push origin HEAD:main; then drctl resume "+plan.ID)
		require.Equal(t, "recovery", w.Clusters[name].Bootstrap)
	})
	t.Run("without a tree", func(t *testing.T) {
		w := byHand()
		w.noTree = true
		_, err := w.flip().PrepareRevert(t.Context(), "", name, "")
		require.ErrorIs(t, err, recovery.ErrUsage)
		require.ErrorContains(t, err, "give --gitops DIR")
	})
	t.Run("an unfinished recovery", func(t *testing.T) {
		use := byHand().flip()
		use.Unfinished = func(context.Context) ([]operation.PlanView, recovery.Gaps, error) {
			return []operation.PlanView{{ID: "cnpg-recover-1", Target: namespace + "/" + name, State: operation.PlanUnfinished}}, nil, nil
		}
		_, err := use.PrepareRevert(t.Context(), "", name, "")
		require.ErrorIs(t, err, operation.ErrUnfinished)
		require.ErrorContains(t, err, "drctl resume cnpg-recover-1")
	})
	t.Run("what nobody knows", func(t *testing.T) {
		w := byHand()
		w.findErr = errors.New("two databases are called so")
		_, err := w.flip().PrepareRevert(t.Context(), "", name, "")
		require.ErrorContains(t, err, "two databases are called so")
	})
}

func TestParamsOf(t *testing.T) {
	_, err := ParamsOf(&operation.Plan{ID: "p", Operation: "pvc-restore"})
	require.ErrorIs(t, err, recovery.ErrUsage)
	_, err = ParamsOf(&operation.Plan{ID: "p", Operation: Operation, Params: []byte("{")})
	require.ErrorIs(t, err, recovery.ErrDamaged)
	require.ErrorContains(t, err, "look at the files below drctl's state folder")
}

// TestSummaryToAMoment: what is lost is what came behind the target, up to the deletion.
func TestSummaryToAMoment(t *testing.T) {
	p := &Params{Namespace: namespace, Name: name, TargetTime: noon.Add(-time.Hour), Reach: recovery.Reach{ArrivedAt: noon}}
	facts := map[string]string{factDeletedAt: noon.Add(time.Minute).Format(time.RFC3339), factProvenAt: noon.Add(5 * time.Minute).Format(time.RFC3339)}
	s := Summarize("p", p, noon, func(key string) string { return facts[key] })
	require.Equal(t, p.TargetTime, s.RecoveredTo)
	require.Equal(t, int64(3660), s.RPOSeconds)
	require.Equal(t, int64(300), s.RTOSeconds)
	require.NotNil(t, s.Volumes)
	require.NotNil(t, s.Restart)
}
