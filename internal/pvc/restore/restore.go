package restore

import (
	"context"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// Restore is the use case over what it needs. Argo and Tree may be nil: no Argo CD, no GitOps tree.
type Restore struct {
	Cluster    Cluster
	Movers     Movers
	Repository Repository
	// Inventory names everything that writes to the repository: two claims may share one identity.
	Inventory pvc.Inventory
	Fence     Fence
	Argo      Argo
	Tree      Tree
	Now       func() time.Time
	// Unfinished are the plans that are not at their end, of this computer and of the cluster; nil where
	// nobody keeps plans.
	Unfinished func(ctx context.Context) ([]operation.PlanView, recovery.Gaps, error)
	// runs are the triggers of movers that this process saw at work from beginning to end: what it did not
	// hear of them it never will.
	runs sync.Map
	// inFlight is how long a request of a process that was killed may still arrive; 0 means 3 s.
	inFlight time.Duration
	// touchEvery is the pause between two touches of a controller; 0 means 2 s.
	touchEvery time.Duration
}
