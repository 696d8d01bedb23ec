package barman_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// TestEmptyDatabaseBackup: the newest backup of a lineage is a valid one, of a database that was made
// anew. Barman finds nothing wrong with it.
func TestEmptyDatabaseBackup(t *testing.T) {
	ctx := t.Context()
	w := newWorkshop(t)
	ids := map[string]string{}
	for _, server := range []string{"v1", "v2"} {
		archive := w.server(server)
		// The last one is initdb's and nothing else.
		pg, err := w.stack.Postgres(ctx, lab.PostgresOptions{Archive: &archive})
		require.NoError(t, err)
		if server == "v1" {
			// 26 MB that gzip cannot make smaller.
			random := strings.TrimSuffix(strings.Repeat("md5(random()::text)||", 8), "||")
			query(t, pg, "create table asset as select i, decode("+random+", 'hex') from generate_series(1, 200000) i")
		}
		ids[server], err = pg.Backup(ctx, "")
		require.NoError(t, err)
		require.NoError(t, pg.Stop())
	}
	began := time.Now()
	lineage, gaps, err := barman.ReadLineage(ctx, w.client, barman.Options{Bucket: bucket, Prefix: lineage})
	require.NoError(t, err)
	require.Empty(t, gaps)
	first, _, err := lineage.Choose(barman.ChooseOptions{Server: "v1"})
	require.NoError(t, err)
	require.Empty(t, first.Warnings)
	choice, reach, err := lineage.Choose(barman.ChooseOptions{Server: "v2"})
	require.NoError(t, err)
	t.Logf("%d and %d bytes; %q", first.Backup.SizeBytes, choice.Backup.SizeBytes, choice.Warnings)
	require.Equal(t, ids["v2"], choice.Backup.ID)
	require.True(t, choice.Backup.Restorable)
	require.NotEqual(t, first.Backup.SystemID, choice.Backup.SystemID)
	warnings := strings.Join(choice.Warnings, "\n")
	require.Contains(t, warnings, "that is another database, not a continuation")
	require.Contains(t, warnings, "it has the size of an EMPTY one")
	require.Contains(t, warnings, "less than a quarter")
	require.NoError(t, barman.CheckReadable(ctx, w.client, at("v2"), choice.Backup, reach))

	done, err := barman.NewestDone(ctx, w.client, at("v2"), began.Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, choice.Backup, *done)
	done, err = barman.NewestDone(ctx, w.client, at("v2"), began)
	require.NoError(t, err)
	require.Nil(t, done)

	// Its data file, and nothing but it, is lost.
	require.NoError(t, w.m.DeleteObject(ctx, bucket, "cnpg/lineage/v2/base/"+ids["v2"]+"/data.tar.gz"))
	_, _, _, err = barman.ReadReach(ctx, w.client, at("v2"), ids["v2"])
	require.ErrorIs(t, err, recovery.ErrUsage)
	require.ErrorContains(t, err, "data.tar is missing")
	require.ErrorIs(t, barman.CheckReadable(ctx, w.client, at("v2"), choice.Backup, reach), recovery.ErrNotFound)
}
