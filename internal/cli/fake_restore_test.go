package cli

import (
	"context"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
)

// Restore gives the use case of restores; a wiring without one stands for a cluster that is not there.
func (f *fakeWiring) Restore(context.Context, []string) (*restore.Restore, error) {
	if f.err != nil {
		return nil, f.err
	}
	return nil, &recovery.Problem{What: "reach the cluster", Why: "there is none", Next: "give --kubeconfig", Err: recovery.ErrUnreachable}
}

func (f *fakeWiring) PatientEngine(namespace string, handlers map[string]operation.Handler) (*operation.Engine, error) {
	return f.Engine(namespace, handlers)
}
