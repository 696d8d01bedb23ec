package bootstrap

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// world is a cluster, Helm's record, a tree and its remote, in memory. Argo CD makes the Applications once it runs and
// has the root; each looks twice more before it is healthy.
type world struct {
	calls []string
	// before and after are asked around each call; an error fails it.
	before, after func(call string) error
	clock         time.Time

	secrets      map[string]map[string][]byte
	files        []SecretFile
	definitions  map[string]bool
	revisions    []fakeRevision
	applications map[string]*recovery.ManagedApplication
	looks        map[string]int
	root         string
	databases    []LiveDatabase
	claims       []recovery.RestoringClaim
	troubles     map[string][]recovery.Trouble
	classes      []string
	network      *recovery.Network
	nodes        []recovery.Node
	version      string
	admin        bool

	chart, values string
	chartVersion  string
	// broken: the release never becomes ready. failing: Helm itself fails.
	broken, failing bool
	stuck           string
	lost            []string

	tree    fakeTree
	git     GitState
	gitErr  error
	kopia   KopiaHolding
	held    map[string]DatabaseHolding
	heldErr error
}

type fakeRevision struct{ recovery.Release }

var here = operation.ResumeOptions{ClusterUID: "uid-1", Context: "lab"}

const rootManifest = `{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"root","namespace":"argocd"},"spec":{"source":{"repoURL":"https://git.example.org/platform.git","targetRevision":"main","path":"apps"}}}`

func newWorld() *world {
	return &world{
		clock: time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC), secrets: map[string]map[string][]byte{}, definitions: map[string]bool{}, applications: map[string]*recovery.ManagedApplication{},
		looks: map[string]int{}, classes: []string{"longhorn"}, network: &recovery.Network{Plugin: "cilium", Version: "1.18.2", Desired: 3, Ready: 3, OperatorReady: true},
		nodes: []recovery.Node{{Name: "n1", Ready: true}}, version: "1.37.2", admin: true, chart: "sha256:aaa", values: "server: {replicas: 2}\n", chartVersion: "9.1.0",
		troubles: map[string][]recovery.Trouble{}, held: map[string]DatabaseHolding{},
		files: []SecretFile{{File: "kopia.yaml", Namespace: "volsync-system", Name: "kopia-credentials", Values: map[string][]byte{"KOPIA_PASSWORD": []byte("s3cret-canary")}}},
		tree: fakeTree{
			pins:    []recovery.ChartPin{{Name: ChartName, Repository: "https://charts.example.org", Version: "9.1.0", Source: "argocd/kustomization.yaml"}, {Name: "cilium", Version: "1.18.2", Source: "cilium/kustomization.yaml"}},
			planned: []recovery.PlannedApplication{{Name: "storage", Wave: 1}, {Name: "apps", Wave: 6}},
			needs:   []recovery.SecretNeed{{Namespace: "volsync-system", Name: "kopia-credentials", Keys: []string{"KOPIA_PASSWORD"}, UsedBy: []string{"Deployment pvc-plumber/pvc-plumber"}, Template: "secrets/kopia.yaml"}},
			classes: []string{"longhorn"}, exports: map[string]string{"Deployment a/pvc-plumber": "nas:/backup", "ClusterPolicy volsync-nfs-inject": "nas:/backup"},
		},
		git:   GitState{Branch: "main", Remote: "git@git.example.org:platform", Head: "aaaaaaaaaa", RemoteHead: "aaaaaaaaaa", Pushed: true},
		kopia: KopiaHolding{Repository: "nfs://nas/backup", Sources: 4, Snapshots: 40, Newest: time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)},
	}
}

func (w *world) use() *Bootstrap {
	return &Bootstrap{
		Cluster: fakeCluster{w}, Releases: fakeReleases{w}, Tree: &w.tree, Git: fakeGit{w}, Backups: fakeBackups{w}, inFlight: time.Millisecond,
		Files: func(context.Context, string) ([]SecretFile, error) { return w.files, nil }, Now: func() time.Time { return w.clock },
	}
}

func (w *world) engine(dir string, b *Bootstrap) *operation.Engine {
	return &operation.Engine{
		Store: operation.NewStore(dir), Handlers: b.Handlers(), Poll: time.Microsecond, Retry: operation.Backoff{First: time.Microsecond, Most: time.Microsecond},
		Now: func() time.Time { return w.clock },
	}
}

func (w *world) options() Options {
	o := Options{SecretsDir: "/secrets"}
	_ = o.Validate()
	return o
}

func (w *world) prepare(t *testing.T) (*Bootstrap, operation.Plan) {
	t.Helper()
	b := w.use()
	prepared, err := b.Prepare(t.Context(), w.options())
	require.NoError(t, err)
	plan, err := b.Plan(prepared)
	require.NoError(t, err)
	return b, plan
}

// call is one call of the use case: it may be failed, or be the last thing that a process does, ahead of its effect or
// behind it. Time passes with each.
func (w *world) call(name string, effect func() error) error {
	w.calls = append(w.calls, name)
	w.clock = w.clock.Add(100 * time.Millisecond)
	if w.before != nil {
		if err := w.before(name); err != nil {
			return err
		}
	}
	if err := effect(); err != nil {
		return err
	}
	if w.after != nil {
		return w.after(name)
	}
	return nil
}

// pass is what Argo CD does between two looks.
func (w *world) pass() {
	newest := w.newest()
	if w.root == "" || newest == nil || newest.Status != "deployed" || w.broken {
		return
	}
	for _, planned := range append([]recovery.PlannedApplication{{Name: "root"}}, w.tree.planned...) {
		app := w.applications[planned.Name]
		if app == nil {
			app = &recovery.ManagedApplication{Namespace: "argocd", Name: planned.Name, Wave: planned.Wave, Sync: "OutOfSync", Health: "Missing", Namespaces: []string{planned.Name}}
			w.applications[planned.Name] = app
		}
		if planned.Name != "root" {
			app.Parent = "root"
		}
		if w.looks[planned.Name]++; w.looks[planned.Name] > 2 && planned.Name != w.stuck {
			app.Sync, app.Health = "Synced", "Healthy"
		}
	}
}

func (w *world) newest() *fakeRevision {
	if len(w.revisions) == 0 {
		return nil
	}
	return &w.revisions[len(w.revisions)-1]
}

// picture is everything that abort has to bring back; Secrets and definitions stay.
func (w *world) picture() string {
	var deployed []string
	for _, r := range w.revisions {
		if r.Status == "deployed" {
			deployed = append(deployed, r.ChartVersion)
		}
	}
	return fmt.Sprint(deployed, slices.Sorted(maps.Keys(w.applications)), w.root)
}

type fakeTree struct {
	pins      []recovery.ChartPin
	planned   []recovery.PlannedApplication
	needs     []recovery.SecretNeed
	markers   []recovery.Marker
	classes   []string
	defs      []string
	exports   map[string]string
	databases []recovery.Database
	gaps      recovery.Gaps
}

func (t *fakeTree) Dir() string { return "/platform" }
func (t *fakeTree) Charts(context.Context) ([]recovery.ChartPin, recovery.Gaps, error) {
	return t.pins, nil, nil
}
func (t *fakeTree) Values(context.Context, recovery.ChartPin, []string) ([]byte, error) {
	return []byte("server: {replicas: 2}\n"), nil
}
func (t *fakeTree) Root(context.Context) ([]byte, string, error) {
	return []byte(rootManifest), "argocd/root.yaml", nil
}
func (t *fakeTree) Applications(context.Context) ([]recovery.PlannedApplication, recovery.Gaps, error) {
	return t.planned, t.gaps, nil
}
func (t *fakeTree) Secrets(context.Context) ([]recovery.SecretNeed, recovery.Gaps, error) {
	return t.needs, nil, nil
}
func (t *fakeTree) Definitions(context.Context) ([]string, error)      { return t.defs, nil }
func (t *fakeTree) StorageClasses(context.Context) ([]string, error)   { return t.classes, nil }
func (t *fakeTree) Markers(context.Context) ([]recovery.Marker, error) { return t.markers, nil }
func (t *fakeTree) Exports(context.Context) (map[string]string, error) { return t.exports, nil }
func (t *fakeTree) Databases(context.Context) ([]recovery.Database, recovery.Gaps, error) {
	return t.databases, nil, nil
}

type fakeGit struct{ *world }

func (g fakeGit) State(context.Context, string) (GitState, error) { return g.git, g.gitErr }

type fakeBackups struct{ *world }

func (b fakeBackups) Kopia(context.Context) (KopiaHolding, error) { return b.kopia, nil }
func (b fakeBackups) Database(_ context.Context, d recovery.Database) (DatabaseHolding, error) {
	return b.held[d.Name], b.heldErr
}

func decodeRoot(manifest []byte) string {
	var compact map[string]any
	if err := json.Unmarshal(manifest, &compact); err != nil {
		return ""
	}
	out, _ := json.Marshal(compact)
	return string(out)
}

func has(text, part string) bool { return strings.Contains(text, part) }
