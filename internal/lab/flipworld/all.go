package flipworld

import (
	"context"

	"github.com/drctl/drctl/internal/lab/disturb"
)

// All is the whole matrix of recoveries, shared by the worlds.
func All(ctx context.Context, worlds []*Matrix) (Tally, error) {
	matrices := make([]*disturb.Matrix, 0, len(worlds))
	for _, m := range worlds {
		matrices = append(matrices, m.Matrix)
	}
	return disturb.All(ctx, matrices)
}
