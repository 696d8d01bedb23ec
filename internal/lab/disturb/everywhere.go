package disturb

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

const (
	// unfinished is drctl's exit code for a plan that can be resumed.
	unfinished = 4
	// mostStops is how often drctl may stop by itself among its deaths.
	mostStops = 5
)

// Stutter is one operation that dies at every request that changes something: before it, and once it is
// resumed, after it. Copies of the journal look all alike to the proxy, so each process dies at its third
// one, before and after in turn.
func (m *Matrix) Stutter(ctx context.Context) (Tally, error) {
	a, err := m.World.Begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	var tally Tally
	deaths, stops := map[string]int{}, 0
	for range mostRuns {
		args, err := m.next(ctx, a)
		if err != nil {
			return tally, err
		}
		run, err := lab.RunKilled(ctx, m.Proxy, a.Command(ctx, args...), m.stutter(deaths))
		if err != nil {
			return tally, err
		}
		if run.ExitCode == 0 {
			break
		}
		if !run.Killed && run.ExitCode == unfinished && stops < mostStops {
			// It stopped by itself and says that it can be resumed, as where it was not there to hear a mover.
			stops++
			m.Proxy.Reset()
			m.Logf("drctl %s stopped after %d deaths:\n%s", strings.Join(args, " "), tally.Points, LastLines(run.Stderr))
			continue
		}
		if !run.Killed {
			m.Proxy.Reset()
			return tally, fmt.Errorf("drctl %s ended with %d after %d deaths:\n%s", strings.Join(args, " "), run.ExitCode, tally.Points, run.Stderr)
		}
		deaths[pointOf(run.Hit)]++
		tally.Points++
		m.Proxy.Reset()
	}
	judged, err := m.judge(ctx, a.Done)
	if judged.Lost+judged.Left == 0 && err == nil {
		tally.Resumed = tally.Points
	}
	tally.Add(judged)
	return tally, err
}

// pointOf names a request that is the same in every run.
func pointOf(r lab.ProxyRequest) string { return string(r.Target) + " " + r.Method + " " + r.Path }

// isCopy holds for the copy of a plan, and not for ConfigMaps that the operation itself is about.
func isCopy(r lab.ProxyRequest) bool { return strings.Contains(r.Path, "/configmaps/PLAN") }

// stutter kills at the first request that has not killed on both sides yet.
func (m *Matrix) stutter(deaths map[string]int) lab.Kill {
	copies := 0
	return lab.Kill{
		N: 1,
		WhenOf: func(r lab.ProxyRequest) lab.KillWhen {
			if deaths[pointOf(r)]%2 == 0 {
				return lab.Before
			}
			return lab.After
		},
		Match: func(r lab.ProxyRequest) bool {
			switch {
			case !r.Mutating:
				return false
			case isCopy(r) && r.Method == http.MethodPatch:
				copies++
				return copies == 3
			}
			return deaths[pointOf(r)] < 2
		},
	}
}

// Spoil is one operation in which every request meets a fault of that kind once; which request that is,
// is told by method and path. Whenever drctl ends, it is started again as an operator would.
func (m *Matrix) Spoil(ctx context.Context, kind lab.FaultKind, applied bool) (Tally, error) {
	a, err := m.World.Begin(ctx)
	if err != nil {
		return Tally{}, err
	}
	var tally Tally
	spoilt := map[string]bool{}
	ended := false
	for range mostRuns {
		args, err := m.next(ctx, a)
		if err != nil {
			return tally, err
		}
		run, hits, err := lab.RunEach(ctx, m.Proxy, a.Command(ctx, args...), func(r lab.ProxyRequest) *lab.Fault {
			if key := pointOf(r); !spoilt[key] {
				spoilt[key] = true
				return &lab.Fault{Kind: kind, Applied: applied}
			}
			return nil
		})
		if err != nil {
			return tally, err
		}
		tally.Faults += len(hits)
		if run.ExitCode == 0 {
			ended = true
			break
		}
		if len(hits) == 0 {
			return tally, fmt.Errorf("drctl %s ended with %d though nothing was spoilt:\n%s", strings.Join(args, " "), run.ExitCode, run.Stderr)
		}
		m.Logf("%s at %s: ended with %d: %s", kind, hits[len(hits)-1], run.ExitCode, LastLines(run.Stderr))
	}
	judged, err := m.judge(ctx, a.Done)
	if ended && judged.Lost+judged.Left == 0 && err == nil {
		tally.Handled = tally.Faults
	}
	tally.Add(judged)
	m.Logf("%s at every request: %s", kind, &tally)
	return tally, err
}
