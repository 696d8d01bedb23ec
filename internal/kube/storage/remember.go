package storage

import (
	"context"
	"sync"
	"time"
)

// remembers is how long an answer about the cluster as a whole holds: hundreds of plans ask the same
// question within seconds.
const remembers = 30 * time.Second

// remembered is such an answer. Who asks while it is being read waits for it; a failure is not remembered.
type remembered[T any] struct {
	mu     sync.Mutex
	answer T
	at     time.Time
}

func (r *remembered[T]) get(ctx context.Context, read func(ctx context.Context) (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < remembers {
		return r.answer, nil
	}
	answer, err := read(ctx)
	if err == nil {
		r.answer, r.at = answer, time.Now()
	}
	return answer, err
}
