package fence_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
)

// TestManyFencesOnTwoAPIServers: those of 200 plans, each on a claim's creation or on the Pods that mount
// it, are proven in a few proofs; and what is proven holds on both servers.
func TestManyFencesOnTwoAPIServers(t *testing.T) {
	const plans = 200
	c := newCluster(t)
	servers, balanced, _ := twoServers(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 2*within)
	defer cancel()
	prover := fence.NewProver(balanced, 5*time.Second)
	var group sync.WaitGroup
	failed := make([]error, plans)
	var proving time.Time
	var once sync.Once
	for i := range plans {
		group.Go(func() {
			spec := onOneOf(i)
			if failed[i] = fence.Up(ctx, balanced, spec); failed[i] != nil {
				return
			}
			once.Do(func() { proving = time.Now() })
			if spec.MountsClaim != "" {
				failed[i] = prover.Prove(ctx, spec, nil)
				return
			}
			failed[i] = prover.Prove(ctx, spec, configMap("db", spec.Name))
		})
	}
	group.Wait()
	for i := range failed {
		require.NoError(t, failed[i])
	}
	t.Logf("%d fences were proven in %s with %d requests, those that put them up included", plans, time.Since(proving).Round(100*time.Millisecond), balanced.Requests())
	require.Less(t, balanced.Requests(), int64(plans*(2+8)))
	for i := range plans {
		spec := onOneOf(i)
		for _, server := range servers {
			var err error
			if spec.MountsClaim != "" {
				_, err = server.Create(t.Context(), pods, pod("db", "web-0", spec.MountsClaim), kube.WriteOptions{DryRun: true})
			} else {
				_, err = server.Create(t.Context(), configMaps, configMap("db", spec.Name), kube.WriteOptions{DryRun: true})
			}
			require.True(t, fence.Denied(err, spec.PlanID), "%s: %v", spec.PlanID, err)
		}
	}
}

func onOneOf(i int) fence.Spec {
	plan, name := fmt.Sprintf("plan-many-%d", i), fmt.Sprintf("data-%d", i)
	if i%2 == 0 {
		return podsSpec(plan, name)
	}
	return configMapSpec(plan, name)
}
