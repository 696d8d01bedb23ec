package many

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// mostMemory is what hundreds of restores may take, in bytes.
	mostMemory = 200 << 20
	// setUp is what a run may ask for whatever the number of claims.
	setUp = 20
	// unfinished is the exit code of a plan that is to be gone on with.
	unfinished = 4
	// watchLife is the shortest time after which a watch is begun anew of itself.
	// Source: client-go tools/cache/reflector.go, minWatchTimeout.
	watchLife = 5 * time.Minute
)

// TestManyClaims restores 200 claims at once (30 with -short), with one mover that never ends, one that fails,
// and an API server that is too busy now and then. Only counts are judged; times are told.
func TestManyClaims(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 30
	}
	w := newWorld(t, n+1, 15*time.Second)
	namespace, name := w.ClaimOf(n)
	one := w.run(t, unspoilt, "pvc", "restore", namespace+"/"+name, "--no-backup", "--yes", "-o", "json")
	require.Zero(t, one.ExitCode)
	w.unlabel(t, namespace, name)

	stuck, failing := lab.ManySource(1), lab.ManySource(2)
	w.VolSync.Order(stuck, lab.OrderHang)
	w.VolSync.Order(failing, lab.OrderFail(1))
	many := w.run(t, tooBusy(n/8), "pvc", "restore", "-A", "--parallel", fmt.Sprint(n), "--no-backup", "--yes", "-o", "json", "--timeout", "90s")
	t.Logf("requests of one restore: %d; of %d:\n%s", len(one.requests), n, table(counts(one.requests), counts(many.requests), n))
	times := reactions(many.requests, many.written, many.report(t))
	t.Logf("from VolSync's last word to drctl's next request, %d times: median %s, 95 of 100 within %s, the slowest %s",
		len(times), quantile(times, 0.5), quantile(times, 0.95), quantile(times, 1))

	require.Equal(t, unfinished, many.ExitCode)
	require.Positive(t, many.spoilt)
	plan := requireTwoLeft(t, many.report(t), n, stuck, failing)
	requireFew(t, one, many, n)

	w.VolSync.Order(stuck, "")
	w.VolSync.Order(failing, "")
	resumed := w.run(t, unspoilt, "resume", plan, "-o", "json")
	require.Zero(t, resumed.ExitCode)
	require.Equal(t, n, resumed.report(t).Restored)
	left, err := w.Unbound(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
	w.requireNothingLeft(t)
}

// tooBusy answers some requests with 429, and no watch.
func tooBusy(most int) func(lab.ProxyRequest) *lab.Fault {
	const every = 97
	busy := 0
	return func(r lab.ProxyRequest) *lab.Fault {
		if strings.Contains(r.Path, "watch=") || r.N%every != 0 || busy == most {
			return nil
		}
		busy++
		return &lab.Fault{Kind: lab.FaultTooMany}
	}
}

// requireTwoLeft: the two are named with what to do, and held nobody else up. It gives the plan.
func requireTwoLeft(t *testing.T, got report, n int, stuck, failing recovery.KopiaSource) string {
	t.Helper()
	require.Equal(t, n-2, got.Restored)
	require.Equal(t, 2, got.Left)
	why := map[string]string{}
	for _, item := range got.Items {
		if item.State == "finished" {
			continue
		}
		require.Equal(t, "unfinished", item.State, item.Target)
		require.Contains(t, item.Next, "drctl resume "+item.Plan)
		why[item.Target] = item.Why
	}
	require.Contains(t, why[targetOf(stuck)], "not proven within 1m30s")
	require.Contains(t, why[targetOf(failing)], "the mover failed: ERROR: Failed to restore snapshot")
	return got.Plan
}

func targetOf(source recovery.KopiaSource) string {
	return source.Hostname + "/" + strings.TrimSuffix(source.Username, "-backup")
}

// requireFew judges what many restores cost beside one: the audit log has no request that was answered by 429.
func requireFew(t *testing.T, one, many *outcome, n int) {
	t.Helper()
	require.LessOrEqual(t, len(many.requests), n*len(one.requests)+setUp)
	asked := counts(many.requests)
	for kind, times := range asked {
		if strings.HasPrefix(kind, "watch ") {
			require.LessOrEqual(t, times, 1+int(many.took/watchLife), kind)
		}
	}
	for _, shared := range []string{"get namespaces", "list persistentvolumeclaims", "list storageclasses", "list applications"} {
		require.LessOrEqual(t, asked[shared], 2, shared)
	}
	require.NotZero(t, many.peak)
	require.Less(t, many.peak, int64(mostMemory))
}
