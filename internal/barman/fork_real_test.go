package barman_test

import (
	"context"
	"errors"
	"fmt"
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

// tellStory: row 1 in segment 3, rows 2 and 3 in segment 4, both switched; segment 5 is full, and its
// last record goes on in segment 6. That is the server "full". Then a quiet backup and two checkpoints.
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
	require.Equal(t, "000000010000000000000003", switched(t, pg))
	query(t, pg, "insert into r values (2)")
	s.between = now(t, pg)
	query(t, pg, "insert into r values (3)")
	require.Equal(t, "000000010000000000000004", switched(t, pg))
	query(t, pg, "insert into big select repeat(md5(i::text), 60) from generate_series(1, 12000) i")
	require.NoError(t, pg.WaitArchived(ctx, "000000010000000000000005"))
	require.NoError(t, s.copyServer(ctx, "live", "full", "000000010000000000000006"))
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

// realRecovery is one recovery by PostgreSQL itself, and what drctl must have said before and after.
type realRecovery struct {
	// prepare makes the server to recover from; the backup is the busy one unless quiet.
	prepare func(ctx context.Context, to string) error
	// proxy, if set, stands between Barman and S3.
	proxy  *lab.S3Fault
	quiet  bool
	target func(*story) time.Time
	// admits is what the refusal of the target says, empty for none.
	admits string
	// fails is what PostgreSQL says when it gives up; else rows are what it recovered.
	fails, rows string
	parent      uint32
	// verdict is against the reach that was seen beforehand, blind against the same without Tail.
	verdict, blind barman.ForkVerdict
	check          func(t *testing.T, reach barman.Reach, r recovered)
}

func (s *story) recoveries() map[string]realRecovery {
	copied := func(from string, without ...string) func(context.Context, string) error {
		return func(ctx context.Context, to string) error { return s.copyServer(ctx, from, to, without...) }
	}
	both := func(ctx context.Context, to string) error {
		return errors.Join(s.copyServer(ctx, "lines", to), s.copyServer(ctx, "idle", to))
	}
	partial := func(ctx context.Context, to string) error {
		if err := s.copyServer(ctx, "full", to, "000000010000000000000005"); err != nil {
			return err
		}
		key := lineage + "/%s/wals/0000000100000000/000000010000000000000005%s.gz"
		body, err := s.m.GetObject(ctx, bucket, fmt.Sprintf(key, "full", ""))
		return errors.Join(err, s.m.PutObject(ctx, bucket, fmt.Sprintf(key, to, ".partial"), body))
	}
	between := func(s *story) time.Time { return s.between }
	late := func(s *story) time.Time { return s.late }
	const reached, unknown = barman.ForkReached, barman.ForkUnknown
	const ended = "recovery ended before configured recovery target was reached"
	return map[string]realRecovery{
		"last segment full": {prepare: copied("full"), rows: "1 2 3", parent: 1, verdict: reached, blind: unknown, check: s.endsAtLastRecord},
		"a .partial":        {prepare: partial, rows: "1 2 3", parent: 1, verdict: reached, blind: reached, check: goesOnInPartial},
		"only checkpoints": {
			prepare: copied("idle"), quiet: true, rows: "1 2 3", parent: 1, verdict: reached, blind: reached,
			check: endsAtSegment,
		},
		"only checkpoints, with a target": {prepare: copied("idle"), quiet: true, target: late, admits: "no transaction ended since the backup began", fails: ended},
		"gap":                             {prepare: copied("full", "000000010000000000000004"), rows: "1", parent: 1, verdict: reached, blind: reached, check: s.lostBehindGap},
		"gap, with a target behind it":    {prepare: copied("full", "000000010000000000000004"), target: late, admits: "WAL is missing before it: 1 segments between", fails: ended},
		"S3 refuses a segment": {
			prepare: copied("full"), proxy: &lab.S3Fault{Match: lab.S3Object("000000010000000000000004.gz"), Status: 403},
			rows: "1", parent: 1, verdict: barman.ForkedEarly, blind: barman.ForkedEarly,
		},
		"target": {prepare: copied("full"), target: between, rows: "1 2", parent: 1, verdict: reached, blind: reached, check: s.targets},
		"newest timeline": {
			prepare: copied("lines"), rows: "1 2 3 4", parent: 2, verdict: reached, blind: reached,
			check: endsAtSegment,
		},
		"target before an older fork":       {prepare: copied("lines"), target: between, rows: "1 2", parent: 2, verdict: reached, blind: reached},
		"no .history of the newest":         {prepare: copied("lines", ".history"), rows: "1 2 3", parent: 1, verdict: reached, blind: unknown, check: missesHistory},
		"backup on a timeline that is left": {prepare: both, quiet: true, admits: "its timeline was left for timeline 2", fails: "requested timeline 2 is not a child of this server's history"},
	}
}

// endsAtLastRecord: the last record of the last segment goes on in one that is not there. Recovery ends
// before it, and not at the segment's end.
func (s *story) endsAtLastRecord(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, reach.Tail.RecordsEnd, r.fork.At)
	require.Less(t, r.fork.At, reach.EndLSN)
	require.True(t, reach.Tail.LastCommitAt.After(s.between))
	require.ErrorContains(t, reach.Admits(s.late), "the last commit in the archive was at")
	require.NoError(t, reach.Admits(s.between))
	verdict, why := barman.JudgeFork(reach, s.between, r.fork, r.reason)
	require.Equal(t, barman.ForkedElsewhere, verdict, why)
}

// goesOnInPartial: Barman gives a .partial where there is nothing else.
func goesOnInPartial(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, "000000010000000000000004", reach.Segment)
	require.Greater(t, r.fork.At, reach.EndLSN)
}

// endsAtSegment: after a switch recovery ends at the segment's last byte.
func endsAtSegment(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, reach.EndLSN, r.fork.At)
	require.Equal(t, reach.EndLSN, reach.Tail.RecordsEnd)
}

// lostBehindGap: PostgreSQL says nothing; drctl said it beforehand.
func (s *story) lostBehindGap(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, &recovery.WALGap{Timeline: 1, After: "000000010000000000000003", Before: "000000010000000000000005", Missing: 1}, reach.Gap)
	endsAtSegment(t, reach, r)
	whole, _, _, err := barman.ReadReach(t.Context(), s.client, at("full"), s.busy)
	require.NoError(t, err)
	verdict, why := barman.JudgeFork(whole, time.Time{}, r.fork, r.reason)
	require.Equal(t, barman.ForkedEarly, verdict, why)
}

// targets: another target than the planned one does not pass for it.
func (s *story) targets(t *testing.T, reach barman.Reach, r recovered) {
	require.Regexp(t, `^before 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00$`, r.reason)
	for _, target := range []time.Time{{}, s.late} {
		verdict, why := barman.JudgeFork(reach, target, r.fork, r.reason)
		require.Equal(t, barman.ForkedElsewhere, verdict, why)
	}
}

func missesHistory(t *testing.T, reach barman.Reach, _ recovered) {
	require.Equal(t, "00000002.history", reach.MissingHistory)
}

// TestForksOfRealRecoveries measures where PostgreSQL ends a recovery, and whether what drctl says
// before and afterwards is right. The rows are the oracle.
func TestForksOfRealRecoveries(t *testing.T) {
	s := tellStory(t)
	s.promoteInto(t, "lines")
	for title, c := range s.recoveries() {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s.run(t, c)
		})
	}
}

// promoteInto recovers from a copy of "full" and archives into the same server, as a failover does:
// timeline 2, with row 4.
func (s *story) promoteInto(t *testing.T, server string) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, s.copyServer(ctx, "full", server))
	archive := s.server(server)
	pg, err := s.stack.RecoverPostgres(ctx, lab.PostgresRecovery{From: archive, BackupID: s.busy, Archive: &archive})
	require.NoError(t, err)
	query(t, pg, "insert into r values (4)")
	require.Equal(t, "000000020000000000000005", switched(t, pg))
	require.NoError(t, pg.Stop())
}

func (s *story) run(t *testing.T, c realRecovery) {
	t.Helper()
	ctx := t.Context()
	from := strings.NewReplacer(" ", "-", ",", "", ".", "").Replace(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
	require.NoError(t, c.prepare(ctx, from))
	backup := s.busy
	if c.quiet {
		backup = s.quiet
	}
	r := lab.PostgresRecovery{From: s.server(from), BackupID: backup}
	var target time.Time
	if c.target != nil {
		target = c.target(s)
		r.TargetTime = target.Format("2006-01-02 15:04:05.999999-07")
	}
	if c.proxy != nil {
		proxy, err := s.stack.S3Proxy(s.m, *c.proxy)
		require.NoError(t, err)
		r.From.EndpointURL = proxy.EndpointURL
	}
	reach, _, _, err := barman.ReadReach(ctx, s.client, at(from), backup)
	if err == nil {
		err = reach.Admits(target)
	}
	if c.admits == "" {
		require.NoError(t, err)
	} else {
		require.ErrorContains(t, err, c.admits)
		require.ErrorIs(t, err, recovery.ErrUsage)
	}
	result, err := s.recoverInto(t, "into-"+from, r)
	if c.fails != "" {
		require.ErrorContains(t, err, c.fails)
		return
	}
	require.NoError(t, err)
	require.Equal(t, c.rows, result.rows)
	require.Equal(t, c.parent, result.fork.Parent)
	require.Equal(t, c.parent+1, result.timeline)
	requireOnlyNewTimeline(t, result)
	verdict, why := barman.JudgeFork(reach, target, result.fork, result.reason)
	require.Equal(t, c.verdict, verdict, why)
	blind := reach
	blind.Tail = nil
	verdict, why = barman.JudgeFork(blind, target, result.fork, result.reason)
	require.Equal(t, c.blind, verdict, why)
	if c.check != nil {
		c.check(t, reach, result)
	}
}

// requireOnlyNewTimeline: into the new server go the new timeline's .history and segments, and nothing
// of the old timeline, not even a .partial.
func requireOnlyNewTimeline(t *testing.T, r recovered) {
	t.Helper()
	require.NotEmpty(t, r.keys)
	for _, key := range r.keys {
		name, ok := barman.ParseWALName(key[strings.LastIndexByte(key, '/')+1:])
		require.True(t, ok, key)
		require.Equal(t, r.timeline, name.Timeline, key)
		require.NotEqual(t, barman.Partial, name.Kind, key)
	}
}
