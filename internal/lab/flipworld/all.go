package flipworld

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// Quick is every crash point once, in one recovery, and every request once with faults of one kind.
func (m *Matrix) Quick(ctx context.Context, kind lab.FaultKind) (Tally, error) {
	total, err := m.Stutter(ctx)
	if err != nil {
		return total, err
	}
	m.Logf("dying everywhere: %s", &total)
	spoilt, err := m.Spoil(ctx, kind, false)
	total.Add(spoilt)
	return total, err
}

// All is every crash point by itself, before and after the request; abort from each point ahead of the
// accepted deletion; and every request once with each kind of fault, also where only the answer is lost.
// It takes hours.
func (m *Matrix) All(ctx context.Context) (Tally, error) {
	requests, err := m.Clean(ctx)
	if err != nil {
		return Tally{}, err
	}
	total, err := m.crashes(ctx, requests)
	if err != nil {
		return total, err
	}
	for _, kind := range lab.FaultKinds() {
		for _, applied := range []bool{false, true} {
			spoilt, err := m.Spoil(ctx, kind, applied)
			total.Add(spoilt)
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

func (m *Matrix) crashes(ctx context.Context, requests []lab.ProxyRequest) (Tally, error) {
	var total Tally
	points, deletion := 0, 0
	for _, r := range requests {
		points = max(points, r.MutatingN)
		if r.Method == http.MethodDelete && strings.HasSuffix(r.Path, "/clusters/"+lab.RecoveryCluster) {
			deletion = r.MutatingN
		}
	}
	if deletion == 0 {
		return total, fmt.Errorf("flipworld: the clean run deleted no Cluster")
	}
	m.Logf("%d requests change something; the deletion is number %d", points, deletion)
	for n := 1; n <= points; n++ {
		for _, when := range []lab.KillWhen{lab.Before, lab.After} {
			one, err := m.Crash(ctx, n, when)
			total.Add(one)
			if err != nil {
				return total, fmt.Errorf("point %d %s: %w", n, when, err)
			}
			if n > deletion || (n == deletion && when == lab.After) {
				continue
			}
			if one, err = m.CrashAndAbort(ctx, n, when); err != nil {
				return total, fmt.Errorf("abort from point %d %s: %w", n, when, err)
			}
			total.Add(one)
		}
	}
	return total, nil
}
