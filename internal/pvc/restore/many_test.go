package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// claims of the test, in the order of wave and size.
var several = []string{"a/early-small", "b/early-large", "c/late-small", "d/late-large"}

// newSeveral is a platform with four claims that nobody's Application owns.
func newSeveral() *world {
	w := newWorld()
	w.app = nil
	w.gone()
	w.Controllers, w.git = map[string]*controller{}, map[string]json.RawMessage{}
	for i, target := range several {
		w.protect(target, i/2)
	}
	for i := range w.Repo {
		if strings.Contains(w.Repo[i].Source.Username, "large") {
			w.Repo[i].SizeBytes *= 2
		}
	}
	return w
}

// wantSeveral asks for them, in another order.
func wantSeveral() (list []Options, byTarget map[string]Options) {
	byTarget = map[string]Options{}
	for _, i := range []int{3, 1, 0, 2} {
		namespace, name := split(several[i])
		o := Options{Namespace: namespace, Name: name}
		list, byTarget[several[i]] = append(list, o), o
	}
	return list, byTarget
}

// many is a new process that restores many.
type many struct {
	*Many
	engine *operation.Engine

	mu            sync.Mutex
	began         []string
	ended         map[string]error
	running, most int
}

func (w *world) many(dir string) *many {
	m := &many{ended: map[string]error{}, engine: w.engine(dir)}
	m.Many = &Many{
		Restore: w.use(), Plans: operation.NewStore(dir), Engine: func(string) (*operation.Engine, error) { return w.engine(dir), nil },
		Began: func(c Child) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.began = append(m.began, c.Target())
			m.running++
			m.most = max(m.most, m.running)
		},
		Ended: func(c Child, err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ended[c.Target()] = err
			m.running--
		},
	}
	m.ResumeWith(here)
	m.engine.Handlers = m.Handlers()
	return m
}

// plan prepares all of them.
func (m *many) plan(t *testing.T, parallel int) (operation.Plan, []Refusal) {
	t.Helper()
	list, byTarget := wantSeveral()
	prepared, refused, err := m.PrepareMany(t.Context(), append(list, list[0]), nil)
	require.NoError(t, err)
	plan, err := m.PlanMany(prepared, byTarget, parallel)
	require.NoError(t, err)
	return plan, refused
}

func (w *world) requireSeveral(t *testing.T, except ...string) {
	t.Helper()
	require.Empty(t, w.Lost)
	for _, target := range several {
		want := "data of " + strings.SplitN(target, "/", 2)[1] + "s3"
		if strings.Contains(strings.Join(except, " "), target) {
			want = live
		}
		require.NotNil(t, w.Claims[target], target)
		require.Equal(t, want, w.Volumes[w.Claims[target].Volume].Data, target)
	}
}

func TestManyInOrder(t *testing.T) {
	w, dir := newSeveral(), t.TempDir()
	m := w.many(dir)
	plan, refused := m.plan(t, 1)
	require.Empty(t, refused)
	require.Equal(t, "a/early-small and 3 more", plan.Target)
	require.NoError(t, m.engine.Start(t.Context(), plan))
	w.requireSeveral(t)
	require.Equal(t, several, m.began, "begun in that order, too")
	require.Equal(t, 1, m.most)
	p, err := ManyParamsOf(&plan)
	require.NoError(t, err)
	ids := map[string]bool{}
	for i, child := range p.Children {
		require.Equal(t, several[i], child.Target(), "wave, then size")
		require.NotEmpty(t, child.Options.SnapshotID, "what was agreed to is pinned")
		ids[child.Plan] = true
	}
	require.Len(t, ids, 4)
	require.Empty(t, w.Fences)
	require.Empty(t, w.Movers)
}

func TestManySideBySide(t *testing.T) {
	w := newSeveral()
	m := w.many(t.TempDir())
	plan, _ := m.plan(t, 3)
	require.NoError(t, m.engine.Start(t.Context(), plan))
	w.requireSeveral(t)
	require.LessOrEqual(t, m.most, 3)
	require.Greater(t, m.most, 1)
}

// TestOneFailsNobodyElse: one mover fails, one restores something else, and one is refused before.
func TestOneFailsNobodyElse(t *testing.T) {
	w, dir := newSeveral(), t.TempDir()
	w.Claims[several[3]].CNPGCluster = "immich-database"
	w.twist = func(m *mover) {
		switch {
		case m.Destination == nil:
		case m.Destination.Namespace == "b":
			m.Result, m.restored.Errors = "Failed", []string{"ERROR: no route to host"}
		case m.Destination.Namespace == "c":
			m.restored.SelectedID = "another"
		}
	}
	m := w.many(dir)
	plan, refused := m.plan(t, 4)
	require.Len(t, refused, 1)
	require.Equal(t, several[3], refused[0].Target)
	require.ErrorContains(t, refused[0].Err, "drctl cnpg recover immich-database")

	err := m.engine.Start(t.Context(), plan)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, "1 of 3 claims are not done: b/early-large")
	w.requireSeveral(t, several[1:]...)
	require.NoError(t, m.ended[several[0]])
	require.ErrorIs(t, m.ended[several[2]], recovery.ErrPartial)
	_, facts, err := m.Plans.Read(plan.ID)
	require.NoError(t, err)
	require.Contains(t, facts[factRefused+several[2]], "the mover restored another snapshot: another")

	w.twist = nil
	w.Movers[sorted(w.Movers)[0]].Result = ""
	second := w.many(dir)
	require.NoError(t, second.engine.Resume(t.Context(), plan.ID, here))
	require.Equal(t, []string{several[1]}, second.began, "neither what is done, nor what was refused")
	w.requireSeveral(t, several[2:]...)
}

// TestManyInAnotherProcess: what was not begun is prepared anew, with the snapshot that was agreed to.
func TestManyInAnotherProcess(t *testing.T) {
	w, dir := newSeveral(), t.TempDir()
	m := w.many(dir)
	ctx, cancel := context.WithCancel(t.Context())
	ended := m.Ended
	m.Ended = func(c Child, err error) { ended(c, err); cancel() }
	plan, _ := m.plan(t, 1)
	err := m.engine.Start(ctx, plan)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, "drctl resume "+plan.ID)
	require.Less(t, len(m.began), 4)

	p, err := ManyParamsOf(&plan)
	require.NoError(t, err)
	for _, target := range several {
		s := recovery.Snapshot{ID: "newer-" + target, Source: w.templates[target].Identity, StartTime: noon.Add(-time.Minute), FileCount: 9, SizeBytes: 9}
		w.backup(s)
	}
	second := w.many(dir)
	require.NoError(t, second.engine.Resume(t.Context(), plan.ID, here))
	w.requireSeveral(t)
	for _, child := range p.Children {
		view, err := m.Plans.View(child.Plan)
		require.NoError(t, err)
		require.Equal(t, operation.PlanFinished, view.State)
	}
}

// TestOneOfOneInAnotherProcess: the plan of plans has the target of its only claim, and must not refuse it.
func TestOneOfOneInAnotherProcess(t *testing.T) {
	w, dir := newSeveral(), t.TempDir()
	m := w.many(dir)
	o := Options{Namespace: "a", Name: "early-small"}
	prepared, _, err := m.PrepareMany(t.Context(), []Options{o}, nil)
	require.NoError(t, err)
	plan, err := m.PlanMany(prepared, map[string]Options{several[0]: o}, 1)
	require.NoError(t, err)
	require.Equal(t, several[0], plan.Target)
	m.Engine = func(string) (*operation.Engine, error) { return nil, recovery.ErrUnreachable }
	require.ErrorIs(t, m.engine.Start(t.Context(), plan), operation.ErrUnfinished)
	second := w.many(dir)
	second.Unfinished = func(context.Context) ([]operation.PlanView, recovery.Gaps, error) { return second.Plans.Unfinished() }
	require.NoError(t, second.engine.Resume(t.Context(), plan.ID, here))
	require.Equal(t, "data of early-smalls3", w.Volumes[w.Claims[several[0]].Volume].Data)
}

// TestSomebodyIsAtOne: a claim at which somebody else is busy is not refused for good.
func TestSomebodyIsAtOne(t *testing.T) {
	w, dir := newSeveral(), t.TempDir()
	m := w.many(dir)
	plan, _ := m.plan(t, 2)
	m.Engine = func(namespace string) (*operation.Engine, error) {
		engine := w.engine(dir)
		if namespace == "b" {
			engine.Lock = busyLock{}
		}
		return engine, nil
	}
	err := m.engine.Start(t.Context(), plan)
	require.ErrorIs(t, err, operation.ErrUnfinished)
	require.ErrorContains(t, err, several[1])
	w.requireSeveral(t, several[1])
	require.NoError(t, w.many(dir).engine.Resume(t.Context(), plan.ID, here))
	w.requireSeveral(t)
}

type busyLock struct{}

func (busyLock) Acquire(context.Context, operation.Plan, bool) (operation.Held, error) {
	return nil, fmt.Errorf("lock: %w", operation.ErrBusy)
}
