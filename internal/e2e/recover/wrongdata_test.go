package recover

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// copyName is the Cluster beside the live one, as the runbook calls it.
const copyName = "immich-look"

// TestWrongData is docs/runbooks/database-wrong-data.md: wrong rows were committed and archived. The moment
// before them is looked at in a copy that touches nothing, and then recovered to.
func TestWrongData(t *testing.T) {
	w, o, before := begin(t)
	target := momentBefore(t, w)
	written := wrongRows(t, w)
	doubtful := momentBefore(t, w)
	written += wrongRows(t, w)
	requireTargetsRefused(t, o, doubtful)

	book := openRunbook(t, "database-wrong-data.md", o, "2026-11-24T07:04:12Z", target)
	book.step(t, "drctl cnpg backups immich --gitops ~/src/platform", "")
	requireCopyTouchesNothing(t, book, func() {
		book.step(t, "drctl cnpg recover immich --gitops ~/src/platform --target-time 2026-11-24T07:04:12Z --new-name immich-look", lab.RecoveryCluster)
		seen := book.step(t, "drctl cnpg verify immich-look --verify-sql 'select count(*) from item'", "")
		require.Contains(t, seen, before.Count)
		count, err := w.SQLIn(t.Context(), copyName, lab.RecoveryDatabase, "select count(*) from "+lab.RecoveryTable)
		require.NoError(t, err)
		require.Equal(t, before.Count, count)
	})
	deleteCopy(t, w)
	now := look(t, o)
	require.NotEqual(t, before.Rows, now.Rows, "%d wrong rows are still in use", written)

	book.step(t, "drctl cnpg recover immich --gitops ~/src/platform --target-time 2026-11-24T07:04:12Z --push", lab.RecoveryCluster)
	book.step(t, "drctl cnpg verify immich", "")
	book.requireAtEnd(t)
	requireRecovered(t, o, before)
}

// wrongRows are committed and archived.
func wrongRows(t *testing.T, w *flipworld.World) int {
	t.Helper()
	const rows = 5
	_, err := w.WriteRows(t.Context(), rows)
	require.NoError(t, err)
	_, err = w.SwitchWAL(t.Context())
	require.NoError(t, err)
	return rows
}

// momentBefore is a whole second, as a person writes it, behind everything that was committed so far, and
// past.
func momentBefore(t *testing.T, w *flipworld.World) string {
	t.Helper()
	// The next whole second, and half a second more for a commit that is not to be of the same moment.
	clock, err := w.SQL(t.Context(), `with t as (select date_trunc('second', clock_timestamp()) + interval '1 second' as at)
		select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || coalesce(pg_sleep(extract(epoch from at - clock_timestamp()) + 0.5)::text, '') from t`)
	require.NoError(t, err)
	return clock
}

// requireTargetsRefused: a moment that the archive cannot give, or may not be able to, is refused ahead of
// everything, with what to do instead.
func requireTargetsRefused(t *testing.T, o *flipworld.Operator, doubtful string) {
	t.Helper()
	hour := time.Hour
	for _, refused := range []struct{ target, why, next string }{
		{"2026-11-24 07:04:12", "it is not RFC 3339 with a zone", "write it as 2026-11-23T18:00:00Z"},
		{"2026-11-24T07:04:12", "it is not RFC 3339 with a zone", "write it as 2026-11-23T18:00:00Z"},
		{time.Now().Add(hour).UTC().Format(time.RFC3339), "the last WAL of", "leave --target-time out"},
		{time.Now().Add(-24 * hour).UTC().Format(time.RFC3339), "the oldest restorable backup of", "an older server with --source-server-name"},
		{doubtful, "it is in the last stretch of the archive", "leave --target-time out for the latest, or give an earlier one"},
	} {
		got := run(t, o, flipworld.Recover("--target-time", refused.target)...)
		require.Equal(t, 2, got.ExitCode, refused.target)
		require.Contains(t, got.Stderr, refused.why, refused.target)
		require.Contains(t, got.Stderr, refused.next, refused.target)
	}
	plans, err := o.Plans()
	require.NoError(t, err)
	require.Empty(t, plans)
}

// requireCopyTouchesNothing holds the world to what it was while a copy was made: the live database goes on
// with its archive, and nothing else is written anywhere.
func requireCopyTouchesNothing(t *testing.T, b *book, copied func()) {
	t.Helper()
	w := world(t)
	before := look(t, b.operator)
	inventory, err := w.Inventory(t.Context())
	require.NoError(t, err)
	copied()
	after := look(t, b.operator)
	maps.DeleteFunc(after.Claims, func(claim, _ string) bool { return strings.HasPrefix(claim, copyName) })
	maps.DeleteFunc(after.Volumes, func(volume, _ string) bool { return before.Volumes[volume] == "" })
	require.NoError(t, before.Untouched(after))
	now, err := w.Inventory(t.Context())
	require.NoError(t, err)
	for _, key := range slices.Sorted(maps.Keys(now)) {
		_, was := inventory[key]
		require.True(t, was || strings.HasPrefix(key, "cnpg/immich/"+before.Server+"/wals/"), "%s was written", key)
	}
	for key := range inventory {
		require.Contains(t, now, key)
	}
}

// deleteCopy is the runbook's kubectl delete.
func deleteCopy(t *testing.T, w *flipworld.World) {
	t.Helper()
	clusters, err := w.Clusters()
	require.NoError(t, err)
	background := metav1.DeletePropagationBackground
	require.NoError(t, clusters.Delete(t.Context(), copyName, metav1.DeleteOptions{PropagationPolicy: &background}))
	require.NoError(t, w.WaitGone(t.Context(), copyName))
}
