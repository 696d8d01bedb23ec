package bootstrap

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Bootstrap is the use case over what it needs. Backups and Git may be nil: then what they would say is not known.
type Bootstrap struct {
	Cluster  Cluster
	Releases Releases
	// Tree is nil only for a plan that is resumed without one.
	Tree    Tree
	Git     Git
	Backups Backups
	// Files reads the Secrets of a folder.
	Files func(ctx context.Context, dir string) ([]SecretFile, error)
	Now   func() time.Time
	// Show is given the waves each time they were looked at; nil shows them to nobody.
	Show func(*Waves)

	// looks is what the waves' watch of this process remembers between two looks.
	looks looks
	// kopiaRead is what the repository holds, once it was read.
	kopiaOnce sync.Mutex
	kopiaRead *KopiaHolding
	// inFlight is how long a request of a process that was killed may still arrive; 0 means 3 s.
	inFlight time.Duration
}

// The names under which Argo CD is installed unless the tree says otherwise.
const (
	ReleaseName = "argocd"
	Namespace   = "argocd"
	// ChartName is the chart's name in the repository of the Argo project.
	ChartName = "argo-cd"
	// applicationDefinition has to be there before an Application can be.
	applicationDefinition = "applications.argoproj.io"
)

// LockNamespace is where lock and copy of a plan are kept: the one namespace that is there in an empty cluster.
const LockNamespace = "kube-system"

// ErrRolledBack ends a bootstrap whose Argo CD did not come up, and that was taken back.
var ErrRolledBack = errors.New("taken back")

// Options is what the operator asked for.
type Options struct {
	// Chart is where Argo CD's chart is taken from; what is empty is what the tree pins.
	Chart recovery.ChartSource
	// ValuesFiles go on top of the tree's, in this order. They are absolute paths.
	ValuesFiles []string
	// SecretsDir holds Secrets to be applied first; empty for none. ReplaceSecrets overwrites others that are there.
	SecretsDir     string
	ReplaceSecrets bool
	// TakeOwnership adopts objects that another way of installing Argo CD left.
	TakeOwnership bool
	// Accept are checks, as area/name, whose failure does not stop the bootstrap.
	Accept []string
	// ReadyTimeout bounds the wait for Argo CD itself, 10 minutes when zero; Timeout the wait for the waves, an hour
	// when zero.
	ReadyTimeout, Timeout time.Duration
}

const (
	usualReady = 10 * time.Minute
	usualWaves = time.Hour
)

// Validate checks what needs no cluster, and fills in what was left out.
func (o *Options) Validate() error {
	if o.ReadyTimeout == 0 {
		o.ReadyTimeout = usualReady
	}
	if o.Timeout == 0 {
		o.Timeout = usualWaves
	}
	if o.ReadyTimeout < 0 || o.Timeout < 0 {
		return &recovery.Problem{What: "a timeout can't be negative", Next: "give --timeout 1h, --ready-timeout 10m", Err: recovery.ErrUsage}
	}
	return nil
}

// Run runs a plan to its end. When Argo CD can't be installed, or does not become ready in time, what was
// installed is taken back at once; nothing was given to it by then.
func (b *Bootstrap) Run(ctx context.Context, engine *operation.Engine, plan operation.Plan) error {
	return b.takeBack(ctx, engine, plan, engine.Start(ctx, plan))
}

// Resume goes on with a plan, in the same manner.
func (b *Bootstrap) Resume(ctx context.Context, engine *operation.Engine, plan operation.Plan, o operation.ResumeOptions) error {
	return b.takeBack(ctx, engine, plan, engine.Resume(ctx, plan.ID, o))
}

func (b *Bootstrap) takeBack(ctx context.Context, engine *operation.Engine, plan operation.Plan, cause error) error {
	if cause == nil || ctx.Err() != nil || !errors.Is(cause, errDeploy) && !errors.Is(cause, operation.ErrNotVerified) {
		return cause
	}
	err := engine.Abort(ctx, plan.ID, operation.ResumeOptions{ClusterUID: plan.ClusterUID, Context: plan.Context})
	switch {
	case errors.Is(err, operation.ErrPastReturn):
		return cause
	case err != nil:
		return errors.Join(cause, err)
	}
	out := &recovery.Problem{What: "install Argo CD", Why: cause.Error() + "; it was taken back", Next: "put right what stood in the way, and run drctl bootstrap again", Err: ErrRolledBack}
	if problem := innermost(cause); problem != nil {
		out.Why = problem.Cause() + "; it was taken back"
		if problem.Next != "" {
			out.Next = problem.Next
		}
	}
	return out
}

// innermost is the problem that says what was seen, without the engine's words about the plan, which is gone.
func innermost(err error) *recovery.Problem {
	var found *recovery.Problem
	for err != nil {
		var problem *recovery.Problem
		if !errors.As(err, &problem) {
			break
		}
		if problem.Err == nil {
			return problem
		}
		found, err = problem, deeper(problem.Err)
	}
	return found
}

// deeper is the part of a joined error that holds another problem, nil for none.
func deeper(err error) error {
	joined, several := err.(interface{ Unwrap() []error }) //nolint:errorlint // What was joined is looked through one by one.
	if !several {
		return err
	}
	for _, part := range joined.Unwrap() {
		if problem := (*recovery.Problem)(nil); errors.As(part, &problem) {
			return part
		}
	}
	return nil
}
