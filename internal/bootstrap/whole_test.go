package bootstrap

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

func (w *world) requireUp(t *testing.T, planID string, note ...any) {
	t.Helper()
	require.Equal(t, "s3cret-canary", string(w.secrets["volsync-system/kopia-credentials"]["KOPIA_PASSWORD"]), note...)
	require.Equal(t, "deployed", w.newest().Status, note...)
	require.Equal(t, planID, w.newest().PlanID, note...)
	deployed := 0
	for _, r := range w.revisions {
		require.False(t, r.Pending, note...)
		if r.Status == "deployed" {
			deployed++
		}
	}
	require.Equal(t, 1, deployed, note...)
	require.Equal(t, decodeRoot([]byte(rootManifest)), w.root, note...)
	for _, app := range w.applications {
		require.True(t, app.AtRest(), note...)
	}
	require.Empty(t, w.lost, note...)
}

func TestFromNothing(t *testing.T) {
	w := newWorld()
	b, plan := w.prepare(t)
	require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
	w.requireUp(t, plan.ID)
	encoded, err := json.Marshal(plan)
	require.NoError(t, err)
	require.NotContains(t, string(encoded), "s3cret-canary")

	params, err := ParamsOf(&plan)
	require.NoError(t, err)
	report := params.Report(plan.ID, b.Last(), plan.CreationTime, func(string) string { return "" })
	require.True(t, report.Whole(), "%+v", report)
	require.Len(t, report.Applications, 3)
	require.Contains(t, report.Next[len(report.Next)-1], "argocd-initial-admin-secret")
}

// TestTheSecondRunChangesNothing: what is as it should be is not planned for.
func TestTheSecondRunChangesNothing(t *testing.T) {
	w := newWorld()
	b, plan := w.prepare(t)
	require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
	begin := len(w.calls)
	again := w.use()
	prepared, err := again.Prepare(t.Context(), w.options())
	require.NoError(t, err)
	require.Empty(t, prepared.Changes)
	waves, err := again.Watch(t.Context(), prepared.Params, time.Hour)
	require.NoError(t, err)
	require.True(t, waves.Healthy())
	require.Equal(t, []string{"applications"}, w.calls[begin:])
}

// TestItRepairs: a release that is gone, of another version, or broken off is what a next run sees to.
func TestItRepairs(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"secret gone": func(w *world) { delete(w.secrets, "volsync-system/kopia-credentials") },
		"newer chart": func(w *world) { w.chartVersion, w.chart = "9.2.0", "sha256:bbb" },
		"failed":      func(w *world) { w.newest().Status = "failed" },
		"broken off before": func(w *world) {
			w.newest().Status, w.newest().Pending = "pending-upgrade", true
			w.clock = w.clock.Add(time.Hour)
		},
		"root gone": func(w *world) { w.root = "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			b, plan := w.prepare(t)
			require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
			spoil(w)
			b = w.use()
			prepared, err := b.Prepare(t.Context(), w.options())
			require.NoError(t, err)
			require.NotEmpty(t, prepared.Changes)
			plan, err = b.Plan(prepared)
			require.NoError(t, err)
			require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
			w.requireUp(t, plan.ID)
		})
	}
}

// TestAFreshAttemptOfSomebodyElse is left alone: he may be at it.
func TestAFreshAttemptOfSomebodyElse(t *testing.T) {
	w := newWorld()
	b, plan := w.prepare(t)
	w.revisions = []fakeRevision{{Release: recovery.Release{Namespace: "argocd", Name: "argocd", Revision: 1, Status: "pending-install", Pending: true, UpdatedAt: w.clock}}}
	err := b.Run(t.Context(), w.engine(t.TempDir(), b), plan)
	require.ErrorContains(t, err, "somebody is at it")
	require.NotContains(t, w.calls, "unlock")
	require.NotContains(t, w.calls, "deploy-begin")
}

// shorten gives the waits of a plan less time than the tests' patience.
func shorten(plan *operation.Plan) {
	for i := range plan.Steps {
		if plan.Steps[i].Kind == stepReady {
			plan.Steps[i].Timeout = 20 * time.Millisecond
		}
	}
}

// TestNotReadyIsTakenBack: a first install goes, an upgrade goes back, and Applications keep their Argo CD.
func TestNotReadyIsTakenBack(t *testing.T) {
	t.Run("first", func(t *testing.T) {
		w := newWorld()
		w.broken = true
		b, plan := w.prepare(t)
		shorten(&plan)
		err := b.Run(t.Context(), w.engine(t.TempDir(), b), plan)
		require.ErrorIs(t, err, ErrRolledBack)
		require.ErrorContains(t, err, "ImagePullBackOff")
		require.Empty(t, w.revisions)
		require.Empty(t, w.root)
	})
	t.Run("upgrade", func(t *testing.T) {
		w := newWorld()
		b, plan := w.prepare(t)
		require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
		w.broken, w.chartVersion, w.chart = true, "9.3.0", "sha256:ccc"
		b, plan = w.prepare(t)
		shorten(&plan)
		require.ErrorIs(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan), ErrRolledBack)
		require.Equal(t, "9.1.0", w.newest().ChartVersion)
		require.Equal(t, "deployed", w.newest().Status)
	})
	t.Run("with Applications", func(t *testing.T) {
		w := newWorld()
		b, plan := w.prepare(t)
		require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
		w.revisions, w.broken = nil, true // Helm's record is lost, what it made is not
		o := w.options()
		o.TakeOwnership = true
		b = w.use()
		prepared, err := b.Prepare(t.Context(), o)
		require.NoError(t, err)
		plan, err = b.Plan(prepared)
		require.NoError(t, err)
		shorten(&plan)
		require.ErrorIs(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan), ErrRolledBack)
		require.NotContains(t, w.calls, "uninstall")
		require.Empty(t, w.lost)
	})
	t.Run("hook", func(t *testing.T) {
		w := newWorld()
		w.failing = true
		b, plan := w.prepare(t)
		err := b.Run(t.Context(), w.engine(t.TempDir(), b), plan)
		require.ErrorIs(t, err, ErrRolledBack)
		require.ErrorContains(t, err, "redis-secret-init")
		require.Empty(t, w.revisions)
	})
}

// TestAWaveThatIsBlocked ends as finished, not whole, and says what holds it back and how to put it right.
func TestAWaveThatIsBlocked(t *testing.T) {
	w := newWorld()
	w.stuck = "storage"
	w.troubles["storage"] = []recovery.Trouble{{Kind: recovery.TroubleSecret, Object: "Pod storage/server-0", Message: `secret "db" not found`, Missing: "db"}}
	b, plan := w.prepare(t)
	params, err := ParamsOf(&plan)
	require.NoError(t, err)
	params.WavesSeconds = 3
	plan.Params, err = json.Marshal(params)
	require.NoError(t, err)
	require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
	report := params.Report(plan.ID, b.Last(), plan.CreationTime, func(string) string { return "" })
	require.False(t, report.Whole())
	require.False(t, report.Healthy)
	require.Equal(t, []string{"storage"}, report.Blocked())
	require.Contains(t, report.Blockers[0].Fix, "Secret storage/db")
	require.True(t, slices.ContainsFunc(report.Next, func(next string) bool { return has(next, "drctl bootstrap --gitops /platform") }))
}

// TestAClaimThatCameUpEmpty: it carries the label and a backup was there when it was created, and nothing populated it.
func TestAClaimThatCameUpEmpty(t *testing.T) {
	source := recovery.KopiaSource{Username: "data-backup", Hostname: "notes", Path: "/data"}
	for name, c := range map[string]struct {
		from    string
		created time.Duration
		backups bool
		empty   int
	}{
		"empty": {created: -time.Minute, backups: true, empty: 1}, "populated": {from: "data-backup", created: -time.Minute, backups: true},
		"no backup": {created: -time.Minute}, "older than its backup": {created: -5 * time.Hour, backups: true}, "long in use": {created: -48 * time.Hour, backups: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.claims = []recovery.RestoringClaim{{Namespace: "notes", Name: "data", Phase: "Bound", Source: c.from, CreatedAt: w.clock.Add(c.created)}}
			if c.backups {
				w.kopia.Oldest = map[recovery.KopiaSource]time.Time{source: w.clock.Add(-time.Hour)}
			}
			b, plan := w.prepare(t)
			require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
			params, err := ParamsOf(&plan)
			require.NoError(t, err)
			report := params.Report(plan.ID, b.Last(), plan.CreationTime, func(string) string { return "" })
			require.Len(t, report.EmptyClaims, c.empty)
			require.Equal(t, c.empty == 0, report.Whole())
			if c.empty > 0 {
				require.Equal(t, "drctl pvc restore notes/data --gitops /platform", report.Next[0])
			}
		})
	}
}

// TestADatabaseThatCameUpEmpty: everything is healthy, and the data are not there.
func TestADatabaseThatCameUpEmpty(t *testing.T) {
	for name, c := range map[string]struct {
		system string
		initdb bool
		empty  int
	}{
		"new system": {"7000000000000000002", true, 1}, "not up yet": {"", true, 1}, "recovered": {"7000000000000000001", true, 0}, "recovering": {"", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.databases = []LiveDatabase{{Database: recovery.Database{Namespace: "cloudnative-pg", Name: "immich-database"}, SystemID: c.system, Initdb: c.initdb}}
			w.held["immich-database"] = DatabaseHolding{Restorable: 3, SystemIDs: []string{"7000000000000000001"}}
			b, plan := w.prepare(t)
			require.NoError(t, b.Run(t.Context(), w.engine(t.TempDir(), b), plan))
			params, err := ParamsOf(&plan)
			require.NoError(t, err)
			report := params.Report(plan.ID, b.Last(), plan.CreationTime, func(string) string { return "" })
			require.Len(t, report.Databases, c.empty)
			require.Equal(t, c.empty == 0, report.Whole())
			if c.empty > 0 {
				require.Equal(t, "drctl cnpg recover immich-database -n cloudnative-pg --gitops /platform", report.Next[0])
			}
		})
	}
}
