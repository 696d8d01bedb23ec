package operation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// childVariable makes the test binary the process that is killed: "VERB N DIR".
const childVariable = "DRCTL_OPERATION_CHILD"

func TestMain(m *testing.M) {
	if task := os.Getenv(childVariable); task != "" {
		child(task)
		return
	}
	os.Exit(m.Run())
}

// child does one verb and kills itself at point N. Its exit code is 0 when that point is never reached.
func child(task string) {
	var verb, dir string
	var point int
	if _, err := fmt.Sscanf(task, "%s %d %s", &verb, &point, &dir); err != nil {
		panic(err)
	}
	w := newWorld(dir)
	w.killAt, w.die = point, killed
	if err := w.do(context.Background(), verb); err != nil {
		panic(err)
	}
}

func (w *world) do(ctx context.Context, verb string) error {
	switch verb {
	case "start":
		return w.engine().Start(ctx, flipPlan())
	case "resume":
		return w.engine().Resume(ctx, planID, here)
	}
	return w.engine().Abort(ctx, planID, here)
}

// kill runs a verb in a process of its own that dies at the point. It gives false when it ended before.
func kill(t *testing.T, dir, verb string, point int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+verb+" "+strconv.Itoa(point)+" "+dir)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	status, ok := exit.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v: %s", err, out)
	return true
}

// fall runs a verb in this process and falls over at the point. It gives false when it ended before.
func fall(t *testing.T, dir, verb string, point int) (fell bool) {
	t.Helper()
	w := newWorld(dir)
	w.killAt = point
	defer func() {
		if thrown := recover(); thrown != nil {
			require.Equal(t, errDied, thrown)
			fell = true
		}
	}()
	err := w.do(t.Context(), verb)
	if !errors.Is(err, ErrFinished) && !errors.Is(err, recovery.ErrNotFound) && !errors.Is(err, ErrPastReturn) && !errors.Is(err, ErrUnfinished) {
		require.NoError(t, err)
	}
	return false
}

// wanted is how a clean run leaves the world.
func wanted(t *testing.T) (state, int) {
	t.Helper()
	w := newWorld(t.TempDir())
	require.NoError(t, w.do(t.Context(), "start"))
	end := w.read()
	require.Empty(t, end.Lost)
	for step, count := range end.Applied {
		require.Equal(t, 1, count, step)
	}
	w.requireNothingLeft(t)
	return end, w.seen
}

// requireNothingLeft: neither mirror nor lock stay.
func (w *world) requireNothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(w.dir, "mirror-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoFileExists(t, filepath.Join(w.dir, "lease"))
}

func (s state) withoutCounts() state {
	s.Applied = nil
	return s
}

// settled brings the plan to its end by resume, as an operator would, and checks that end.
func settled(t *testing.T, w *world, want state) {
	t.Helper()
	err := w.do(t.Context(), "resume")
	if errors.Is(err, recovery.ErrNotFound) {
		require.Equal(t, state{Cluster: "old", Git: "v1", Pushed: "v1"}, w.read().withoutCounts(), "no plan, so nothing may have happened")
		return
	}
	if !errors.Is(err, ErrFinished) {
		require.NoError(t, err)
	}
	require.Equal(t, want.withoutCounts(), w.read().withoutCounts())
	w.requireNothingLeft(t)
	view, err := w.engine().Store.View(planID)
	require.NoError(t, err)
	require.Equal(t, PlanFinished, view.State)
}

// eachPoint kills a process of its own at each point of a clean run, and judges what is left.
func eachPoint(t *testing.T, judge func(t *testing.T, point int, w *world, want state)) int {
	t.Helper()
	want, points := wanted(t)
	require.Greater(t, points, 60)
	t.Run("points", func(t *testing.T) {
		for point := 1; point <= points; point++ {
			t.Run(strconv.Itoa(point), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t.TempDir())
				require.True(t, kill(t, w.dir, "start", point))
				judge(t, point, w, want)
			})
		}
	})
	require.False(t, kill(t, t.TempDir(), "start", points+1))
	return points
}

// TestKilledAnywhereThenResumed kills a real process before and after every write of the journal, every
// effect, and every request to the mirror and the lock.
func TestKilledAnywhereThenResumed(t *testing.T) {
	var resumed atomic.Int64
	points := eachPoint(t, func(t *testing.T, _ int, w *world, want state) {
		settled(t, w, want)
		resumed.Add(1)
	})
	t.Logf("points=%d resumed=%d", points, resumed.Load())
	require.EqualValues(t, points, resumed.Load())
}

// aborted brings the plan to its end by abort, else by resume, and counts what was lost.
func aborted(t *testing.T, w *world, want state) (back bool, lost int) {
	t.Helper()
	expected := state{Cluster: "old", Git: "v1", Pushed: "v1"}
	err := w.do(t.Context(), "abort")
	switch {
	case errors.Is(err, ErrPastReturn):
		require.ErrorContains(t, err, "drctl resume "+planID)
		require.NotEqual(t, "old", w.read().Cluster)
		settled(t, w, want)
		return false, len(w.read().Lost)
	case errors.Is(err, ErrFinished):
		view, err := w.engine().Store.View(planID)
		require.NoError(t, err)
		if view.State == PlanFinished {
			expected = want
		}
	case !errors.Is(err, recovery.ErrNotFound):
		require.NoError(t, err)
	}
	w.requireNothingLeft(t)
	end := w.read()
	lost = len(end.Lost)
	if !end.same(expected) {
		lost++
	}
	return true, lost
}

func (s state) same(other state) bool {
	return fmt.Sprint(s.withoutCounts()) == fmt.Sprint(other.withoutCounts())
}

// TestKilledAnywhereThenAborted: before the delete all is as it was, after it abort refuses. Without the
// write-ahead order an abort that follows a kill in the wrong moment loses data, and this test sees it.
func TestKilledAnywhereThenAborted(t *testing.T) {
	var back, on, lost atomic.Int64
	points := eachPoint(t, func(_ *testing.T, point int, w *world, want state) {
		returned, gone := aborted(t, w, want)
		if gone > 0 {
			t.Logf("point %d: %+v", point, w.read())
		}
		lost.Add(int64(gone))
		if returned {
			back.Add(1)
		} else {
			on.Add(1)
		}
	})
	t.Logf("points=%d aborted=%d resumed=%d lost=%d", points, back.Load(), on.Load(), lost.Load())
	require.Greater(t, back.Load(), int64(10))
	require.Greater(t, on.Load(), int64(10))
	if safeguard.WriteAhead {
		require.Zero(t, lost.Load())
	} else {
		require.Positive(t, lost.Load(), "the matrix cannot fail")
	}
}

// inProcess is the first point that lies behind the opening of the plan: a fall before it would leave the
// file lock with this process.
const inProcess = 3

// TestFallenTwice: the resume falls over, too, and so does the abort.
func TestFallenTwice(t *testing.T) {
	want, points := wanted(t)
	for first := inProcess; first < points; first += 11 {
		t.Run(strconv.Itoa(first), func(t *testing.T) {
			t.Parallel()
			for second, more := inProcess, true; more && safeguard.WriteAhead; second += 7 {
				w := newWorld(t.TempDir())
				require.True(t, fall(t, w.dir, "start", first))
				more = fall(t, w.dir, "resume", second)
				settled(t, w, want)

				w = newWorld(t.TempDir())
				require.True(t, fall(t, w.dir, "start", first))
				more = fall(t, w.dir, "abort", second) || more
				_, lost := aborted(t, w, want)
				require.Zero(t, lost, "%d %d", first, second)
			}
		})
	}
}
