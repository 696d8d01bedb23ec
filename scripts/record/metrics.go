package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

const addSamples = "insert into sample (value) select i from generate_series(1, 200) i"

// metrics records 1 MiB segments and an archive that went through two recoveries in place, to a
// restore point and after a crash: three timelines in one server, a partial segment, and then a
// history file that is gone and a backup whose first WAL segment is.
func (r *recorder) metrics(ctx context.Context) error {
	target, facts := r.server("metrics", "metrics-database", 1)
	pg, err := r.stack.Postgres(ctx, lab.PostgresOptions{Archive: &target, SegmentSizeMiB: 1})
	if err != nil {
		return err
	}
	if err := each(ctx, pg, "postgres", "create database metrics"); err != nil {
		return err
	}
	if err := each(ctx, pg, "metrics", "create table sample (id bigserial primary key, value float8)"); err != nil {
		return err
	}
	for timeline, next := range []func(context.Context, *lab.Postgres) (*lab.Postgres, error){r.toRestorePoint, r.afterCrash, nil} {
		if _, err := r.backup(ctx, pg, facts, int64(timeline)+1); err != nil {
			return err
		}
		if _, err := segments(ctx, pg, 3, "metrics", addSamples); err != nil {
			return err
		}
		if next == nil {
			break
		}
		if pg, err = next(ctx, pg); err != nil {
			return err
		}
	}
	if err := prove(ctx, pg, facts, "metrics", "select count(*) from sample"); err != nil {
		return err
	}
	if err := pg.Stop(); err != nil {
		return err
	}
	return r.spoilMetrics(ctx, facts)
}

// toRestorePoint goes back to a point in the middle of a segment, archiving where it did.
func (r *recorder) toRestorePoint(ctx context.Context, pg *lab.Postgres) (*lab.Postgres, error) {
	const point = "before_the_mistake"
	if err := each(ctx, pg, "metrics", addSamples, "select pg_create_restore_point('"+point+"')", "delete from sample"); err != nil {
		return nil, err
	}
	if err := pg.Stop(); err != nil {
		return nil, err
	}
	return r.stack.RecoverPostgres(ctx, lab.PostgresRecovery{From: *pg.Archive, TargetName: point, Archive: pg.Archive})
}

// afterCrash recovers with the segment that the crashed server had not archived.
func (r *recorder) afterCrash(ctx context.Context, pg *lab.Postgres) (*lab.Postgres, error) {
	if err := each(ctx, pg, "metrics", addSamples); err != nil {
		return nil, err
	}
	if err := pg.Kill(); err != nil {
		return nil, err
	}
	return r.stack.RecoverPostgres(ctx, lab.PostgresRecovery{
		From: *pg.Archive, Archive: pg.Archive, LocalWAL: filepath.Join(pg.DataDir, "pg_wal"),
	})
}

// spoilMetrics removes the history file of timeline 2, and the first segment of its backup.
func (r *recorder) spoilMetrics(ctx context.Context, facts *lab.RecordedServer) error {
	if err := r.remove(ctx, facts, "wals/00000002.history.gz"); err != nil {
		return err
	}
	facts.MissingHistory = append(facts.MissingHistory, "00000002.history")
	backup := &facts.Backups[1]
	backup.Restorable, backup.Why = false, "its first WAL segment is gone"
	begin, err := r.beginWAL(ctx, facts, backup.ID)
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(begin[16:], 16, 64)
	if err != nil {
		return err
	}
	facts.Gaps = append(facts.Gaps, recovery.WALGap{
		Timeline: 2, After: fmt.Sprintf("%s%08X", begin[:16], number-1), Before: fmt.Sprintf("%s%08X", begin[:16], number+1), Missing: 1,
	})
	return r.remove(ctx, facts, "wals/"+begin[:16]+"/"+begin+".gz")
}

func (r *recorder) beginWAL(ctx context.Context, facts *lab.RecordedServer, id string) (string, error) {
	out, err := r.stack.BarmanList(ctx, r.minio, "s3://"+bucket+"/"+prefix+facts.Destination, facts.Server)
	if err != nil {
		return "", err
	}
	var catalog struct {
		Backups []struct {
			ID    string `json:"backup_id"`
			Begin string `json:"begin_wal"`
		} `json:"backups_list"`
	}
	if err := json.Unmarshal(out, &catalog); err != nil {
		return "", err
	}
	for _, backup := range catalog.Backups {
		if backup.ID == id && len(backup.Begin) == 24 {
			return backup.Begin, nil
		}
	}
	return "", fmt.Errorf("%s has no backup %s", facts.Server, id)
}
