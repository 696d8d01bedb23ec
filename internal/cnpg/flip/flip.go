package flip

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/recovery"
)

// Flip is the use case over what it needs. Git and Argo may be nil: no GitOps tree, no Argo CD.
type Flip struct {
	// Find resolves the name that the operator typed, in the cluster and else in the tree.
	Find    func(ctx context.Context, q cnpg.BackupQuery) (recovery.Database, recovery.Gaps, error)
	Cluster Cluster
	Fence   Fence
	Archive Archive
	Render  Renderer
	Git     Git
	Argo    Argo
	Now     func() time.Time
}
