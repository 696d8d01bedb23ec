package fence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// Prove asks again and again for the creation of the sample without the mark, as a dry run and each time
// over a fresh connection, until every request was refused by this fence for hold running: one denial
// proves one API server, and they notice the fence up to about half a second apart. Whatever is not a
// denial of this fence starts the time anew: an admission, AlreadyExists, and what leaves it unknown (503,
// the network). The sample must be valid in itself; it is not changed. For a fence on Pods it may be nil: a
// plain Pod that mounts the claim.
//
// It ends with ctx at the latest, with an error that says what the last request met.
func Prove(ctx context.Context, api *kube.Client, spec Spec, sample *unstructured.Unstructured, hold time.Duration) error {
	return NewProver(api, hold).Prove(ctx, spec, sample)
}

// Denied says that an error is the denial of a fence of this plan. A creation with the mark never meets
// one; a creation without it does, and for about a second after Down still.
func Denied(err error, planID string) bool {
	return deniedBy(err, namePrefix+planID) || deniedBy(err, namePrefix+planID+podsSuffix)
}

// deniedBy says that an error is the denial of one policy.
// Source: k8s.io/apiserver pkg/admission/plugin/policy/validating/dispatcher.go.
func deniedBy(err error, policy string) bool {
	return errors.Is(err, recovery.ErrInvalid) && strings.Contains(err.Error(), fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding", policy)) &&
		strings.Contains(err.Error(), "denied request")
}

// proof is that of one fence.
type proof struct {
	api    *kube.Client
	spec   Spec
	sample *unstructured.Unstructured
	// asker is the context of whoever asked for the proof, which another goroutine leads.
	asker context.Context
	// proven is closed when it is.
	proven chan struct{}

	// The round's own. written are the resource versions of policy and binding, empty where there is none;
	// running are the refusals since the round's time began anew, offences the requests that were not
	// refused though they should have been by then.
	written           [kinds]string
	running, offences int

	mu             sync.Mutex
	probes, denied int
	// last is what the latest request that was not refused met; nil is an admission.
	last error
}

// probe sends one request over a connection of its own.
func (p *proof) probe() bool {
	err := p.ask()
	refused := deniedBy(err, p.spec.PolicyName())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes++
	switch {
	case refused:
		p.denied++
	case p.asker.Err() == nil:
		p.last = err
	}
	return refused
}

// meet notes what kept the proof from being led.
func (p *proof) meet(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asker.Err() == nil {
		p.last = err
	}
}

func (p *proof) ask() error {
	fresh, closeConnections, err := p.api.Fresh()
	if err != nil {
		return err
	}
	defer closeConnections()
	_, err = fresh.Create(p.asker, p.spec.resource(), p.sample, kube.WriteOptions{DryRun: true})
	return err
}

func (p *proof) unproven(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	met := "was admitted"
	if p.last != nil {
		met = "met " + p.last.Error()
	}
	if p.denied == p.probes && p.last == nil {
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
