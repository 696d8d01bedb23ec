package app

import (
	"context"

	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/recovery"
)

// bootstrapTree is the GitOps tree on this computer.
type bootstrapTree struct {
	*gitops.Platform

	tree *gitops.Tree
	// gaps are what of the tree could not be read.
	gaps recovery.Gaps
}

// Applications are those that the root will make; what of the tree could not be read is said here.
func (t bootstrapTree) Applications(ctx context.Context) ([]recovery.PlannedApplication, recovery.Gaps, error) {
	planned, gaps, err := t.Platform.Applications(ctx)
	return planned, append(gaps, t.gaps...), err
}

// Databases are the Clusters of the tree.
func (t bootstrapTree) Databases(ctx context.Context) ([]recovery.Database, recovery.Gaps, error) {
	return cloudnativepg.Databases(ctx, t.tree, "")
}
