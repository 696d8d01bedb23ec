package lab_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// barmanList is what the tests read of barman-cloud-backup-list.
type barmanList struct {
	Backups []struct {
		ID       string `json:"backup_id"`
		Name     string `json:"backup_name"`
		Status   string `json:"status"`
		BeginWAL string `json:"begin_wal"`
		EndWAL   string `json:"end_wal"`
		Timeline int    `json:"timeline"`
		SystemID string `json:"systemid"`
	} `json:"backups_list"`
}

func listBackups(t *testing.T, s *lab.Stack, m *lab.MinIO, destination, server string) barmanList {
	t.Helper()
	out, err := s.BarmanList(t.Context(), m, destination, server)
	require.NoError(t, err)
	var list barmanList
	require.NoError(t, json.Unmarshal(out, &list), "%s", out)
	return list
}

func TestPostgresBacksUpFailsAndRecoversOnANewTimeline(t *testing.T) {
	s := lab.ForTest(t)
	m, err := s.MinIO(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.MakeBucket(t.Context(), "postgres-backups"))
	const destination = "s3://postgres-backups/cnpg/shop"
	first := m.Barman(destination, "shop-v1")
	first.Compression = "bzip2"
	pg, err := s.Postgres(t.Context(), lab.PostgresOptions{Archive: &first, SegmentSizeMiB: 1, Tablespaces: []string{"fast"}})
	require.NoError(t, err)

	_, err = pg.Exec(t.Context(), "postgres", "create table item (id int) tablespace fast; insert into item select generate_series(1, 100)")
	require.NoError(t, err)
	done, err := pg.Backup(t.Context(), "nightly")
	require.NoError(t, err)
	failed, err := pg.FailedBackup(t.Context(), "broken")
	require.NoError(t, err)
	for _, sql := range []string{
		"insert into item select generate_series(101, 150)",
		"select pg_create_restore_point('before_the_mistake')",
		"delete from item",
	} {
		_, err = pg.Exec(t.Context(), "postgres", sql)
		require.NoError(t, err)
	}
	segment, err := pg.SwitchWAL(t.Context())
	require.NoError(t, err)
	require.Len(t, segment, 24)

	list := listBackups(t, s, m, destination, "shop-v1")
	status := map[string]string{}
	for _, backup := range list.Backups {
		status[backup.ID] = backup.Status + " " + backup.Name
	}
	require.Equal(t, map[string]string{done: "DONE nightly", failed: "FAILED broken"}, status)

	second := m.Barman(destination, "shop-v2")
	recovered, err := s.RecoverPostgres(t.Context(), lab.PostgresRecovery{From: first, BackupID: done, TargetName: "before_the_mistake", Archive: &second})
	require.NoError(t, err)
	rows, err := recovered.Exec(t.Context(), "postgres", "select count(*) from item")
	require.NoError(t, err)
	require.Equal(t, "150", rows)
	require.NoError(t, recovered.WaitArchived(t.Context(), "00000002.history"))
	next, err := recovered.Backup(t.Context(), "after the flip")
	require.NoError(t, err)
	after := listBackups(t, s, m, destination, "shop-v2")
	require.Len(t, after.Backups, 1)
	require.Equal(t, next, after.Backups[0].ID)
	require.Equal(t, 2, after.Backups[0].Timeline)
	require.Equal(t, list.Backups[0].SystemID, after.Backups[0].SystemID)
}
