package bootstrapworld

import (
	"context"

	"github.com/drctl/drctl/internal/lab/disturb"
)

// Build builds drctl into dir, with build tags that switch safeguards off, and gives its path.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	return disturb.Build(ctx, dir, tags...)
}
