package flip

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// archives is a Cluster that begins to archive at some look at it.
type archives struct {
	Cluster
	from, looks int
	err         error
}

func (a *archives) Find(context.Context, string, string) (*recovery.LiveCluster, error) {
	a.looks++
	live := &recovery.LiveCluster{Archiving: "unknown"}
	if a.looks >= a.from {
		live.Archiving = "true"
	}
	return live, a.err
}

// TestFirstBackupAwaitsArchiving: the operator that is asked too early looks again only after a minute.
func TestFirstBackupAwaitsArchiving(t *testing.T) {
	for name, c := range map[string]struct {
		cluster archives
		within  time.Duration
		looks   int
	}{
		"it archives already":  {archives{from: 1}, time.Minute, 1},
		"it archives soon":     {archives{from: 2}, time.Minute, 2},
		"it never does":        {archives{from: 9}, time.Millisecond, 1},
		"that cannot be asked": {archives{from: 9, err: errors.New("the API server is gone")}, time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backupStep{Flip: &Flip{Cluster: &c.cluster, firstWAL: c.within}}.awaitArchiving(t.Context(), &Params{})
			require.Equal(t, c.looks, c.cluster.looks)
		})
	}
}
