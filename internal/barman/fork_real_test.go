package barman_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

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
		if err := s.copyServer(ctx, "full", to, s.three); err != nil {
			return err
		}
		key := lineage + "/%s/wals/" + s.three[:16] + "/" + s.three + "%s.gz"
		body, err := s.m.GetObject(ctx, bucket, fmt.Sprintf(key, "full", ""))
		return errors.Join(err, s.m.PutObject(ctx, bucket, fmt.Sprintf(key, to, ".partial"), body))
	}
	between := func(s *story) time.Time { return s.between }
	late := func(s *story) time.Time { return s.late }
	const reached, unknown = barman.ForkReached, barman.ForkUnknown
	const ended = "recovery ended before configured recovery target was reached"
	return map[string]realRecovery{
		"last segment full": {prepare: copied("full"), rows: "1 2 3", parent: 1, verdict: reached, blind: unknown, check: s.endsAtLastRecord},
		"a .partial":        {prepare: partial, rows: "1 2 3", parent: 1, verdict: reached, blind: reached, check: s.goesOnInPartial},
		"only checkpoints": {
			prepare: copied("idle"), quiet: true, rows: "1 2 3", parent: 1, verdict: reached, blind: reached,
			check: endsAtSegment,
		},
		"only checkpoints, with a target": {prepare: copied("idle"), quiet: true, target: late, admits: "no transaction ended since the backup began", fails: ended},
		"gap":                             {prepare: copied("full", s.two), rows: "1", parent: 1, verdict: reached, blind: reached, check: s.lostBehindGap},
		"S3 refuses a segment": {
			prepare: copied("full"), proxy: &lab.S3Fault{Match: lab.S3Object(s.two + ".gz"), Status: 403},
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
func (s *story) goesOnInPartial(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, s.two, reach.Segment)
	require.Greater(t, r.fork.At, reach.EndLSN)
}

// endsAtSegment: after a switch recovery ends at the segment's last byte.
func endsAtSegment(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, reach.EndLSN, r.fork.At)
	require.Equal(t, reach.EndLSN, reach.Tail.RecordsEnd)
}

// lostBehindGap: PostgreSQL says nothing; drctl said it beforehand.
func (s *story) lostBehindGap(t *testing.T, reach barman.Reach, r recovered) {
	require.Equal(t, &recovery.WALGap{Timeline: 1, After: s.one, Before: s.three, Missing: 1}, reach.Gap)
	endsAtSegment(t, reach, r)
	require.ErrorContains(t, reach.Admits(s.late), "WAL is missing before it: 1 segments between")
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
	require.Equal(t, "00000002"+s.three[8:], switched(t, pg), "the new timeline begins in the segment of the fork")
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
