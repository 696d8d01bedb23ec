package fence

import (
	"context"
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
// Requests rotate over the fences of a proof. It is one when all requests, whichever fence they were for,
// were refused for hold running, and each fence was among them at least three times. API servers notice
// policies in the order in which they were made, so that one which lags behind lets something through for
// any of them, and that is met by somebody: what one request meets speaks for all.
//
// A fence that goes on failing is proven apart, so that it does not stop the others for ever.
type Prover struct {
	api  *kube.Client
	hold time.Duration

	together, apart lane
}

// NewProver makes a prover whose proofs take hold at least: 5 s for more than one API server.
func NewProver(api *kube.Client, hold time.Duration) *Prover {
	return &Prover{api: api, hold: hold, together: lane{most: 0}, apart: lane{most: 1}}
}

// Prove is as the function Prove, with others.
func (p *Prover) Prove(ctx context.Context, spec Spec, sample *unstructured.Unstructured) error {
	if sample == nil && spec.onPods() {
		sample = spec.samplePod()
	}
	if sample == nil {
		return &recovery.Problem{What: "prove that the creation of " + spec.target() + " is held back", Why: "there is no sample of it", Next: "report it as a fault of drctl", Err: recovery.ErrUsage}
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
	// most is how many fences a proof of it has at most, 0 for all that wait.
	most int

	mu      sync.Mutex
	waiting []*proof
	led     bool
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
		for members := l.next(); len(members) > 0; members = l.next() {
			for _, failing := range (&round{hold: p.hold, members: members}).run() {
				p.enter(&p.apart, failing)
			}
		}
	}()
}

// next takes the members of the next proof; none ends the lane's leader.
func (l *lane) next() []*proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.waiting)
	if l.most > 0 {
		n = min(n, l.most)
	}
	members := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.led = n > 0
	return members
}
