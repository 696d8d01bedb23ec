package bootstrap

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// troublesEvery and databasesEvery are how often what costs more requests is looked at.
	troublesEvery  = 5 * time.Second
	databasesEvery = 20 * time.Second
	// watchEvery is the pause between two looks where no plan runs.
	watchEvery = 2 * time.Second
)

// looks is what one process remembers between two looks at the waves. A process that resumes begins anew.
type looks struct {
	last   *Waves
	begun  time.Time
	states map[string]seenState
	// settledAtFirst were at rest when this process came: they say nothing about how long one takes.
	settledAtFirst int

	troublesAt, databasesAt time.Time
	blockers                []Blocker
	claims                  []recovery.RestoringClaim
	empty                   []EmptyDatabase
	emptyClaims             []EmptyClaim
	unread                  recovery.Gaps
	holdings                map[string]DatabaseHolding
}

type seenState struct {
	state string
	since time.Time
}

// wavesStep watches the waves until all is at rest, or its time is over: how it ended is said at the end, and is
// no reason to leave the plan unfinished.
type wavesStep struct {
	operation.Waits
	*Bootstrap
}

func (s wavesStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	until, err := s.until(ctx, run, p)
	if err != nil {
		return operation.Observation{}, err
	}
	waves, err := s.Look(ctx, p)
	if err != nil {
		return operation.Observation{}, err
	}
	switch {
	case waves.Healthy():
		return done(ctx, run, FactHealthy, s.Now())
	case s.Now().After(until):
		if err := run.SetFact(ctx, FactUnhealthy, strings.Join(waves.Unsettled(), ",")); err != nil {
			return operation.Observation{}, err
		}
		return operation.IsDone()
	}
	return operation.IsPending("%s", waves.String())
}

// until is when the waves are not waited for any longer: from the first look of the first process.
func (s wavesStep) until(ctx context.Context, run *operation.Run, p *Params) (time.Time, error) {
	if text, known := run.Fact(factUntil); known {
		if until, err := time.Parse(time.RFC3339, text); err == nil {
			return until, nil
		}
	}
	until := s.Now().UTC().Add(time.Duration(p.WavesSeconds) * time.Second)
	return until, run.SetFact(ctx, factUntil, until.Format(time.RFC3339))
}

// Watch looks at the waves until all is at rest or the time is over, without a plan: nothing is changed.
func (b *Bootstrap) Watch(ctx context.Context, p *Params, most time.Duration) (*Waves, error) {
	until := b.Now().Add(most)
	for {
		waves, err := b.Look(ctx, p)
		if err != nil && !errors.Is(err, recovery.ErrUnreachable) {
			return waves, err
		}
		if err == nil && waves.Healthy() || b.Now().After(until) {
			return waves, err
		}
		if err := pause(ctx, watchEvery); err != nil {
			return waves, err
		}
	}
}

func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Look is one look at the waves. What can't be read besides the Applications is among Unread.
func (b *Bootstrap) Look(ctx context.Context, p *Params) (*Waves, error) {
	live, err := b.Cluster.Applications(ctx)
	if err != nil {
		return nil, err
	}
	now := b.Now()
	waves := &Waves{At: now, Applications: joined(p.Applications, live)}
	b.looks.date(waves)
	waves.Settled = len(waves.Applications) - len(waves.Unsettled())
	waves.Wave = waves.lowest()
	if b.looks.begun.IsZero() {
		b.looks.begun, b.looks.settledAtFirst = now, waves.Settled
	}
	first := b.looks.settledAtFirst
	waves.Remaining = remaining(waves.Settled-first, len(waves.Applications)-first, now.Sub(b.looks.begun))
	if waves.Healthy() {
		b.looks.troublesAt, b.looks.databasesAt = time.Time{}, time.Time{} // the last look is a whole one
	}
	b.lookCloser(ctx, p, waves)
	waves.Blockers, waves.Claims, waves.Unread = b.looks.blockers, b.looks.claims, b.looks.unread
	waves.Empty, waves.EmptyClaims = b.looks.empty, b.looks.emptyClaims
	if b.Show != nil {
		b.Show(waves)
	}
	b.looks.last = waves
	return waves, nil
}

// Last is what this process saw last, nil when it did not look.
func (b *Bootstrap) Last() *Waves { return b.looks.last }

// lookCloser looks at what costs more requests, now and then.
func (b *Bootstrap) lookCloser(ctx context.Context, p *Params, waves *Waves) {
	l := &b.looks
	if waves.At.Sub(l.troublesAt) >= troublesEvery {
		var unread recovery.Gaps
		l.troublesAt = waves.At
		l.blockers = b.blockers(ctx, waves, &unread)
		claims, err := b.Cluster.Claims(ctx)
		unread.Add("list claims", err)
		l.emptyClaims, err = b.emptyClaims(ctx, p, claims)
		unread.Add("compare the claims with their backups", err)
		l.claims, l.unread = claims, unread
	}
	if waves.At.Sub(l.databasesAt) >= databasesEvery {
		l.databasesAt = waves.At
		empty, err := b.empty(ctx, p)
		l.unread.Add("look for empty databases", err)
		l.empty = empty
	}
}

// date says since when each is as it is.
func (l *looks) date(w *Waves) {
	if l.states == nil {
		l.states = map[string]seenState{}
	}
	for i := range w.Applications {
		app := &w.Applications[i]
		state := app.State()
		if seen, known := l.states[app.Name]; !known || seen.state != state {
			l.states[app.Name] = seenState{state, w.At}
		}
		app.Since = l.states[app.Name].since
	}
}

// lowest is the lowest wave that is not at rest, or the last one. The root is as unfinished as what it makes.
func (w *Waves) lowest() int {
	wave := 0
	for i := range w.Applications {
		app := &w.Applications[i]
		wave = app.Wave
		if app.Absent || !app.AtRest() && !w.makes(app) {
			break
		}
	}
	return wave
}

// makes holds for the Application of Applications: that it waits says nothing but that others are not there yet.
func (w *Waves) makes(app *WaveApplication) bool {
	for i := range w.Applications {
		if other := &w.Applications[i]; other.Name != app.Name && other.Parent == app.Name {
			return true
		}
	}
	return false
}
