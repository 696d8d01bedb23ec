package flip

import (
	"context"
	"encoding/json"
	"time"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Flip is the use case over what it needs. Git and Argo may be nil: no GitOps tree, no Argo CD.
type Flip struct {
	// Find resolves the name that the operator typed, in the cluster and else in the tree.
	Find func(ctx context.Context, q cnpg.BackupQuery) (recovery.Database, recovery.Gaps, error)
	// FromManifest reads a Cluster's manifest that neither the API nor the tree knows.
	FromManifest func(ctx context.Context, manifest json.RawMessage) (recovery.Database, error)
	// Cluster, Fence and Argo are nil where no cluster is asked.
	Cluster Cluster
	Fence   Fence
	Archive Archive
	Render  Renderer
	Git     Git
	Argo    Argo
	Now     func() time.Time
	// Unfinished are the plans that are not at their end, of this computer and of the cluster; nil where
	// nobody keeps plans.
	Unfinished func(ctx context.Context) ([]operation.PlanView, recovery.Gaps, error)
	// inFlight is how long a request of a process that was killed may still arrive; 0 means 3 s.
	inFlight time.Duration
	// firstWAL is how long a first backup waits for the first WAL file in the archive; 0 means 30 s.
	firstWAL time.Duration
}
