package barman_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/s3"
)

const bucket, prefix = "postgres-backups", "cnpg"

// recorded starts MinIO with the recorded catalogs of real databases.
func recorded(t *testing.T) (*lab.Stack, *lab.MinIO, *s3.Client) {
	t.Helper()
	stack := lab.ForTest(t)
	m, err := stack.MinIO(t.Context())
	require.NoError(t, err)
	require.NoError(t, lab.LoadBarmanRecording(t.Context(), m, bucket, prefix))
	client, err := s3.New(t.Context(), s3.Config{EndpointURL: m.EndpointURL, AccessKeyID: m.AccessKeyID, SecretAccessKey: m.SecretAccessKey})
	require.NoError(t, err)
	return stack, m, client
}

// peerBackup is a backup in the words of barman-cloud-backup-list --format json.
type peerBackup struct {
	ID       string  `json:"backup_id"`
	Name     *string `json:"backup_name"`
	Status   string  `json:"status"`
	Begin    *string `json:"begin_time"`
	End      *string `json:"end_time"`
	BeginWAL *string `json:"begin_wal"`
	EndWAL   *string `json:"end_wal"`
	Timeline int64   `json:"timeline"`
	SystemID string  `json:"systemid"`
	Version  int     `json:"version"`
}

// inPeersWords puts our backup into Barman's words: times as C's ctime, None where there is nothing.
func inPeersWords(b recovery.Backup) peerBackup {
	return peerBackup{
		ID: b.ID, Name: orNone(b.Name), Status: b.Status, Begin: ctime(b.StartTime), End: ctime(b.EndTime),
		BeginWAL: orNone(b.BeginWAL), EndWAL: orNone(b.EndWAL), Timeline: b.Timeline, SystemID: b.SystemID, Version: b.PostgresVersion,
	}
}

func orNone(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func ctime(at time.Time) *string {
	if at.IsZero() {
		return nil
	}
	return orNone(at.Format("Mon Jan _2 15:04:05 2006"))
}

// TestRealCatalogs reads what real databases and Barman wrote, from a real S3 server.
func TestRealCatalogs(t *testing.T) {
	stack, m, client := recorded(t)
	facts, err := lab.RecordedServers()
	require.NoError(t, err)
	t.Run("agrees with Barman", func(t *testing.T) { agreesWithBarman(t, stack, m, client, facts) })
	t.Run("finds what Barman does not", func(t *testing.T) { findsWhatBarmanDoesNot(t, client, facts) })
	t.Run("beyond 1,000 keys", func(t *testing.T) { beyondAThousandKeys(t, m, client) })
	t.Run("server killed", func(t *testing.T) { serverKilled(t, m, client) })
}

// agreesWithBarman compares with the tool that writes the format.
func agreesWithBarman(t *testing.T, stack *lab.Stack, m *lab.MinIO, client *s3.Client, facts []lab.RecordedServer) {
	for _, fact := range facts {
		t.Run(fact.Server, func(t *testing.T) {
			destination := fmt.Sprintf("s3://%s/%s/%s", bucket, prefix, fact.Destination)
			text, err := stack.BarmanList(t.Context(), m, destination, fact.Server)
			require.NoError(t, err)
			var theirs struct {
				Backups []peerBackup `json:"backups_list"`
			}
			require.NoError(t, json.Unmarshal(text, &theirs), string(text))
			require.NotEmpty(t, theirs.Backups)
			slices.SortFunc(theirs.Backups, func(a, b peerBackup) int { return strings.Compare(a.ID, b.ID) })

			catalog, gaps, err := barman.ReadCatalog(t.Context(), client, barman.Options{Bucket: bucket, Prefix: prefix + "/" + fact.Destination, Servers: []string{fact.Server}})
			require.NoError(t, err)
			require.Empty(t, gaps)
			require.Equal(t, destination, catalog.DestinationPath)
			var ours []peerBackup
			for _, b := range catalog.Servers[0].Backups {
				ours = append(ours, inPeersWords(b))
			}
			require.Equal(t, theirs.Backups, ours)
		})
	}
}

// findsWhatBarmanDoesNot compares with what the maker of the recordings did to them.
func findsWhatBarmanDoesNot(t *testing.T, client *s3.Client, facts []lab.RecordedServer) {
	catalogs := map[string]recovery.Catalog{}
	for _, fact := range facts {
		if _, read := catalogs[fact.Destination]; read {
			continue
		}
		catalog, gaps, err := barman.ReadCatalog(t.Context(), client, barman.Options{Bucket: bucket, Prefix: prefix + "/" + fact.Destination})
		require.NoError(t, err)
		require.Empty(t, gaps)
		catalogs[fact.Destination] = catalog
	}
	suffix := map[string]string{"gzip": "gz", "bzip2": "bz2", "snappy": "snappy", "": ""}
	for _, fact := range facts {
		t.Run(fact.Server, func(t *testing.T) {
			servers := catalogs[fact.Destination].Servers
			at := slices.IndexFunc(servers, func(s recovery.Server) bool { return s.Name == fact.Server })
			require.GreaterOrEqual(t, at, 0)
			server := servers[at]
			require.Equal(t, fact.Gaps, server.WAL.Gaps)
			require.Equal(t, fact.MissingHistory, server.WAL.MissingHistory)
			require.Equal(t, fact.Partials, server.WAL.Partials)
			require.Equal(t, fact.Timelines, server.WAL.Timelines)
			require.Equal(t, fact.SegmentCount, server.WAL.SegmentCount)
			require.Equal(t, fact.SegmentSizeBytes, server.WAL.SegmentSizeBytes)
			require.Len(t, server.Backups, len(fact.Backups))
			for i, want := range fact.Backups {
				b := server.Backups[i]
				require.Equal(t, want, lab.RecordedBackup{
					ID: b.ID, Name: b.Name, Status: b.Status, Timeline: b.Timeline, Kept: b.Kept, Restorable: b.Restorable,
					Compression: want.Compression, Why: want.Why,
				}, "%v", b.Reasons)
				require.Equal(t, want.Restorable, len(b.Reasons) == 0)
				if want.Restorable {
					require.Equal(t, suffix[want.Compression], b.Compression)
					require.Equal(t, fact.SystemID, b.SystemID)
					require.Positive(t, b.SizeBytes)
				}
			}
			require.NotNil(t, server.RecoveryWindow)
			require.False(t, server.RecoveryWindow.To.Before(server.RecoveryWindow.From))
		})
	}
}

// beyondAThousandKeys reads an archive of more than one page from a real server, which must answer as
// the fake of the unit tests does.
func beyondAThousandKeys(t *testing.T, m *lab.MinIO, client *s3.Client) {
	ctx := t.Context()
	const server = prefix + "/immich/immich-database-v2"
	// The recorded archive ends in segment 0x14 of timeline 2; more follow, with one seeded gap.
	const last, hole = 0x14 + 2500, 0x14 + 1234
	size := barman.SegmentSize(16 << 20)
	var puts errgroup.Group
	puts.SetLimit(16)
	for number := uint64(0x15); number <= last; number++ {
		if name := size.Name(2, number); number != hole {
			puts.Go(func() error { return m.PutObject(ctx, bucket, server+"/wals/"+name[:16]+"/"+name+".gz", nil) })
		}
	}
	require.NoError(t, puts.Wait())
	before := client.Requests()
	catalog, gaps, err := barman.ReadCatalog(ctx, client, barman.Options{Bucket: bucket, Prefix: prefix + "/immich", Servers: []string{"immich-database-v2"}})
	require.NoError(t, err)
	require.Empty(t, gaps)
	wal := catalog.Servers[0].WAL
	require.Equal(t, []recovery.WALGap{{Timeline: 2, After: size.Name(2, hole-1), Before: size.Name(2, hole+1), Missing: 1}}, wal.Gaps)
	require.Equal(t, size.Name(2, last), wal.Last)
	require.Equal(t, 9+2500-1, wal.SegmentCount)
	// base; wals, its folders, two spans; two backup.info, one keep mark, one .history.
	require.LessOrEqual(t, client.Requests()-before, int64(5+4))
	require.Contains(t, strings.Join(catalog.Servers[0].Warnings, "\n"), "WAL is missing behind "+size.Name(2, hole-1))
}

func serverKilled(t *testing.T, m *lab.MinIO, client *s3.Client) {
	require.NoError(t, m.Process.Kill())
	_, _, err := barman.ReadCatalog(t.Context(), client, barman.Options{Bucket: bucket, Prefix: prefix + "/immich"})
	var p *recovery.Problem
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.NotEmpty(t, p.Next)
	require.NotContains(t, err.Error(), "CANARY")
}
