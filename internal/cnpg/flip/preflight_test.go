package flip

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// noChange fails the test when the preflight changed anything.
func (w *world) noChange(t *testing.T) {
	t.Helper()
	for _, call := range w.calls {
		require.False(t, changes(call), call)
	}
}

// gone takes the Cluster away, its claims too unless they are left over.
func (w *world) gone(leaveClaims bool) {
	delete(w.Clusters, name)
	if !leaveClaims {
		w.Claims = map[string]*claim{}
	}
}

func TestPreflightRefuses(t *testing.T) {
	cases := map[string]struct {
		options Options
		change  func(*world)
		kind    error
		what    string
		next    string
	}{
		"no name": {Options{}, nil, recovery.ErrUsage, "no database is named", "give NAME (drctl cnpg list shows them), or -f FILE"},
		"a copy that is pushed": {Options{Name: name, NewName: "look", Push: true}, nil, recovery.ErrUsage,
			"--new-name touches neither Git nor the live database", "leave out --push"},
		"a copy of the same name": {Options{Name: name, NewName: name}, nil, recovery.ErrUsage,
			"the copy must not have the name of the database", "give another --new-name"},
		"a copy whose name is taken": {Options{Name: "immich", NewName: name}, nil, recovery.ErrExists,
			"a Cluster of that name exists", "give another --new-name"},
		"write server not empty": {Options{Name: name, ArchiveServer: v1}, nil, recovery.ErrConflict,
			"it is not empty: 41 WAL segments; CloudNativePG would refuse it (Expected empty archive)", "leave --archive-server-name out"},
		"WAL gap": {Options{Name: name}, func(w *world) { w.reach.Gap = &recovery.WALGap{Missing: 1} }, recovery.ErrDamaged,
			"WAL is missing", "--accept-wal-gap"},
		"missing storage class": {Options{Name: name}, func(w *world) { w.classes = []string{"local-path"} }, recovery.ErrNotFound,
			"storage class longhorn does not exist: the recovered volumes would stay Pending; there are: local-path", "create it, or change the manifest"},
		"being deleted by somebody": {Options{Name: name}, func(w *world) { w.Clusters[name].Deleting, w.Clusters[name].Looks = true, 9 }, recovery.ErrConflict,
			"is being deleted: somebody else, or an interrupted plan, is at it", "see drctl plans"},
		"a claim of nobody": {Options{Name: name}, func(w *world) { w.Claims[name+"-1"].OwnerUID = "" }, recovery.ErrConflict,
			"claim immich-database-1 is named for Cluster immich-database and does not belong to it: it would not go with the Cluster, and the operator would adopt it",
			"kubectl -n cloudnative-pg describe pvc immich-database-1"},
		"gone with leftovers": {Options{Name: name}, func(w *world) { w.gone(true) }, operation.ErrConflict,
			"PersistentVolumeClaim immich-database-1", "kubectl -n cloudnative-pg get pods,jobs,pvc,services -l cnpg.io/cluster=immich-database"},
		"owned by an Application without a tree": {Options{Name: name}, func(w *world) { w.noTree = true }, recovery.ErrUsage,
			"Argo CD Application argocd/immich-db owns Cluster cloudnative-pg/immich-database", "give --gitops DIR, a checkout of https://git.example/platform.git"},
		"a push without a tree": {Options{Name: name, Push: true}, func(w *world) { w.noTree, w.app = true, nil }, recovery.ErrUsage,
			"no GitOps tree is known", "give --gitops DIR, or leave --push out"},
		"owned by an Application, not in the tree": {Options{Name: name}, func(w *world) { w.inTree = false }, recovery.ErrNotFound, "not found", ""},
		"a tree with changes": {Options{Name: name}, func(w *world) {
			w.dirty = &recovery.Problem{What: "the checkout has changes", Next: "commit or stash them first", Err: recovery.ErrConflict}
		}, recovery.ErrConflict, "the checkout has changes", "commit or stash them first"},
		"no manifest anywhere": {Options{Name: name}, func(w *world) { w.noTree, w.app = true, nil; w.gone(false) }, recovery.ErrNotFound,
			"neither the API nor the GitOps tree has it", "give --gitops DIR, or -f FILE"},
		"a name that nobody knows": {Options{Name: "imich"}, func(w *world) { w.findErr = recovery.ErrNotFound }, recovery.ErrNotFound, "not found", ""},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w := newWorld()
			if c.change != nil {
				c.change(w)
			}
			_, err := w.flip().Prepare(t.Context(), c.options)
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.what)
			require.ErrorContains(t, err, c.next)
			w.noChange(t)
		})
	}
}

// TestPreflightReadsOnly lets each of its calls fail: the plan is not made.
func TestPreflightReadsOnly(t *testing.T) {
	clean := newWorld()
	clean.prepare(t, whole())
	clean.noChange(t)
	for n, call := range clean.calls {
		w := newWorld()
		denied := &recovery.Problem{What: call, Why: "forbidden", Next: "grant it", Err: recovery.ErrDenied}
		w.before = func(string) error {
			if len(w.calls) == n+1 {
				return denied
			}
			return nil
		}
		_, err := w.flip().Prepare(t.Context(), whole())
		require.ErrorIs(t, err, recovery.ErrDenied, "an answer that is missing is no good answer: %s", call)
		w.noChange(t)
	}
}

func TestPreflightWarns(t *testing.T) {
	cases := map[string]struct {
		options Options
		change  func(*world)
		text    string
	}{
		"the catalog's words": {Options{Name: name}, func(w *world) { w.warnings = []string{"system identifier changes between v1 and v2"} }, "system identifier changes"},
		"an operator that drops timelines": {Options{Name: name}, func(w *world) { w.image = "ghcr.io/cloudnative-pg/cloudnative-pg:1.28.0" },
			"operator 1.28.0 drops timelines"},
		"an earlier recovery":   {Options{Name: name}, func(w *world) { w.Clusters[name].Bootstrap = "recovery" }, "drctl cnpg revert immich-database"},
		"commits that go along": {Options{Name: name, Push: true}, func(w *world) { w.ahead = 2 }, "2 commits of yours are not on the remote yet and would be pushed along"},
		"a Backup that survives": {Options{Name: name}, func(w *world) { w.Backups = []recovery.BackupObject{{Name: "by-hand", Phase: "pending"}} },
			"Backup by-hand is pending and not owned by the Cluster: it would run against the recovered one"},
		"no live Cluster":     {Options{Name: name}, func(w *world) { w.gone(false) }, "there is no live Cluster cloudnative-pg/immich-database: it is created from its manifest"},
		"not in the tree":     {Options{Name: name}, func(w *world) { w.app, w.inTree = nil, false }, "the GitOps tree has no manifest of this Cluster: Git is left alone"},
		"a gap that is taken": {Options{Name: name, AcceptGap: true}, func(w *world) { w.warnings = []string{"WAL is missing"}; w.reach.Gap = &recovery.WALGap{Missing: 2} }, "WAL is missing"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w := newWorld()
			c.change(w)
			prepared, err := w.flip().Prepare(t.Context(), c.options)
			require.NoError(t, err)
			var texts []string
			for _, finding := range prepared.Findings {
				texts = append(texts, finding.Text)
			}
			require.Condition(t, func() bool { return len(texts) == 1 }, "%q", texts)
			require.Contains(t, texts[0], c.text)
		})
	}
	w := newWorld()
	prepared, _ := w.prepare(t, whole())
	require.Empty(t, prepared.Findings, "nothing to say of a database that is in order")
}

func TestOnePlanADatabase(t *testing.T) {
	view := operation.PlanView{
		ID: "cnpg-recover-1", Operation: Operation, Target: namespace + "/" + name, ClusterUID: clusterUID, CreatedBy: "ada@laptop",
		State: operation.PlanUnfinished, Abortable: true,
	}
	with := func(change func(*operation.PlanView)) operation.PlanView {
		changed := view
		change(&changed)
		return changed
	}
	cases := map[string]struct {
		view    operation.PlanView
		options Options
		next    string
	}{
		"can be aborted":      {view, whole(), "drctl resume cnpg-recover-1, or drctl abort cnpg-recover-1"},
		"past return":         {with(func(v *operation.PlanView) { v.Abortable = false }), whole(), "drctl resume cnpg-recover-1"},
		"being aborted":       {with(func(v *operation.PlanView) { v.State = operation.PlanAborting }), whole(), "drctl abort cnpg-recover-1"},
		"elsewhere":           {with(func(v *operation.PlanView) { v.State = operation.PlanElsewhere }), whole(), "drctl resume cnpg-recover-1 --takeover, when ada@laptop cannot go on"},
		"of no known cluster": {with(func(v *operation.PlanView) { v.ClusterUID = "" }), whole(), "drctl resume cnpg-recover-1, or"},
		"of another cluster":  {with(func(v *operation.PlanView) { v.ClusterUID = "cluster-2" }), whole(), ""},
		"of another database": {with(func(v *operation.PlanView) { v.Target = namespace + "/other" }), whole(), ""},
		"of the copy":         {with(func(v *operation.PlanView) { v.Target = namespace + "/look" }), Options{Name: name, NewName: "look"}, "drctl resume"},
		"a copy beside it":    {view, Options{Name: name, NewName: "look"}, ""},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w := newWorld()
			use := w.flip()
			use.Unfinished = func(context.Context) ([]operation.PlanView, recovery.Gaps, error) {
				return []operation.PlanView{c.view}, recovery.Gaps{{What: "look for plans in the cluster"}}, nil
			}
			prepared, err := use.Prepare(t.Context(), c.options)
			if c.next == "" {
				require.NoError(t, err)
				require.Equal(t, []Finding{{"warning", "look for plans in the cluster"}}, prepared.Findings, "what could not be read may hold a plan")
				return
			}
			require.ErrorIs(t, err, operation.ErrUnfinished)
			require.ErrorIs(t, err, operation.ErrBusy)
			require.ErrorContains(t, err, "by ada@laptop")
			require.ErrorContains(t, err, c.next)
			w.noChange(t)
		})
	}
	broken := newWorld().flip()
	broken.Unfinished = func(context.Context) ([]operation.PlanView, recovery.Gaps, error) {
		return nil, nil, errors.New("the folder cannot be read")
	}
	_, err := broken.Prepare(t.Context(), whole())
	require.ErrorContains(t, err, "the folder cannot be read")
}

// TestRenderAsksNoCluster: it works with the cluster gone.
func TestRenderAsksNoCluster(t *testing.T) {
	w := newWorld()
	use := w.flip()
	use.Cluster, use.Fence, use.Argo = nil, nil, nil
	prepared, err := use.PrepareRender(t.Context(), Options{Name: name, RenderOnly: true})
	require.NoError(t, err)
	require.False(t, w.choice.Readable)
	made := manifestOf(prepared.Params.Manifest)
	require.Equal(t, manifest{
		Namespace: namespace, Name: name, Server: v2, Bootstrap: "recovery", Source: v1, Backup: backupID, Class: "longhorn", Database: "immich",
	}, made)
	require.Equal(t, []string{"choose", "preview"}, w.calls)
}

// TestFromAFile: neither the API nor the tree knows the Cluster.
func TestFromAFile(t *testing.T) {
	w := newWorld()
	w.gone(false)
	w.findErr, w.app, w.inTree = recovery.ErrNotFound, nil, false
	given := manifest{Namespace: namespace, Name: name, Server: v1, Bootstrap: "initdb", Class: "longhorn", Database: "immich"}.raw()
	prepared, plan := w.prepare(t, Options{Manifest: given})
	require.Equal(t, v1, prepared.Params.SourceServer)
	require.NoError(t, w.engine(t.TempDir()).Start(t.Context(), plan))
	require.Equal(t, w.recovered, w.Clusters[name].Data)
	require.Equal(t, "initdb", w.Clusters[name].Bootstrap)
}
