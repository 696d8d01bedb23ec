// Package disturb runs one operation of drctl again and again, kills it or spoils a request each time, and
// counts what came of it. It knows no operation: the world around it says how one begins and how it is judged.
//
// It must not import any package of drctl but lab.
package disturb

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// Tally is what a matrix counted. Nothing in it is written by hand.
type Tally struct {
	// Points are the deaths of drctl, Resumed those after which the operation (or the abort) ended well.
	Points, Resumed int
	// Lost counts worlds in which data was gone, Left those with something else wrong at the end.
	Lost, Left int
	// Faults are the spoilt requests, Handled those of runs that ended well.
	Faults, Handled int
}

// Add adds up.
func (t *Tally) Add(other Tally) {
	t.Points += other.Points
	t.Resumed += other.Resumed
	t.Lost += other.Lost
	t.Left += other.Left
	t.Faults += other.Faults
	t.Handled += other.Handled
}

// String is the line that a matrix ends with.
func (t *Tally) String() string {
	return fmt.Sprintf("points=%d resumed=%d lost=%d faults=%d handled=%d", t.Points, t.Resumed, t.Lost, t.Faults, t.Handled)
}

// Good reports whether everything ended well, and something was tried at all.
func (t *Tally) Good() bool {
	return t.Points+t.Faults > 0 && t.Resumed == t.Points && t.Lost == 0 && t.Left == 0 && t.Handled == t.Faults
}

// World is where the operation happens.
type World interface {
	// Begin prepares one operation, with data that nobody saw before.
	Begin(ctx context.Context) (Attempt, error)
}

// Attempt is one operation on one computer.
type Attempt interface {
	// Command is drctl with these arguments, going through the proxy; Operation are those that begin it.
	Command(ctx context.Context, args ...string) *exec.Cmd
	Operation() []string
	// Plans are the unfinished plans on that computer.
	Plans() ([]string, error)
	// Done judges the world as it must be after the operation, Untouched as it must be when nothing has
	// happened or everything was undone. Every loss or leftover is an error; a lost datum has LOST in it. A
	// lock of a dead process is no leftover for Untouched.
	Done(ctx context.Context) error
	Untouched(ctx context.Context) error
}

// Lost reports whether a judgement found data gone, and not only something left undone.
func Lost(err error) bool { return err != nil && strings.Contains(err.Error(), "LOST") }

// Matrix disturbs operations of one world.
type Matrix struct {
	World World
	Proxy *lab.KillProxy
	// Return is the request behind which there is no way back.
	Return func(lab.ProxyRequest) bool
	// Logf says how it goes.
	Logf func(format string, args ...any)
}

// mostRuns bounds how often drctl is started again until an operation is at its end.
const mostRuns = 400

// finish starts drctl until the operation is at its end: resume where there is a plan, else from the
// beginning, which must then have changed nothing.
func (m *Matrix) finish(ctx context.Context, a Attempt) error {
	for range 5 {
		args, err := m.next(ctx, a)
		if err != nil {
			return err
		}
		run, err := lab.RunClean(ctx, m.Proxy, a.Command(ctx, args...))
		if err != nil {
			return err
		}
		if run.ExitCode == 0 {
			return nil
		}
		m.Logf("drctl %s ended with %d:\n%s", strings.Join(args, " "), run.ExitCode, LastLines(run.Stderr))
	}
	return errors.New("not at its end after five tries")
}

// next is what an operator types after drctl died.
func (m *Matrix) next(ctx context.Context, a Attempt) ([]string, error) {
	plans, err := a.Plans()
	if err != nil || len(plans) > 0 {
		return []string{"resume"}, err
	}
	return a.Operation(), a.Untouched(ctx)
}

// LastLines is the end of a program's output.
func LastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], "\n")
}

// judge counts one world.
func (m *Matrix) judge(ctx context.Context, compare func(context.Context) error) (Tally, error) {
	err := compare(ctx)
	if err == nil {
		return Tally{}, nil
	}
	if ctx.Err() != nil {
		return Tally{Left: 1}, ctx.Err()
	}
	m.Logf("the oracle says:\n%v", err)
	if Lost(err) {
		return Tally{Lost: 1}, nil
	}
	return Tally{Left: 1}, nil
}

// Clean is an operation with nothing in its way: it gives the requests that can be hit. The first operation
// of a world may have more to do than those behind it.
func (m *Matrix) Clean(ctx context.Context) ([]lab.ProxyRequest, error) {
	a, err := m.World.Begin(ctx)
	if err != nil {
		return nil, err
	}
	run, err := lab.RunClean(ctx, m.Proxy, a.Command(ctx, a.Operation()...))
	if err != nil {
		return nil, err
	}
	requests := m.Proxy.Log()
	if run.ExitCode != 0 {
		return nil, fmt.Errorf("an operation with nothing in its way ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	return requests, a.Done(ctx)
}

// Crash kills drctl at the n-th request that changes something, and resumes.
func (m *Matrix) Crash(ctx context.Context, n int, when lab.KillWhen) (Tally, error) {
	return m.crash(ctx, lab.Kill{N: n, When: when}, func(a Attempt) error { return m.finish(ctx, a) }, Attempt.Done)
}

// ahead holds for requests that change something while there is a way back still. How many there are
// differs a little from run to run, so the number alone does not say on which side one is.
func (m *Matrix) ahead(when lab.KillWhen) func(lab.ProxyRequest) bool {
	behind := false
	return func(r lab.ProxyRequest) bool {
		if behind || !r.Mutating {
			return false
		}
		behind = m.Return(r)
		return !behind || when == lab.Before
	}
}

// CrashAndAbort kills drctl at the n-th request that changes something, ahead of the point of no return,
// and aborts.
func (m *Matrix) CrashAndAbort(ctx context.Context, n int, when lab.KillWhen) (Tally, error) {
	return m.crash(ctx, lab.Kill{N: n, When: when, Match: m.ahead(when)}, func(a Attempt) error {
		plans, err := a.Plans()
		if err != nil || len(plans) == 0 {
			return err
		}
		run, err := lab.RunClean(ctx, m.Proxy, a.Command(ctx, "abort"))
		if err == nil && run.ExitCode != 0 {
			err = fmt.Errorf("abort ended with %d:\n%s", run.ExitCode, run.Stderr)
		}
		return err
	}, Attempt.Untouched)
}

func (m *Matrix) crash(ctx context.Context, kill lab.Kill, then func(Attempt) error, compare func(Attempt, context.Context) error) (Tally, error) {
	a, err := m.World.Begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	run, err := lab.RunKilled(ctx, m.Proxy, a.Command(ctx, a.Operation()...), kill)
	if err != nil {
		return Tally{}, err
	}
	if !run.Killed && run.ExitCode == 0 {
		// This one had fewer requests than the one that was counted: it is a clean one, and no point.
		m.Logf("%s request %d was not reached", kill.When, kill.N)
		return m.judge(ctx, a.Done)
	}
	if !run.Killed {
		return Tally{}, fmt.Errorf("the point was not reached: drctl ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	tally := Tally{Points: 1}
	if err := then(a); err != nil {
		m.Logf("%s %s: %v", kill.When, run.Hit, err)
	} else {
		tally.Resumed = 1
	}
	judged, err := m.judge(ctx, func(ctx context.Context) error { return compare(a, ctx) })
	tally.Add(judged)
	m.Logf("killed %s %s: %s", kill.When, run.Hit, &tally)
	return tally, err
}
