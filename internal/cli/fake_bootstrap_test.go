package cli

import (
	"context"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/recovery"
)

// Bootstrap is tested on a real cluster (internal/e2e/bootstrap): here there is none to be bootstrapped.
func (w *fakeWiring) Bootstrap(context.Context, string, string) (*bootstrap.Bootstrap, error) {
	return nil, &recovery.Problem{What: "no cluster is configured", Next: "give --kubeconfig FILE", Err: recovery.ErrNotFound}
}
