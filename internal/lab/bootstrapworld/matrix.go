package bootstrapworld

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
)

// isReturn is the request behind which there is no way back: the root Application is there, and Argo CD makes
// everything by itself.
func isReturn(r lab.ProxyRequest) bool {
	const applications = "/namespaces/" + lab.ArgoNamespace + "/applications"
	return r.Target == lab.TargetAPI && r.Mutating && (r.Method == http.MethodPost && strings.HasSuffix(r.Path, applications) ||
		(r.Method == http.MethodPatch || r.Method == http.MethodPut) && strings.HasSuffix(r.Path, applications+"/"+Root))
}

// NewMatrix makes the matrix of bootstraps of an empty cluster.
func NewMatrix(w *World, logf func(format string, args ...any)) *disturb.Matrix {
	return &disturb.Matrix{World: beginner{w}, Proxy: w.Proxy, Return: isReturn, Logf: logf}
}

type beginner struct{ *World }

// Begin prepares one bootstrap.
func (b beginner) Begin(ctx context.Context) (disturb.Attempt, error) {
	a, err := b.Attempt(ctx)
	return a, err
}

// Attempt is one bootstrap on one computer.
type Attempt struct {
	*Operator
	Before *State
	// Version is the chart's that is to be installed.
	Version string
	more    []string
}

// Attempt prepares one bootstrap of an empty cluster.
func (w *World) Attempt(ctx context.Context, more ...string) (*Attempt, error) {
	if err := w.Reset(ctx); err != nil {
		return nil, err
	}
	return w.attempt(ctx, more...)
}

// attempt is one of the cluster as it is.
func (w *World) attempt(ctx context.Context, more ...string) (*Attempt, error) {
	o, err := w.NewOperator(ctx)
	if err != nil {
		return nil, err
	}
	a := &Attempt{Operator: o, Version: ChartVersion, more: more}
	a.Before, err = w.Look(ctx)
	return a, err
}

// Operation is the whole command.
func (a *Attempt) Operation() []string { return a.Bootstrap(a.more...) }

// Done judges the world after the bootstrap.
func (a *Attempt) Done(ctx context.Context) error {
	after, err := a.world.Look(ctx)
	if err != nil {
		return err
	}
	return a.Before.Bootstrapped(after, a.Version)
}

// Untouched judges a world in which nothing has happened, or everything was undone. A Lease of a dead process may be
// left: it expires, and holds nobody up on this computer.
func (a *Attempt) Untouched(ctx context.Context) error {
	after, err := a.world.Look(ctx)
	if err != nil {
		return err
	}
	after.Left = slices.DeleteFunc(after.Left, func(object string) bool { return strings.HasPrefix(object, "Lease ") })
	return a.Before.Untouched(after)
}

// Plans are the IDs of the unfinished plans: what was taken back is begun anew.
func (a *Attempt) Plans() ([]string, error) { return disturb.UnfinishedPlans(a.Home) }
