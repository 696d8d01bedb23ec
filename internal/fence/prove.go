package fence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// probePause is between two probes: often enough to meet each API server behind a load balancer several
	// times a second.
	probePause = 100 * time.Millisecond
	// slowestPace is the pause that counts as "running" still: a few slow requests prove too little.
	slowestPace = 500 * time.Millisecond
)

// Prove asks again and again for the creation of the sample without the mark, as a dry run and each time
// over a fresh connection, until every request was refused by this fence for hold running: one denial
// proves one API server, and they notice the fence up to about half a second apart. Whatever is not a
// denial of this fence starts the time anew: an admission, AlreadyExists, and what leaves it unknown (503,
// the network). The sample must be valid in itself; it is not changed.
//
// It ends with ctx at the latest, with an error that says what the last request met.
func Prove(ctx context.Context, api *kube.Client, spec Spec, sample *unstructured.Unstructured, hold time.Duration) error {
	p := &proof{api: api, spec: spec, sample: unmarked(sample)}
	var since time.Time
	running := time.Duration(0)
	for {
		begin := time.Now()
		refused := p.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return p.unproven(ctx.Err())
		case !refused:
			since, running = time.Time{}, 0
		case since.IsZero():
			since = begin
		default:
			running += slowestPace
		}
		// begin, not now: what counts is when the last of the refused requests was sent.
		if refused && min(begin.Sub(since), running) >= hold {
			return nil
		}
		select {
		case <-ctx.Done():
			return p.unproven(ctx.Err())
		case <-time.After(probePause):
		}
	}
}

// Denied says that an error is this fence's denial. A creation with the mark never meets one; a creation
// without it does, and for about a second after Down still.
func Denied(err error, planID string) bool {
	return errors.Is(err, recovery.ErrInvalid) && strings.Contains(err.Error(), fmt.Sprintf("ValidatingAdmissionPolicy '%s%s' with binding", namePrefix, planID)) &&
		strings.Contains(err.Error(), "denied request")
}

type proof struct {
	api    *kube.Client
	spec   Spec
	sample *unstructured.Unstructured

	probes, denied int
	// last is what the latest request that was not refused met; nil is an admission.
	last error
}

// probe sends one request over a connection of its own.
func (p *proof) probe(ctx context.Context) bool {
	p.probes++
	fresh, closeConnections, err := p.api.Fresh()
	if err != nil {
		p.last = err
		return false
	}
	defer closeConnections()
	_, err = fresh.Create(ctx, p.spec.GVR, p.sample, kube.WriteOptions{DryRun: true})
	if Denied(err, p.spec.PlanID) {
		p.denied++
		return true
	}
	if ctx.Err() == nil {
		p.last = err
	}
	return false
}

func (p *proof) unproven(cause error) error {
	met := "was admitted"
	if p.last != nil {
		met = "met " + p.last.Error()
	}
	if p.denied == p.probes {
		met = "was refused, but not for long enough"
	}
	return &recovery.Problem{
		What: fmt.Sprintf("prove that the creation of %s is held back", p.spec.target()),
		Why: fmt.Sprintf("%d of %d requests were refused by %s; the last one that was not %s",
			p.denied, p.probes, p.spec.PolicyName(), met),
		Next: "nothing was deleted; check that every API server is healthy, then try again",
		Err:  errors.Join(cause, p.last),
	}
}

// unmarked is what anybody else would create: without our mark, and without what only a stored object has.
func unmarked(sample *unstructured.Unstructured) *unstructured.Unstructured {
	object := sample.DeepCopy()
	unstructured.RemoveNestedField(object.Object, "metadata", "annotations", MarkKey)
	for _, field := range []string{"resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"} {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
	return object
}
