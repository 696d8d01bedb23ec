package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

func inPlace(o *Options) { o.Mode = InPlace }

func (w *world) addPod(p recovery.MountingPod) {
	p.UID = w.uid("pod")
	w.Pods[namespace+"/"+p.Name] = &pod{Namespace: namespace, Claim: name, MountingPod: p}
}

// TestPreflightRefuses: what would lose data, or end in nothing, is refused before anything is touched.
func TestPreflightRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		set    func(w *world)
		change func(o *Options)
		kind   error
		text   string
		next   string
	}{
		"no VolSync": {set: func(w *world) {
			w.missing = []string{"no CustomResourceDefinition replicationdestinations.volsync.backube"}
		}, kind: recovery.ErrUnsupported,
			text: "no CustomResourceDefinition", next: "drctl pvc extract karakeep/data-pvc"},
		"an unfinished plan": {set: func(w *world) {
			w.unfinished = []operation.PlanView{
				{ID: "p0", Target: target, ClusterUID: "another cluster"}, {ID: "p1", Target: "karakeep/other", ClusterUID: clusterUID},
				{ID: "p2", Operation: Operation, Target: target, ClusterUID: clusterUID, CreatedBy: "ops@desk", State: operation.PlanUnfinished, Abortable: true},
			}
		}, kind: operation.ErrUnfinished, text: "plan p2 (pvc-restore, by ops@desk) for it is unfinished", next: "drctl resume p2, or drctl abort p2"},
		"CloudNativePG": {set: func(w *world) { w.Claims[target].CNPGCluster = "immich" }, kind: recovery.ErrUnsupported, text: "a file copy of a running database is no backup", next: "drctl cnpg recover immich"},
		"terminating": {set: func(w *world) {
			w.Claims[target].Deleting = true
			w.addPod(recovery.MountingPod{Name: "done", Phase: "Succeeded"})
		}, kind: recovery.ErrConflict,
			text: "held by kubernetes.io/pvc-protection", next: `kubectl patch pv pv-claim-1 -p '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'`},
		"lost":                       {set: func(w *world) { w.Claims[target].Phase = "Lost" }, kind: recovery.ErrConflict, text: "its volume is lost", next: "delete pvc data-pvc"},
		"no such volume":             {set: func(w *world) { delete(w.Volumes, "pv-claim-1") }, kind: recovery.ErrConflict, text: "gone, or bound to another claim", next: "kubectl get pv pv-claim-1"},
		"another's volume":           {set: func(w *world) { w.Volumes["pv-claim-1"].ClaimUID = "x" }, kind: recovery.ErrConflict, text: "gone, or bound to another claim"},
		"no claim in place":          {set: (*world).gone, change: inPlace, kind: recovery.ErrNotFound, text: "there is no such claim", next: "leave --mode in-place out"},
		"no manifest":                {set: (*world).gone, kind: recovery.ErrNotFound, text: "neither the API nor the GitOps tree has it", next: "--size 10Gi --storage-class longhorn"},
		"incomplete":                 {change: func(o *Options) { o.SnapshotID = "s4" }, kind: recovery.ErrUnsupported, text: "it is incomplete (checkpoint)", next: "drctl pvc snapshots karakeep/data-pvc"},
		"no such snapshot":           {change: func(o *Options) { o.SnapshotID = "s9" }, kind: recovery.ErrNotFound, text: "there is no snapshot s9"},
		"nothing under the identity": {set: func(w *world) { w.Repo = nil }, kind: recovery.ErrNotFound, text: "no source in the repository has its identity", next: "drctl pvc list"},
		"only checkpoints":           {set: func(w *world) { w.Repo = w.Repo[3:] }, kind: recovery.ErrNotFound},
		"too far back":               {change: func(o *Options) { o.Previous = 3 }, kind: recovery.ErrNotFound, text: "there are 3 complete ones"},
		"a shared identity": {set: func(w *world) {
			w.sources = append(w.sources, w.sources[0], recovery.ReplicationSource{Namespace: namespace, Claim: "data-pvc-2", Identity: identity})
		}, kind: recovery.ErrConflict, text: "karakeep/data-pvc and karakeep/data-pvc-2 all back up as data-pvc-backup@karakeep:/data", next: "then give --snapshot ID"},
		"a shared identity, without a ReplicationSource of its own yet": {set: func(w *world) {
			w.sources = []recovery.ReplicationSource{{Namespace: namespace, Claim: "data-pvc-2", Identity: identity}}
		}, kind: recovery.ErrConflict, text: "karakeep/data-pvc and karakeep/data-pvc-2 all back up as"},
		"no class":                   {set: func(w *world) { w.Claims[target].StorageClass = "gone" }, kind: recovery.ErrNotFound, text: "storage class gone does not exist", next: "longhorn"},
		"no snapshot class":          {set: func(w *world) { w.Claims[target].StorageClass = "local" }, kind: recovery.ErrNotFound, text: "rancher.io/local-path", next: "--mode in-place --no-safety"},
		"no snapshot class in place": {set: func(w *world) { w.Claims[target].StorageClass = "local" }, change: inPlace, kind: recovery.ErrNotFound, next: "--no-safety"},
		"it does not fit":            {set: func(w *world) { w.Repo[2].SizeBytes = 20 * gib }, kind: recovery.ErrConflict, text: "the snapshot holds 21474836480 bytes, and the volume 10737418240", next: "enlarge"},
		"a Pod of nobody":            {set: func(w *world) { w.addPod(recovery.MountingPod{Name: "shell", Phase: "Running"}) }, kind: recovery.ErrConflict, text: "no controller made it", next: "get pod shell -o yaml"},
		"a mover's Pod":              {set: func(w *world) { w.addPod(recovery.MountingPod{Name: "volsync-src", Phase: "Running", Mover: true}) }, kind: recovery.ErrConflict, text: "Pod volsync-src is backing it up right now"},
		"a mover":                    {set: func(w *world) { w.running = []string{"data-pvc-backup"} }, kind: recovery.ErrConflict, text: "ReplicationSource data-pvc-backup is backing it up right now"},
		"admission":                  {set: func(w *world) { w.admission = recovery.ErrInvalid }, kind: recovery.ErrInvalid},
		"the name is taken": {set: func(w *world) { w.newClaim(claimJSON(namespace, "copy", 0), "x") }, change: func(o *Options) { o.NewName = "copy" }, kind: recovery.ErrExists,
			text: "a claim of that name exists", next: "--new-name"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if test.set != nil {
				test.set(w)
			}
			before := strings.Join(w.Lost, "")
			_, err := w.use().Prepare(t.Context(), options(test.change))
			require.ErrorIs(t, err, test.kind)
			require.ErrorContains(t, err, test.text)
			require.ErrorContains(t, err, test.next)
			for _, call := range w.calls {
				require.False(t, changes(call), "preflight only reads, and did %s", call)
			}
			require.Equal(t, before, strings.Join(w.Lost, ""))
		})
	}
}

// TestPreflightSays: what a person must know before.
func TestPreflightSays(t *testing.T) {
	for name, test := range map[string]struct {
		set    func(w *world)
		change func(o *Options)
		level  string
		text   string
		check  func(t *testing.T, p *Prepared)
	}{
		"a paused source": {set: func(w *world) {
			template := w.templates[target]
			template.Paused = true
			w.templates[target] = template
		}, level: "warning", text: "ReplicationSource data-pvc-backup is paused"},
		"a collapse": {set: func(w *world) { w.Repo[2].FileCount = 12 }, level: "warning",
			text: "the snapshot has 12 files of 3145728 bytes, the one before it (s2) 601 files of 3145728 bytes: look before you restore (drctl pvc files karakeep/data-pvc), or give --previous 1"},
		"errors when it was made": {set: func(w *world) { w.Repo[2].ErrorCount = 4 }, level: "warning", text: "4 entries that could not be read"},
		"no file": {set: func(w *world) { w.Repo[2].FileCount = 0 }, level: "warning", text: "holds no file", check: func(t *testing.T, p *Prepared) {
			require.False(t, p.Params.Backup, "an empty volume makes no snapshot, and the plan would never end")
		}},
		"a checkpoint of the same moment": {set: func(w *world) { w.Repo[3].StartTime = w.Repo[2].StartTime }, level: "warning", text: "the proof decides which one the mover took"},
		"a finished Pod":                  {set: func(w *world) { w.addPod(recovery.MountingPod{Name: "import", Phase: "Succeeded"}) }, level: "note", text: "Pod import is done and holds the claim"},
		"an unbound claim": {set: func(w *world) {
			w.Claims[target].Volume, w.Claims[target].Phase = "", "Pending"
			w.Pods, w.Controllers, w.stuckPopulator = map[string]*pod{}, map[string]*controller{}, true
			w.Claims[target].Source = "none"
		}, level: "warning", text: "is not bound: there is no old volume to keep", check: func(t *testing.T, p *Prepared) {
			require.Empty(t, p.Params.OldVolume.Name)
			for _, step := range p.Params.plannedSteps() {
				require.NotEqual(t, stepRetain, step.Kind)
			}
		}},
		"a volume larger than asked for": {set: func(w *world) { w.Volumes["pv-claim-1"].SizeBytes = 20 * gib }, level: "warning", text: "the new one has what it asks for",
			check: func(t *testing.T, p *Prepared) {
				require.Equal(t, 10*gib, p.Params.destination("x").CapacityBytes, "its VolumeSnapshot would not fit into the claim")
			}},
		"an unwell Application": {set: func(w *world) { w.unwell = "OutOfSync" }, level: "warning", text: "is not well already (OutOfSync)", check: func(t *testing.T, p *Prepared) {
			require.Nil(t, p.Params.Application)
		}},
		"a claim of the tree": {set: func(w *world) {
			w.gone()
			w.tree[target] = &recovery.LiveClaim{Namespace: namespace, Name: name, Wave: 3, StorageClass: "longhorn", AccessModes: []string{"ReadWriteOnce"}, RequestBytes: 10 * gib, Manifest: claimJSON(namespace, name, 3)}
		}, level: "note", text: "it is created from the GitOps tree", check: func(t *testing.T, p *Prepared) { require.Equal(t, 3, p.Wave) }},
		"another claim's data": {set: func(w *world) { w.protect("other/src", 0) }, change: func(o *Options) { o.FromNamespace, o.FromName = "other", "src" }, level: "note",
			text: "the data are those of other/src", check: func(t *testing.T, p *Prepared) {
				require.Equal(t, "src-backup@other:/data", p.Params.Identity.String())
				require.Equal(t, identity, p.Params.Mover.Identity, "its own backups stay its own")
			}},
		"an unreadable plan": {set: func(w *world) { w.gaps.Add("read plan p7", errors.New("damaged")) }, level: "warning", text: "damaged"},
		"a shared identity, by ID": {set: func(w *world) {
			w.sources = append(w.sources, recovery.ReplicationSource{Namespace: namespace, Claim: "data-pvc-2", Identity: identity})
		}, change: func(o *Options) { o.SnapshotID = "s3" }, level: "warning", text: "may hold the data of any of them"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			test.set(w)
			prepared, err := w.use().Prepare(t.Context(), options(test.change))
			require.NoError(t, err)
			found := false
			for _, finding := range prepared.Findings {
				found = found || (finding.Level == test.level && strings.Contains(finding.Text, test.text))
			}
			require.True(t, found, "%v", prepared.Findings)
			if test.check != nil {
				test.check(t, prepared)
			}
		})
	}
	w := newWorld()
	prepared, _ := w.prepare(t, options(nil))
	require.Empty(t, prepared.Findings, "only what is no finding is fine")
	require.Equal(t, int64(7200), prepared.LostSeconds)
}

func TestOptions(t *testing.T) {
	for text, change := range map[string]func(o *Options){
		"no claim is named":                  func(o *Options) { o.Name = "" },
		"--mode sideways is not known":       func(o *Options) { o.Mode = "sideways" },
		"--new-name makes a claim beside":    func(o *Options) { o.Mode, o.NewName = InPlace, "copy" },
		"must not have the name":             func(o *Options) { o.NewName = name },
		"are for --mode in-place":            func(o *Options) { o.NoSafety = true },
		"can't be negative":                  func(o *Options) { o.SizeBytes = -1 },
		"--snapshot already names":           func(o *Options) { o.SnapshotID, o.AsOf = "s1", noon },
		"--previous -1 goes into the future": func(o *Options) { o.Choice = pvc.Choice{Previous: -1} },
	} {
		_, err := newWorld().use().Prepare(t.Context(), options(change))
		require.ErrorIs(t, err, recovery.ErrUsage)
		require.ErrorContains(t, err, text)
	}
}

// TestReadsThatFail: a preflight that cannot look does not guess.
func TestReadsThatFail(t *testing.T) {
	for _, call := range []string{"claim", "template", "snapshots", "sources", "volume", "pods", "admit", "owner", "settled"} {
		w := newWorld()
		w.before = func(now string) error {
			if now == call {
				return recovery.ErrUnreachable
			}
			return nil
		}
		prepared, err := w.use().Prepare(t.Context(), options(nil))
		if call == "sources" {
			require.NoError(t, err)
			require.Contains(t, prepared.Findings[0].Text, "look who else backs up as data-pvc-backup@karakeep:/data")
			continue
		}
		require.ErrorIs(t, err, recovery.ErrUnreachable, call)
	}
}

// TestBackup is `drctl pvc backup`.
func TestBackup(t *testing.T) {
	backup := func(t *testing.T, w *world, dir string) (operation.Plan, *Prepared, error) {
		use := w.use()
		prepared, err := use.PrepareBackup(t.Context(), options(nil))
		require.NoError(t, err)
		plan, err := use.PlanBackup(prepared)
		require.NoError(t, err)
		return plan, prepared, use.Run(t.Context(), w.engine(dir), plan)
	}
	w, dir := newWorld(), t.TempDir()
	plan, prepared, err := backup(t, w, dir)
	require.NoError(t, err)
	require.Empty(t, w.Movers)
	require.Empty(t, w.Lost)
	_, facts, err := operation.NewStore(dir).Read(plan.ID)
	require.NoError(t, err)
	require.Equal(t, "new1", facts[FactBackup])
	require.Equal(t, live, w.Contents["new1"])
	report := SummarizeBackup(plan.ID, prepared.Params, noon, noon.Add(time.Minute), func(key string) string { return facts[key] })
	require.Equal(t, "new1", report.SnapshotID)
	require.Equal(t, int64(60), report.TookSeconds)

	w, dir = newWorld(), t.TempDir()
	backups(func(_ *world, m *mover) { m.backedUp = recovery.BackupLog{Empty: true} })(w)
	_, _, err = backup(t, w, dir)
	require.ErrorIs(t, err, recovery.ErrPartial)
	require.ErrorContains(t, err, "an empty volume makes no snapshot")
	require.Empty(t, w.Movers)

	for text, set := range map[string]func(w *world){
		"there is no such claim":  (*world).gone,
		"CloudNativePG Cluster x": func(w *world) { w.Claims[target].CNPGCluster = "x" },
		"it is being deleted": func(w *world) {
			w.Claims[target].Deleting = true
			w.Pods["karakeep/z"] = &pod{Namespace: namespace, Claim: name}
		},
		"it is not bound":            func(w *world) { w.Claims[target].Volume = "" },
		"is backing it up right now": func(w *world) { w.running = []string{"data-pvc-backup"} },
	} {
		w := newWorld()
		set(w)
		_, err := w.use().PrepareBackup(context.Background(), options(nil))
		require.ErrorContains(t, err, text)
	}
}
