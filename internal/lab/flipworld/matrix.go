package flipworld

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// Tally is what a matrix counted. Nothing in it is written by hand.
type Tally struct {
	// Points are the deaths of drctl, Resumed those after which the recovery (or the abort) ended well.
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

// Matrix runs recoveries that are killed and spoilt.
type Matrix struct {
	*World
	// Logf says how it goes.
	Logf func(format string, args ...any)
}

// mostRuns bounds how often drctl is started again until a recovery is at its end.
const mostRuns = 400

// begin prepares one recovery: rows that nobody saw before, all of them archived.
func (m *Matrix) begin(ctx context.Context) (*Operator, *State, error) {
	if err := m.Tidy(ctx); err != nil {
		return nil, nil, err
	}
	if err := m.WaitHealthy(ctx, lab.RecoveryCluster); err != nil {
		return nil, nil, err
	}
	if _, err := m.WriteRows(ctx, 7); err != nil {
		return nil, nil, err
	}
	if _, err := m.SwitchWAL(ctx); err != nil {
		return nil, nil, err
	}
	if err := m.Settled(ctx); err != nil {
		return nil, nil, err
	}
	o, err := m.NewOperator(ctx)
	if err != nil {
		return nil, nil, err
	}
	before, err := m.Look(ctx, o)
	return o, before, err
}

// finish starts drctl until the recovery is at its end: resume where there is a plan, else from the
// beginning, which must then have changed nothing.
func (m *Matrix) finish(ctx context.Context, o *Operator, before *State) error {
	for range 5 {
		args, err := m.next(ctx, o, before)
		if err != nil {
			return err
		}
		run, err := o.Run(ctx, args...)
		if err != nil {
			return err
		}
		if run.ExitCode == 0 {
			return nil
		}
		m.Logf("drctl %s ended with %d:\n%s", strings.Join(args, " "), run.ExitCode, lastLines(run.Stderr))
	}
	return errors.New("not recovered after five tries")
}

// next is what an operator types after drctl died.
func (m *Matrix) next(ctx context.Context, o *Operator, before *State) ([]string, error) {
	plans, err := o.Plans()
	if err != nil || len(plans) > 0 {
		return []string{"resume"}, err
	}
	after, err := m.Look(ctx, o)
	if err != nil {
		return nil, err
	}
	// A Lease of the dead process may be left: it expires, and holds nobody up on this computer.
	after.Left = withoutLeases(after.Left)
	return Recover(), before.Untouched(after)
}

func withoutLeases(left []string) []string {
	var rest []string
	for _, object := range left {
		if !strings.HasPrefix(object, "Lease ") {
			rest = append(rest, object)
		}
	}
	return rest
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], "\n")
}

// judge counts one world.
func (m *Matrix) judge(ctx context.Context, o *Operator, before *State, compare func(before, after *State) error) (Tally, error) {
	after, err := m.Look(ctx, o)
	if err != nil {
		return Tally{Left: 1}, err
	}
	err = compare(before, after)
	if err == nil {
		return Tally{}, nil
	}
	m.Logf("the oracle says:\n%v", err)
	if Lost(err) {
		return Tally{Lost: 1}, nil
	}
	return Tally{Left: 1}, nil
}

func recovered(before, after *State) error { return before.Recovered(after) }

// Clean is a recovery with nothing in its way: it gives the requests that can be hit.
func (m *Matrix) Clean(ctx context.Context) ([]lab.ProxyRequest, error) {
	o, before, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	run, err := o.Run(ctx, Recover()...)
	if err != nil {
		return nil, err
	}
	requests := m.Proxy.Log()
	if run.ExitCode != 0 {
		return nil, fmt.Errorf("a recovery with nothing in its way ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	after, err := m.Look(ctx, o)
	if err != nil {
		return nil, err
	}
	return requests, before.Recovered(after)
}

// Crash kills drctl at the n-th request that changes something, and resumes.
func (m *Matrix) Crash(ctx context.Context, n int, when lab.KillWhen) (Tally, error) {
	return m.crash(ctx, lab.Kill{N: n, When: when}, func(o *Operator, before *State) error { return m.finish(ctx, o, before) }, recovered)
}

// CrashAndAbort kills drctl there, and aborts.
func (m *Matrix) CrashAndAbort(ctx context.Context, n int, when lab.KillWhen) (Tally, error) {
	return m.crash(ctx, lab.Kill{N: n, When: when}, func(o *Operator, _ *State) error {
		plans, err := o.Plans()
		if err != nil || len(plans) == 0 {
			return err
		}
		run, err := o.Run(ctx, "abort")
		if err == nil && run.ExitCode != 0 {
			err = fmt.Errorf("abort ended with %d:\n%s", run.ExitCode, run.Stderr)
		}
		return err
	}, func(before, after *State) error {
		after.Left = withoutLeases(after.Left)
		return before.Untouched(after)
	})
}

func (m *Matrix) crash(ctx context.Context, kill lab.Kill, then func(*Operator, *State) error, compare func(before, after *State) error) (Tally, error) {
	o, before, err := m.begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	run, err := lab.RunKilled(ctx, m.Proxy, o.Command(ctx, Recover()...), kill)
	if err != nil {
		return Tally{}, err
	}
	if !run.Killed && run.ExitCode == 0 {
		// This recovery had fewer requests than the one that was counted (nothing to do for a Secret that
		// has no owner any more): it is a clean one, and no point.
		m.Logf("%s request %d was not reached", kill.When, kill.N)
		return m.judge(ctx, o, before, recovered)
	}
	if !run.Killed {
		return Tally{}, fmt.Errorf("the point was not reached: drctl ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	tally := Tally{Points: 1}
	if err := then(o, before); err != nil {
		m.Logf("%s %s: %v", kill.When, run.Hit, err)
	} else {
		tally.Resumed = 1
	}
	judged, err := m.judge(ctx, o, before, compare)
	tally.Add(judged)
	m.Logf("killed %s %s: %s", kill.When, run.Hit, &tally)
	return tally, err
}
