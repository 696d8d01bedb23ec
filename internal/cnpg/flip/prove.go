package flip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// The queries of the proof. They run in the Pod of the primary, as the superuser on its own socket.
const (
	querySystem = "select system_identifier from pg_control_system()"
	// The timeline that WAL is written on now: the control file's lags behind until a checkpoint.
	queryTimeline = "select pg_is_in_recovery(), case when pg_is_in_recovery() then 0 else ('x'||substr(pg_walfile_name(pg_current_wal_lsn()),1,8))::bit(32)::int end"
	queryTables   = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r','p') and n.nspname not in ('pg_catalog','information_schema') and n.nspname !~ '^pg_toast'"
	// query_to_xml counts each table exactly, in one statement: reltuples is an estimate that a
	// recovered database may not have.
	queryRows = "select coalesce(sum((xpath('/row/c/text()', query_to_xml(format('select count(*) as c from %I.%I', n.nspname, c.relname), false, true, '')))[1]::text::bigint), 0) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname not in ('pg_catalog','information_schema') and n.nspname !~ '^pg_toast'"
)

// expectation is what a recovery must show.
type expectation struct {
	params *Params
	// uid is the new Cluster's, empty when nobody recorded it.
	uid string
}

// errNoPrimary: there is no PostgreSQL to ask yet.
var errNoPrimary = errors.New("the Cluster has no primary Pod yet")

// proveData checks what the data itself shows: identifier, timeline, fork, rows, volumes.
func (f *Flip) proveData(ctx context.Context, e expectation) ([]Check, error) {
	p := e.params
	live, err := f.Cluster.Find(ctx, p.Namespace, p.cluster())
	if err != nil {
		return nil, err
	}
	if live == nil {
		return []Check{judged("cluster", "there is none", "Cluster "+p.String(), false)}, nil
	}
	checks := []Check{checkOrigin(live, e)}
	volumes, err := f.checkVolumes(ctx, live, p)
	if err != nil {
		return nil, err
	}
	checks = append(checks, volumes)
	if live.Primary == "" {
		for _, name := range []string{"systemIdentifier", "timeline", "forkLSN", "rows"} {
			checks = append(checks, unknown(name, "an answer of PostgreSQL", errNoPrimary))
		}
		return checks, nil
	}
	return append(checks, f.askPostgres(ctx, live.Primary, p)...), ctx.Err()
}

// checkOrigin: it is the Cluster that the plan made, and not one that somebody created meanwhile.
func checkOrigin(live *recovery.LiveCluster, e expectation) Check {
	if e.uid == "" {
		return judged("origin", live.Bootstrap+", UID "+live.UID, "a Cluster that was recovered", live.Bootstrap == "recovery")
	}
	return judged("origin", "UID "+live.UID, "UID "+e.uid+", as created by the plan", live.UID == e.uid)
}

// checkVolumes: no claim of the old Cluster was adopted. An operator that finds old claims starts the
// old data, reports Ready and recovers nothing.
func (f *Flip) checkVolumes(ctx context.Context, live *recovery.LiveCluster, p *Params) (Check, error) {
	const name = "volumes"
	expected := "new claims, owned by UID " + live.UID
	volumes, err := f.Cluster.Volumes(ctx, p.Namespace, p.cluster())
	if err != nil {
		return Check{}, err
	}
	if len(volumes) == 0 {
		return unknown(name, expected, errors.New("the Cluster has no claims yet")), nil
	}
	for _, volume := range volumes {
		old := slices.ContainsFunc(p.Volumes, func(v recovery.Volume) bool { return v.ClaimUID == volume.ClaimUID })
		if old || volume.OwnerUID != live.UID {
			return judged(name, fmt.Sprintf("claim %s has UID %s and is owned by %q", volume.Claim, volume.ClaimUID, volume.OwnerUID), expected, false), nil
		}
	}
	return judged(name, strconv.Itoa(len(volumes))+" new claims", expected, true), nil
}

func (f *Flip) askPostgres(ctx context.Context, pod string, p *Params) []Check {
	ask := func(database, query string) (string, error) {
		return f.Cluster.SQL(ctx, p.Namespace, pod, database, query)
	}
	var checks []Check
	system, err := ask("postgres", querySystem)
	if err != nil {
		checks = append(checks, unknown("systemIdentifier", p.Backup.SystemID, err))
	} else {
		checks = append(checks, judged("systemIdentifier", system, p.Backup.SystemID, system == p.Backup.SystemID))
	}
	timeline, check := checkTimeline(ask, p)
	checks = append(checks, check)
	checks = append(checks, f.checkFork(ask, timeline, p), checkRows(ask, p))
	return checks
}

type asker func(database, query string) (string, error)

// checkTimeline: a recovery ends on a timeline above that of its backup.
func checkTimeline(ask asker, p *Params) (int64, Check) {
	const name = "timeline"
	expected := fmt.Sprintf("above %d", p.Backup.Timeline)
	answer, err := ask("postgres", queryTimeline)
	if err != nil {
		return 0, unknown(name, expected, err)
	}
	recovering, number, _ := strings.Cut(answer, "|")
	if recovering != "f" {
		return 0, unknown(name, expected, errors.New("PostgreSQL is still in recovery"))
	}
	timeline, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, unknown(name, expected, fmt.Errorf("PostgreSQL answered %q", answer))
	}
	return timeline, judged(name, number, expected, timeline > p.Backup.Timeline)
}

// checkFork: the new timeline must begin behind everything that the archive held, or at the target.
// PostgreSQL promotes at a gap without any error.
func (f *Flip) checkFork(ask asker, timeline int64, p *Params) Check {
	const name = "forkLSN"
	expected := "at or behind the end of " + p.Reach.Segment
	if !p.TargetTime.IsZero() {
		expected = "at the target " + p.TargetTime.Format(time.RFC3339)
	}
	if timeline <= 1 {
		return unknown(name, expected, errors.New("there is no new timeline"))
	}
	history, err := ask("postgres", fmt.Sprintf("select pg_read_file('pg_wal/%08X.history')", timeline))
	if err != nil {
		return unknown(name, expected, err)
	}
	result, why := f.Archive.Judge(p.Reach, p.TargetTime, history)
	return Check{Name: name, Result: result, Observed: why, Expected: expected}
}

func checkRows(ask asker, p *Params) Check {
	const name = "rows"
	if p.VerifySQL != "" {
		answer, err := ask(p.Database, p.VerifySQL)
		if err != nil {
			return unknown(name, "rows of --verify-sql", err)
		}
		first, _, _ := strings.Cut(strings.TrimSpace(answer), "\n")
		return judged(name, first, "--verify-sql gives rows and neither 0 nor f", first != "" && first != "0" && first != "f")
	}
	expected := "user tables in " + p.Database + " that hold rows"
	tables, err := ask(p.Database, queryTables)
	if err != nil {
		return unknown(name, expected, err)
	}
	rows, err := ask(p.Database, queryRows)
	if err != nil {
		return unknown(name, expected, err)
	}
	return judged(name, rows+" rows in "+tables+" tables", expected, tables != "0" && rows != "0" && rows != "")
}

// proveBackups checks that the recovered Cluster is itself backed up: it archives, and a base backup
// of its new timeline stands DONE under its own server. A Backup object's phase would prove neither.
func (f *Flip) proveBackups(ctx context.Context, e expectation) ([]Check, error) {
	p := e.params
	if p.beside() || p.ArchiveServer == "" {
		return nil, nil
	}
	live, err := f.Cluster.Find(ctx, p.Namespace, p.cluster())
	if err != nil {
		return nil, err
	}
	archiving := unknown("archiving", "ContinuousArchiving True", errors.New("the condition is not set yet"))
	if live != nil && live.Archiving != "unknown" {
		archiving = judged("archiving", strings.TrimSpace(live.Archiving+" "+live.ArchivingWhy), "ContinuousArchiving True", live.Archiving == "true")
	}
	return []Check{archiving, f.checkBackup(ctx, p)}, ctx.Err()
}

func (f *Flip) checkBackup(ctx context.Context, p *Params) Check {
	const name = "backup"
	expected := fmt.Sprintf("a DONE backup under %s on a timeline above %d", p.ArchiveServer, p.Backup.Timeline)
	done, err := f.Archive.NewestDone(ctx, p.archive())
	switch {
	case err != nil:
		return unknown(name, expected, err)
	case done == nil:
		return unknown(name, expected, errors.New("there is none yet"))
	case done.Timeline <= p.Backup.Timeline || done.SystemID != p.Backup.SystemID:
		return judged(name, fmt.Sprintf("%s on timeline %d of system %s", done.ID, done.Timeline, done.SystemID), expected, false)
	}
	return judged(name, fmt.Sprintf("%s on timeline %d", done.ID, done.Timeline), expected, true)
}
