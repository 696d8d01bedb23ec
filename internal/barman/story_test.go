package barman_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/s3"
)

const lineage = "cnpg/lineage"

// workshop is a MinIO in which copies of one real archive are spoilt in different ways.
type workshop struct {
	stack  *lab.Stack
	m      *lab.MinIO
	client *s3.Client
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{stack: lab.ForTest(t)}
	var err error
	w.m, err = w.stack.MinIO(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.m.MakeBucket(t.Context(), bucket))
	w.client, err = s3.New(t.Context(), s3.Config{EndpointURL: w.m.EndpointURL, AccessKeyID: w.m.AccessKeyID, SecretAccessKey: w.m.SecretAccessKey})
	require.NoError(t, err)
	return w
}

func (w *workshop) server(name string) lab.BarmanServer {
	return w.m.Barman("s3://"+bucket+"/"+lineage, name)
}

func at(server string) barman.Options {
	return barman.Options{Bucket: bucket, Prefix: lineage, Servers: []string{server}}
}

// copyServer copies what one server holds to another one, without the keys that contain one of the texts.
func (w *workshop) copyServer(ctx context.Context, from, to string, without ...string) error {
	keys, err := w.m.Keys(ctx, bucket, lineage+"/"+from+"/")
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, key := range keys {
		leftOut := false
		for _, text := range without {
			leftOut = leftOut || strings.Contains(key, text)
		}
		if leftOut {
			continue
		}
		group.Go(func() error {
			body, err := w.m.GetObject(ctx, bucket, key)
			if err != nil {
				return err
			}
			return w.m.PutObject(ctx, bucket, strings.Replace(key, "/"+from+"/", "/"+to+"/", 1), body)
		})
	}
	return group.Wait()
}

// story is what happened to one real database: its archive as the server "full", and what came later as
// "idle".
type story struct {
	*workshop
	// busy is the backup at the beginning, quiet the one that nothing but checkpoints followed.
	busy, quiet string
	// one holds row 1, two rows 2 and 3; three is full; the next one, four, is not in "full".
	one, two, three, four string
	// between lies between the commits of row 2 and row 3; late is after the last commit.
	between, late time.Time
}

func query(t *testing.T, pg *lab.Postgres, sql string) string {
	t.Helper()
	out, err := pg.Exec(t.Context(), "postgres", sql)
	require.NoError(t, err)
	return out
}

func now(t *testing.T, pg *lab.Postgres) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999999-07", query(t, pg, "select clock_timestamp()"))
	require.NoError(t, err)
	return at.UTC()
}

// next is the segment after one, on the same timeline.
func next(segment string) string {
	size := barman.SegmentSize(16 << 20)
	name, _ := barman.ParseWALName(segment)
	number, _ := size.Number(name)
	return size.Name(name.Timeline, number+1)
}

// tellStory: row 1 in segment one, rows 2 and 3 in segment two, both switched; segment three is full, and
// its last record goes on in the next. That is the server "full". Then a quiet backup and two checkpoints.
func tellStory(t *testing.T) *story {
	t.Helper()
	ctx := t.Context()
	s := &story{workshop: newWorkshop(t)}
	archive := s.server("live")
	pg, err := s.stack.Postgres(ctx, lab.PostgresOptions{Archive: &archive})
	require.NoError(t, err)
	query(t, pg, "create table r(n int); create table big(x text)")
	s.busy, err = pg.Backup(ctx, "")
	require.NoError(t, err)
	query(t, pg, "insert into r values (1)")
	s.one = switched(t, pg)
	query(t, pg, "insert into r values (2)")
	s.between = now(t, pg)
	query(t, pg, "insert into r values (3)")
	s.two = switched(t, pg)
	require.Equal(t, next(s.one), s.two)
	s.three, s.four = next(s.two), next(next(s.two))
	query(t, pg, "insert into big select repeat(md5(i::text), 60) from generate_series(1, 12000) i")
	require.NoError(t, pg.WaitArchived(ctx, s.three))
	require.NoError(t, s.copyServer(ctx, "live", "full", s.four))
	s.quiet, err = pg.Backup(ctx, "")
	require.NoError(t, err)
	for range 2 {
		query(t, pg, "checkpoint")
		s.late = now(t, pg)
		switched(t, pg)
	}
	require.NoError(t, pg.Kill())
	require.NoError(t, s.copyServer(ctx, "live", "idle"))
	return s
}

func switched(t *testing.T, pg *lab.Postgres) string {
	t.Helper()
	segment, err := pg.SwitchWAL(t.Context())
	require.NoError(t, err)
	return segment
}

// recovered is what a real recovery ended with.
type recovered struct {
	rows     string
	timeline uint32
	fork     barman.Fork
	reason   string
	keys     []string
}

// recoverInto recovers into a new server and reads from there what drctl will read.
func (s *story) recoverInto(t *testing.T, to string, r lab.PostgresRecovery) (recovered, error) {
	t.Helper()
	ctx := t.Context()
	archive := s.server(to)
	r.Archive = &archive
	pg, err := s.stack.RecoverPostgres(ctx, r)
	if err != nil {
		return recovered{}, err
	}
	result := recovered{rows: query(t, pg, "select coalesce(string_agg(n::text, ' ' order by n), '') from r")}
	switched(t, pg)
	name, ok := barman.ParseWALName(query(t, pg, "select pg_walfile_name(pg_current_wal_lsn())"))
	require.True(t, ok)
	result.timeline = name.Timeline
	history := barman.WALName{Kind: barman.History, Timeline: name.Timeline}.String()
	require.NoError(t, pg.WaitArchived(ctx, history))
	result.fork, result.reason, err = barman.ReadFork(ctx, s.client, at(to), name.Timeline)
	require.NoError(t, err)
	fork, reason, err := barman.LastFork([]byte(query(t, pg, "select pg_read_file('pg_wal/"+history+"')")))
	require.NoError(t, err)
	require.Equal(t, result.fork, fork, "the archive and the server say the same")
	require.Equal(t, result.reason, reason)
	result.keys, err = s.m.Keys(ctx, bucket, lineage+"/"+to+"/")
	require.NoError(t, err)
	require.NoError(t, pg.Stop())
	t.Logf("rows %q, timeline %d, fork %d %s, %q", result.rows, result.timeline, fork.Parent, fork.At, reason)
	return result, nil
}
