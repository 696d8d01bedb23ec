package operation

import (
	"context"
	"math/rand/v2"
	"time"
)

// pauses are the growing pauses of one series of tries.
type pauses struct {
	next, most time.Duration
}

func (e *Engine) pauses() *pauses {
	p := &pauses{next: e.Retry.First, most: e.Retry.Most}
	if p.next <= 0 {
		p.next = defaultFirst
	}
	if p.most <= 0 {
		p.most = max(defaultMost, p.next)
	}
	return p
}

// wait waits for the next pause. It gives false when the context ended first.
func (p *pauses) wait(ctx context.Context) bool {
	pause := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, p.most)
	return sleep(ctx, pause)
}

func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (e *Engine) retryable(err error) bool { return e.Retryable != nil && e.Retryable(err) }

// retry does something until it succeeds, fails for good, or the context ends.
func (e *Engine) retry(ctx context.Context, do func(ctx context.Context) error) error {
	pauses := e.pauses()
	for {
		err := do(ctx)
		if err == nil || ctx.Err() != nil || !e.retryable(err) || !pauses.wait(ctx) {
			return err
		}
	}
}
