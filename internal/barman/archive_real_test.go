package barman_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/s3"
)

func recordedAt(destination, server string) barman.Options {
	return barman.Options{Bucket: bucket, Prefix: prefix + "/" + destination, Servers: []string{server}}
}

// TestRecordedRecoveries: of what real databases and Barman wrote, everything restorable can be chosen,
// reached and read, and nothing raises a false alarm.
func TestRecordedRecoveries(t *testing.T) {
	stack, m, client := recorded(t)
	facts, err := lab.RecordedServers()
	require.NoError(t, err)
	t.Run("no false alarm", func(t *testing.T) {
		for _, fact := range facts {
			noFalseAlarm(t, client, fact)
		}
	})
	t.Run("keep marks", func(t *testing.T) { keepsAsBarmanDoes(t, stack, m, client) })
	t.Run("listed but not served", func(t *testing.T) { listedButNotServed(t, stack, m) })
	t.Run("spoilt files", func(t *testing.T) { spoiltFiles(t, m, client) })
	t.Run("empty or not", func(t *testing.T) {
		empty, _, err := barman.Empty(t.Context(), client, recordedAt("immich", "immich-database-v3"))
		require.NoError(t, err)
		require.True(t, empty)
		empty, holds, err := barman.Empty(t.Context(), client, recordedAt("immich", "immich-database-v2"))
		require.NoError(t, err)
		require.False(t, empty)
		require.Contains(t, holds, "s3://postgres-backups/cnpg/immich/immich-database-v2/wals/0000000")
	})
}

func noFalseAlarm(t *testing.T, client *s3.Client, fact lab.RecordedServer) {
	t.Helper()
	ctx := t.Context()
	o := recordedAt(fact.Destination, fact.Server)
	lineage, gaps, err := barman.ReadLineage(ctx, client, barman.Options{Bucket: o.Bucket, Prefix: o.Prefix})
	require.NoError(t, err)
	require.Empty(t, gaps)
	newest := ""
	for _, b := range fact.Backups {
		if !b.Restorable {
			_, _, err := lineage.Choose(barman.ChooseOptions{Server: fact.Server, BackupID: b.ID})
			require.ErrorIs(t, err, recovery.ErrUsage, b.ID)
			continue
		}
		newest = max(newest, b.ID)
		choice, _, err := lineage.Choose(barman.ChooseOptions{Server: fact.Server, BackupID: b.ID})
		require.NoError(t, err)
		require.Empty(t, choice.Warnings, "%s/%s", fact.Server, b.ID)
		reach, backup, server, err := barman.ReadReach(ctx, client, o, b.ID)
		require.NoError(t, err, "%s/%s", fact.Server, b.ID)
		require.Equal(t, fact.Server, server.Name)
		require.NotNil(t, reach.Tail, "%s/%s", fact.Server, b.ID)
		require.LessOrEqual(t, reach.Tail.RecordsEnd, reach.EndLSN)
		require.NoError(t, barman.CheckReadable(ctx, client, o, backup, reach), "%s/%s", fact.Server, b.ID)
		t.Logf("%s/%s: %s, %d bytes, to %s (records to %s, last commit %s) gap %v", fact.Server, b.ID, b.Compression, backup.SizeBytes,
			reach.EndLSN, reach.Tail.RecordsEnd, reach.Tail.LastCommitAt.Format(time.RFC3339), reach.Gap != nil)
	}
	choice, _, err := lineage.Choose(barman.ChooseOptions{Server: fact.Server})
	require.NoError(t, err)
	require.Equal(t, newest, choice.Backup.ID)
}

// keepsAsBarmanDoes: Barman sees our mark, and what it writes is the same, byte for byte.
func keepsAsBarmanDoes(t *testing.T, stack *lab.Stack, m *lab.MinIO, client *s3.Client) {
	ctx := t.Context()
	o := recordedAt("immich", "immich-database-v1")
	const ours, theirs = "20261123T080236", "20261123T080301"
	server := m.Barman("s3://"+bucket+"/"+prefix+"/immich", "immich-database-v1")
	key := func(id string) string {
		return prefix + "/immich/immich-database-v1/base/" + id + "/annotations/keep"
	}
	require.NoError(t, stack.BarmanKeep(ctx, server, theirs, "full"))
	already, err := barman.Keep(ctx, client, o, ours, barman.KeepFull)
	require.NoError(t, err)
	require.False(t, already)
	mine, err := m.GetObject(ctx, bucket, key(ours))
	require.NoError(t, err)
	his, err := m.GetObject(ctx, bucket, key(theirs))
	require.NoError(t, err)
	require.Equal(t, string(his), string(mine))
	for _, id := range []string{ours, theirs} {
		status, err := stack.BarmanKeepStatus(ctx, server, id)
		require.NoError(t, err)
		require.Equal(t, "Keep: full", status)
		already, err := barman.Keep(ctx, client, o, id, barman.KeepFull)
		require.NoError(t, err)
		require.True(t, already)
		require.NoError(t, barman.Unkeep(ctx, client, o, id, barman.KeepFull))
		status, err = stack.BarmanKeepStatus(ctx, server, id)
		require.NoError(t, err)
		require.Equal(t, "Keep: nokeep", status)
	}
	require.NoError(t, stack.BarmanKeep(ctx, server, ours, "standalone"))
	_, err = barman.Keep(ctx, client, o, ours, barman.KeepFull)
	require.ErrorIs(t, err, recovery.ErrConflict)
	require.ErrorIs(t, barman.Unkeep(ctx, client, o, ours, barman.KeepFull), recovery.ErrConflict)
	mark, err := barman.ReadKeep(ctx, client, o, ours)
	require.NoError(t, err)
	require.Equal(t, barman.KeepStandalone, mark)
}

// listedButNotServed: each file that a recovery needs is refused in turn.
func listedButNotServed(t *testing.T, stack *lab.Stack, m *lab.MinIO) {
	ctx := t.Context()
	proxy, err := stack.S3Proxy(m)
	require.NoError(t, err)
	client, err := s3.New(ctx, s3.Config{EndpointURL: proxy.EndpointURL, AccessKeyID: m.AccessKeyID, SecretAccessKey: m.SecretAccessKey})
	require.NoError(t, err)
	o := recordedAt("immich", "immich-database-v2")
	reach, backup, _, err := barman.ReadReach(ctx, client, o, "20261123T080338")
	require.NoError(t, err)
	proxy.Spoil()
	require.NoError(t, barman.CheckReadable(ctx, client, o, backup, reach))
	read := map[string]bool{}
	for _, r := range proxy.Requests() {
		if !r.Listing {
			read[r.Path[strings.LastIndexByte(r.Path, '/')+1:]] = true
		}
	}
	require.Contains(t, read, "backup.info")
	require.Contains(t, read, "data.tar.gz")
	require.Contains(t, read, reach.Segment+".gz")
	for file := range read {
		proxy.Spoil(lab.S3Fault{Match: lab.S3Object("/" + file), Status: 403})
		require.ErrorIs(t, barman.CheckReadable(ctx, client, o, backup, reach), recovery.ErrDenied, file)
	}
	proxy.Spoil(lab.S3Fault{Match: lab.S3Object("/data.tar.gz"), Last: 1, Cut: true})
	require.NoError(t, barman.CheckReadable(ctx, client, o, backup, reach), "an answer that broke off is asked for again")
	proxy.Spoil(lab.S3Fault{Match: lab.S3Object("/" + reach.Segment + ".gz"), Status: 403})
	_, _, _, err = barman.ReadReach(ctx, client, o, "20261123T080338")
	require.ErrorIs(t, err, recovery.ErrDenied, "the last segment is not served")
}

// spoiltFiles: the store serves something, and it is not the backup any more.
func spoiltFiles(t *testing.T, m *lab.MinIO, client *s3.Client) {
	ctx := t.Context()
	o := recordedAt("forgejo", "forgejo-database-v1")
	lineage, _, err := barman.ReadLineage(ctx, client, o)
	require.NoError(t, err)
	choice, _, err := lineage.Choose(barman.ChooseOptions{Server: "forgejo-database-v1"})
	require.NoError(t, err)
	reach, backup, _, err := barman.ReadReach(ctx, client, o, choice.Backup.ID)
	require.NoError(t, err)
	root := prefix + "/forgejo/forgejo-database-v1/"
	keys, err := m.Keys(ctx, bucket, root+"base/"+backup.ID+"/data")
	require.NoError(t, err)
	segment := fmt.Sprintf("%swals/%s/%s", root, reach.Segment[:16], reach.Segment)
	segments, err := m.Keys(ctx, bucket, segment)
	require.NoError(t, err)
	for _, key := range append(keys, segments...) {
		whole, err := m.GetObject(ctx, bucket, key)
		require.NoError(t, err)
		require.NoError(t, m.PutObject(ctx, bucket, key, make([]byte, len(whole))))
		err = barman.CheckReadable(ctx, client, o, backup, reach)
		require.ErrorIs(t, err, recovery.ErrDamaged, key)
		require.ErrorContains(t, err, key)
		require.NoError(t, m.PutObject(ctx, bucket, key, whole))
	}
	require.NoError(t, barman.CheckReadable(ctx, client, o, backup, reach))
	// A segment that is cut off is whole for a listing; its end shows it.
	whole, err := m.GetObject(ctx, bucket, segments[0])
	require.NoError(t, err)
	require.NoError(t, m.PutObject(ctx, bucket, segments[0], whole[:len(whole)/2]))
	_, _, _, err = barman.ReadReach(ctx, client, o, backup.ID)
	require.ErrorIs(t, err, recovery.ErrDamaged)
	require.NoError(t, m.PutObject(ctx, bucket, segments[0], whole))
}
