package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	namespace  = "karakeep"
	name       = "data-pvc"
	target     = namespace + "/" + name
	clusterUID = "cluster-1"
	live       = "live"
	gib        = int64(1) << 30
)

var (
	noon     = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	identity = recovery.KopiaSource{Username: "data-pvc-backup", Hostname: namespace, Path: "/data"}
)

// disk is a PersistentVolume with what is in it.
type disk struct {
	recovery.LiveVolume
	Class string
	Data  string
}

// controller makes Pods that mount a claim. A refusal makes it wait longer each time.
type controller struct {
	recovery.Controller
	Namespace, Claim string
	Wants            int
	// keeps: its Pods keep their names, as those of a StatefulSet do.
	keeps    bool
	patience int
}

// pod is a Pod with the claim that it mounts.
type pod struct {
	recovery.MountingPod
	Namespace, Claim string
	ends             int
}

// mover is a ReplicationDestination or ReplicationSource of drctl's own.
type mover struct {
	recovery.MoverRun
	Destination *Destination
	Source      *Source
	Data        string
	looks       int
	restored    recovery.RestoreLog
	backedUp    recovery.BackupLog
	// told is what its Pod says, which may be more than the status keeps.
	told string
}

// image is a VolumeSnapshot with what is in it.
type image struct {
	recovery.VolumeSnapshot
	Data  string
	looks int
}

// world is everything that a restore touches, in memory. It moves on by one step with each call, as a
// cluster does with time. Each call of a port is counted; at the chosen one the process dies or it fails.
type world struct {
	mu sync.Mutex

	Claims      map[string]*recovery.LiveClaim
	Volumes     map[string]*disk
	Controllers map[string]*controller
	Pods        map[string]*pod
	Movers      map[string]*mover
	Images      map[string]*image
	Generated   map[string]*recovery.GeneratedObject
	Fences      map[string]Hold
	Repo        []recovery.Snapshot
	// Contents is what the snapshots hold.
	Contents map[string]string
	// Lost is what must never happen.
	Lost []string

	// git is what Argo CD applies, by target.
	git       map[string]json.RawMessage
	app       *recovery.Application
	gaveUp    bool
	unwell    string
	synced    int
	tree      map[string]*recovery.LiveClaim
	templates map[string]Template
	sources   []recovery.ReplicationSource
	running   []string
	classes   map[string]recovery.StorageClass
	missing   []string
	leaks     bool
	admission error
	// twist changes a mover's end before anybody sees it.
	twist func(m *mover)
	// statusOnly: the status keeps a restore's lines. silent: the Pod that had them is gone.
	statusOnly, silent bool
	stuckPopulator     bool
	checkpoints        bool
	unfinished         []operation.PlanView
	gaps               recovery.Gaps

	uids, made int
	calls      []string
	before     func(call string) error
	after      func(call string) error
}

// newWorld is a platform with one claim that is in use, backed up, in Git and owned by Argo CD.
func newWorld() *world {
	w := &world{
		Claims: map[string]*recovery.LiveClaim{}, Volumes: map[string]*disk{}, Controllers: map[string]*controller{}, Pods: map[string]*pod{},
		Movers: map[string]*mover{}, Images: map[string]*image{}, Generated: map[string]*recovery.GeneratedObject{}, Fences: map[string]Hold{},
		Contents: map[string]string{}, git: map[string]json.RawMessage{}, tree: map[string]*recovery.LiveClaim{}, templates: map[string]Template{},
		classes: map[string]recovery.StorageClass{
			"longhorn": {Name: "longhorn", Provisioner: "driver.longhorn.io", SnapshotClass: "longhorn-snapshot"},
			"local":    {Name: "local", Provisioner: "rancher.io/local-path"},
		},
		app:         &recovery.Application{Namespace: "argocd", Name: "karakeep", AutoSync: true},
		checkpoints: true,
	}
	w.protect(target, 0)
	return w
}

// protect makes a claim with everything around it, and three complete snapshots and a checkpoint.
func (w *world) protect(target string, wave int) {
	namespace, name := split(target)
	manifest := claimJSON(namespace, name, wave)
	w.git[target] = manifest
	uid := w.newClaim(manifest, "argocd")
	w.bind(target, live)
	w.Controllers["web-"+target] = &controller{Namespace: namespace, Claim: name, Wants: 1, Controller: recovery.Controller{
		Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: "web-" + name, UID: "rs-" + uid,
	}}
	id := recovery.KopiaSource{Username: name + "-backup", Hostname: namespace, Path: "/data"}
	w.templates[target] = Template{
		Identity: id, Secret: name + "-backup", Kopia: json.RawMessage(`{"compression":"zstd"}`), SourceName: name + "-backup", SnapshotClass: "longhorn-snapshot",
	}
	w.sources = append(w.sources, recovery.ReplicationSource{Namespace: namespace, Name: name + "-backup", Claim: name, Identity: id})
	short := ""
	if target != namespaceName() {
		short = name
	}
	for i, incomplete := range []string{"", "", "", "checkpoint"} {
		w.backup(recovery.Snapshot{
			ID: fmt.Sprintf("%ss%d", short, i+1), Source: id, StartTime: noon.Add(time.Duration(i-4) * time.Hour), SizeBytes: 3 << 20, FileCount: 600 + int64(i),
			Incomplete: incomplete,
		})
	}
	for range 8 {
		w.pass()
	}
}

func namespaceName() string { return target }

func (w *world) backup(s recovery.Snapshot) {
	s.EndTime = s.StartTime.Add(time.Minute)
	w.Repo = append(w.Repo, s)
	w.Contents[s.ID] = "data of " + s.ID
}

func claimJSON(namespace, name string, wave int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":%q,"name":%q,"labels":{"app":"web","backup":"hourly"},`+
		`"annotations":{"argocd.argoproj.io/tracking-id":"karakeep:/PersistentVolumeClaim:%s/%s","argocd.argoproj.io/sync-wave":"%d"}},`+
		`"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"longhorn","resources":{"requests":{"storage":"10Gi"}}}}`, namespace, name, namespace, name, wave))
}

func (w *world) uid(prefix string) string {
	w.uids++
	return fmt.Sprintf("%s-%d", prefix, w.uids)
}

func (w *world) lose(when bool, format string, args ...any) {
	if when {
		w.Lost = append(w.Lost, fmt.Sprintf(format, args...))
	}
}

// do is one call of a port: the world moves on, the call may be failed ahead of its effect, or behind it.
func (w *world) do(ctx context.Context, call string, effect func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
	w.pass()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if w.before != nil {
		if err := w.before(call); err != nil {
			return err
		}
	}
	if err := effect(); err != nil {
		return err
	}
	if w.after != nil {
		return w.after(call)
	}
	return nil
}

// on changes the world once, right ahead of the first such call.
func (w *world) on(call string, do func()) {
	w.before = func(now string) error {
		if now == call {
			w.before = nil
			do()
		}
		return nil
	}
}

// picture is the world as it can be compared: Pods count, their names do not.
func (w *world) picture() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 80 {
		w.pass()
	}
	lines := []string{}
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for key, c := range w.Claims {
		add("claim %s %s %s, deleting %v, of plan %q, on %s", key, c.UID, c.Phase, c.Deleting, c.PlanID, c.Volume)
	}
	for _, v := range w.Volumes {
		add("volume %s of %s (%s, %s): %s", v.Name, v.ClaimUID, v.Phase, v.ReclaimPolicy, v.Data)
	}
	for _, p := range w.Pods {
		add("a %s Pod of %q mounts %s/%s, ready %v, of plan %q", p.Phase, p.by(), p.Namespace, p.Claim, p.Ready, p.PlanID)
	}
	for key := range w.Movers {
		add("%s", key)
	}
	for key, i := range w.Images {
		add("VolumeSnapshot %s: %s", key, i.Data)
	}
	for key, g := range w.Generated {
		add("generated %s %s for %s", key, g.UID, g.ClaimUID)
	}
	for planID := range w.Fences {
		add("fence of %s", planID)
	}
	for _, s := range w.Repo {
		add("snapshot %s: %s", s.ID, w.Contents[s.ID])
	}
	slices.Sort(lines)
	return strings.Join(append(lines, w.Lost...), "\n")
}

// by is the controller's name, empty for none.
func (p *pod) by() string {
	if p.Controller == nil {
		return ""
	}
	return p.Controller.Name
}

// use is a new process in this world.
func (w *world) use() *Restore {
	return &Restore{
		Cluster: fakeCluster{w}, Movers: fakeMovers{w, map[string]bool{}}, Repository: fakeRepository{w}, Inventory: fakeInventory{w}, Fence: fakeFence{w}, Argo: fakeArgo{w},
		Tree: fakeTree{w}, Now: func() time.Time { return noon }, inFlight: 6 * time.Millisecond, touchEvery: time.Microsecond,
		Unfinished: func(context.Context) ([]operation.PlanView, recovery.Gaps, error) { return w.unfinished, w.gaps, nil },
	}
}

// engine is a process that keeps its plans in dir.
func (w *world) engine(dir string) *operation.Engine {
	return &operation.Engine{
		Store: operation.NewStore(dir), Handlers: w.use().Handlers(), Poll: time.Microsecond,
		Retry:     operation.Backoff{First: time.Microsecond, Most: time.Millisecond},
		Retryable: func(err error) bool { return errors.Is(err, recovery.ErrUnreachable) },
	}
}

var here = operation.ResumeOptions{ClusterUID: clusterUID, Context: "home"}
