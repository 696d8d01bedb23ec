package flipworld

import (
	"context"
	"strings"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
)

// Matrix runs recoveries that are killed and spoilt.
type Matrix struct {
	*disturb.Matrix
	*World
}

// Tally is what a matrix counted.
type Tally = disturb.Tally

// NewMatrix makes the matrix of a world.
func NewMatrix(w *World, logf func(format string, args ...any)) *Matrix {
	m := &Matrix{World: w}
	m.Matrix = &disturb.Matrix{World: beginner{m}, Proxy: w.Proxy, Return: isDeletion, Logf: logf}
	return m
}

// beginner prepares recoveries for a matrix.
type beginner struct{ m *Matrix }

// Begin prepares one recovery.
func (b beginner) Begin(ctx context.Context) (disturb.Attempt, error) {
	o, before, err := b.m.begin(ctx)
	return &attempt{Operator: o, m: b.m, before: before}, err
}

// attempt is one recovery on one computer.
type attempt struct {
	*Operator
	m      *Matrix
	before *State
}

// Operation is the whole command.
func (a *attempt) Operation() []string { return Recover() }

// Done judges the world after a recovery.
func (a *attempt) Done(ctx context.Context) error {
	after, err := a.m.Look(ctx, a.Operator)
	if err != nil {
		return err
	}
	return a.before.Recovered(after)
}

// Untouched judges a world in which nothing has happened, or everything was undone. A Lease of a dead
// process may be left: it expires, and holds nobody up on this computer.
func (a *attempt) Untouched(ctx context.Context) error {
	after, err := a.m.Look(ctx, a.Operator)
	if err != nil {
		return err
	}
	after.Left = withoutLeases(after.Left)
	return a.before.Untouched(after)
}

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

func withoutLeases(left []string) []string {
	var rest []string
	for _, object := range left {
		if !strings.HasPrefix(object, "Lease ") {
			rest = append(rest, object)
		}
	}
	return rest
}

func lastLines(text string) string { return disturb.LastLines(text) }

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

// Plans are the IDs of the unfinished plans: what was taken back is begun anew.
func (a *attempt) Plans() ([]string, error) { return disturb.UnfinishedPlans(a.Home) }
