package operation

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// state is a cluster in which something can be lost, as a file: it outlives the process that is killed.
type state struct {
	Keep, Retain, Fence bool
	// Cluster is old, new, or nothing.
	Cluster string
	// Volumes of the old Cluster that are still there.
	Volumes int
	// Git is the server that the tree names, Pushed the one that the remote names.
	Git, Pushed string
	// Lost says what was done although its precondition did not hold.
	Lost []string
	// Applied counts the effects by step.
	Applied map[string]int
}

// world is the folder that everything stands in: the cluster, the plan's mirror, the plans.
type world struct {
	dir string
	// killAt is the number of the point at which to die; 0 means never. seen counts the points.
	killAt, seen int
	// die ends the process, or the goroutine.
	die func()
}

func newWorld(dir string) *world {
	w := &world{dir: dir, die: func() { panic(errDied) }}
	if _, err := os.Stat(w.path()); errors.Is(err, fs.ErrNotExist) {
		w.write(state{Cluster: "old", Git: "v1", Pushed: "v1", Applied: map[string]int{}})
	}
	return w
}

var errDied = errors.New("died")

// killed makes the process end as nothing can be done about.
func killed() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (w *world) at(string) {
	w.seen++
	if w.seen == w.killAt {
		w.die()
	}
}

func (w *world) path() string { return filepath.Join(w.dir, "state.json") }

func (w *world) read() (s state) {
	w.must(json.Unmarshal(w.must2(os.ReadFile(w.path())), &s))
	return s
}

func (w *world) write(s state) {
	w.must(os.WriteFile(w.path()+".new", w.must2(json.Marshal(s)), 0o600))
	w.must(os.Rename(w.path()+".new", w.path()))
}

func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) must2(content []byte, err error) []byte {
	w.must(err)
	return content
}

// change is an effect: the process may die before and after it.
func (w *world) change(step string, do func(*state)) {
	w.at("before " + step)
	s := w.read()
	do(&s)
	s.Applied[step]++
	w.write(s)
	w.at("after " + step)
}

// lose notes that something was done that loses data.
func (s *state) lose(when bool, what string) {
	if when {
		s.Lost = append(s.Lost, what)
	}
}

// step is a step on the world.
type step struct {
	w    *world
	done func(state) bool
	do   func(*state)
}

func (h step) Observe(_ context.Context, run *Run) (Observation, error) {
	s := h.w.read()
	if h.done(s) {
		return Observation{State: Done}, nil
	}
	return Observation{State: Pending, Why: "waiting for " + run.Step.ID}, nil
}

func (h step) Apply(ctx context.Context, run *Run) error {
	if run.Step.ID == "git" {
		if err := run.SetFact(ctx, "commit", "c0ffee"); err != nil {
			return err
		}
	}
	h.w.change(run.Step.ID, h.do)
	return nil
}

// undoable is a step with a way back.
type undoable struct {
	step
	undo func(*state)
}

func (h undoable) Undo(_ context.Context, run *Run) error {
	h.w.change("undo "+run.Step.ID, h.undo)
	return nil
}

// fenceStep is kept up on resume, unless the plan let it down.
type fenceStep struct{ undoable }

func (h fenceStep) Renew(_ context.Context, run *Run) error {
	if !run.Started("down") {
		h.w.change("renew", func(s *state) { s.Fence = true })
	}
	return nil
}

// deletion is the point of no return.
type deletion struct{ step }

func (h deletion) Happened(context.Context, *Run) (bool, error) {
	return h.w.read().Cluster != "old", nil
}

// waiting changes nothing itself; the world does.
type waiting struct{ step }

func (waiting) WaitOnly() bool { return true }

func (h waiting) Observe(ctx context.Context, run *Run) (Observation, error) {
	if s := h.w.read(); s.Volumes > 0 {
		s.Volumes--
		h.w.write(s)
	}
	return h.step.Observe(ctx, run)
}

func (waiting) Apply(context.Context, *Run) error { return nil }

// handlers are a recovery in small.
func (w *world) handlers() map[string]Handler {
	mk := func(done func(state) bool, do func(*state)) step { return step{w: w, done: done, do: do} }
	return map[string]Handler{
		"git": undoable{mk(func(s state) bool { return s.Git == "v2" }, func(s *state) { s.Git = "v2" }), func(s *state) {
			if s.Pushed == "v1" {
				s.Git = "v1"
			}
		}},
		"keep": undoable{mk(func(s state) bool { return s.Keep }, func(s *state) { s.Keep = true }), func(s *state) { s.Keep = false }},
		"retain": undoable{mk(func(s state) bool { return s.Retain }, func(s *state) { s.Retain = true }), func(s *state) {
			s.lose(s.Cluster != "old", "Retain undone after the delete")
			s.Retain = false
		}},
		"fence": fenceStep{undoable{mk(func(s state) bool { return s.Fence }, func(s *state) { s.Fence = true }), func(s *state) { s.Fence = false }}},
		"delete": deletion{mk(func(s state) bool { return s.Cluster != "old" }, func(s *state) {
			s.lose(!s.Fence || !s.Retain || !s.Keep, "deleted without protection")
			s.lose(s.Cluster == "new", "deleted the replacement")
			s.Cluster, s.Volumes = "", 2
		})},
		"gone": waiting{mk(func(s state) bool { return s.Volumes == 0 }, nil)},
		"create": mk(func(s state) bool { return s.Cluster == "new" }, func(s *state) {
			s.lose(s.Volumes > 0, "old volumes adopted")
			s.lose(s.Cluster == "old", "created over the old one")
			s.Cluster = "new"
		}),
		"push": mk(func(s state) bool { return s.Pushed == "v2" }, func(s *state) {
			s.lose(s.Cluster == "old", "pushed to the old one")
			s.Pushed = "v2"
		}),
		"down": mk(func(s state) bool { return !s.Fence }, func(s *state) {
			s.lose(s.Cluster != "new", "fence down too early")
			s.Fence = false
		}),
	}
}

const planID = "cnpg-recover-20261124-061502-k3x9"

var begun = time.Date(2026, 11, 24, 6, 15, 2, 0, time.UTC)

// plan is a plan of these steps; delete is the point of no return.
func plan(ids ...string) Plan {
	p := Plan{
		ID: planID, Operation: "cnpg-recover", Target: "cloudnative-pg/immich-database", RecoveryPoint: "20261123T020000", ClusterUID: "uid-1",
		Server: "https://127.0.0.1:6443", Context: "home", CreatedBy: "ada@laptop", CreationTime: begun, Params: json.RawMessage(`{"servers":["v1","v2"]}`),
	}.complete()
	for _, id := range ids {
		p.Steps = append(p.Steps, Step{ID: id, Kind: id, Title: id + " immich-database", PointOfNoReturn: id == "delete", Timeout: time.Minute})
	}
	return p
}

func flipPlan() Plan {
	return plan("git", "keep", "retain", "fence", "delete", "gone", "create", "push", "down")
}

// engine is a process at work in this world.
func (w *world) engine() *Engine {
	store := NewStore(filepath.Join(w.dir, "plans"))
	store.crash = w.at
	return &Engine{
		Store: store, Handlers: w.handlers(), Mirror: &folderMirror{w: w}, Lock: &folderLock{w: w}, Poll: time.Microsecond,
		Retry: Backoff{First: time.Microsecond, Most: time.Millisecond}, Retryable: func(err error) bool { return errors.Is(err, recovery.ErrUnreachable) },
	}
}

var here = ResumeOptions{ClusterUID: "uid-1", Context: "home"}
