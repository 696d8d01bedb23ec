package fence

import (
	"context"
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// probePause is between two looks: often enough to meet each API server behind a load balancer several
	// times a second.
	probePause = 100 * time.Millisecond
	// slowestPace is the pause that counts as "running" still: a few slow requests prove too little.
	slowestPace = 500 * time.Millisecond
	// leastProbes is how often each fence of a proof must have been refused.
	leastProbes = 3
	// mostAtOnce bounds the requests that are under way at a time.
	mostAtOnce = 8
	// mostOffences is how often a fence may spoil the proof of others, once it had time to become effective.
	mostOffences = 3
)

// Prover proves the fences of many plans together, so that each need not be asked for again and again by
// itself. Whoever asks while a proof runs has a part in the next one.
//
// Requests rotate over the fences of a proof, and one is always for the fence that was written last: API
// servers learn of fences in the order in which they were written, so that one which lags behind lets that
// one through. It is a proof when all requests, whichever fence they were for, were refused for hold
// running, and each fence was among them at least three times.
//
// A fence that goes on failing is proven apart, so that it does not stop the others for ever.
//
// It may be used from several goroutines. One of its own leads the proofs as long as anybody waits.
type Prover struct {
	api  *kube.Client
	hold time.Duration

	together, apart lane
}

// NewProver makes a prover whose proofs take hold at least: 5 s for more than one API server.
func NewProver(api *kube.Client, hold time.Duration) *Prover {
	return &Prover{api: api, hold: hold, together: lane{most: math.MaxInt}, apart: lane{most: 1}}
}

// Prove is as the function Prove, with others.
func (p *Prover) Prove(ctx context.Context, spec Spec, sample *unstructured.Unstructured) error {
	if sample == nil && spec.onPods() {
		sample = spec.samplePod()
	}
	if sample == nil {
		return &recovery.Problem{
			What: "prove that the creation of " + spec.target() + " is held back", Why: "there is no sample of it",
			Next: "report it as a fault of drctl", Err: recovery.ErrUsage,
		}
	}
	one := &proof{api: p.api, spec: spec, sample: unmarked(sample), asker: ctx, proven: make(chan struct{})}
	p.enter(&p.together, one)
	select {
	case <-one.proven:
		return nil
	case <-ctx.Done():
		return one.unproven(ctx.Err())
	}
}

// lane is a queue whose proofs are led one after another.
type lane struct {
	mu      sync.Mutex
	waiting []*proof
	led     bool
	// most is how many fences its next proof has at most.
	most int
}

// enter queues a proof, and leads the lane's proofs as long as anybody waits for one.
func (p *Prover) enter(l *lane, one *proof) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, one)
	if l.led {
		return
	}
	l.led = true
	go func() {
		// Many ask at once: the first must not be proven by itself.
		time.Sleep(probePause)
		for members := l.next(); len(members) > 0; members = l.next() {
			failing := (&round{hold: p.hold, members: members}).run()
			if l == &p.apart {
				l.trust(len(failing) == 0)
			}
			for _, one := range failing {
				p.enter(&p.apart, one)
			}
		}
	}()
}

// trust takes twice as many together after a proof, and one alone after a failure: when an API server was
// ill, and not the fences, the lane must not take one after the other.
func (l *lane) trust(well bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = min(2*l.most, math.MaxInt/2)
	if !well {
		l.most = 1
	}
}

// next takes the members of the next proof; none ends the lane's leader.
func (l *lane) next() []*proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), l.most)
	members := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.led = n > 0
	return members
}
