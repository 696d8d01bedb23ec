package main

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// recorder makes servers and remembers what it did.
type recorder struct {
	stack   *lab.Stack
	minio   *lab.MinIO
	servers []*lab.RecordedServer
	// snappyBackups are base folders (destination/server/base/id) to convert to snappy.
	snappyBackups []string
}

// server describes a server of a destination, and begins its facts.
func (r *recorder) server(destination, name string, segmentSizeMiB int64) (lab.BarmanServer, *lab.RecordedServer) {
	facts := &lab.RecordedServer{
		Destination: destination, Server: name, SegmentSizeBytes: segmentSizeMiB << 20,
		Backups: []lab.RecordedBackup{}, Gaps: []recovery.WALGap{}, MissingHistory: []string{}, Partials: []string{},
	}
	r.servers = append(r.servers, facts)
	return r.minio.Barman("s3://"+bucket+"/"+prefix+destination, name), facts
}

// backup takes a base backup that will be restorable. CloudNativePG names them backup-TIME.
func (r *recorder) backup(ctx context.Context, pg *lab.Postgres, facts *lab.RecordedServer, timeline int64) (*lab.RecordedBackup, error) {
	name := "backup-" + time.Now().UTC().Format("20060102150405")
	id, err := pg.Backup(ctx, name)
	if err != nil {
		return nil, err
	}
	facts.Backups = append(facts.Backups, lab.RecordedBackup{
		ID: id, Name: name, Status: "DONE", Timeline: timeline, Restorable: true, Compression: pg.Archive.Compression,
	})
	return &facts.Backups[len(facts.Backups)-1], nil
}

// keep marks a backup to be kept, with its WAL.
func (r *recorder) keep(ctx context.Context, pg *lab.Postgres, backup *lab.RecordedBackup) error {
	backup.Kept = true
	return r.stack.BarmanKeep(ctx, *pg.Archive, backup.ID, "full")
}

// failedBackup takes one that fails half way.
func (r *recorder) failedBackup(ctx context.Context, pg *lab.Postgres, facts *lab.RecordedServer, timeline int64) error {
	name := "backup-" + time.Now().UTC().Format("20060102150405")
	id, err := pg.FailedBackup(ctx, name)
	facts.Backups = append(facts.Backups, lab.RecordedBackup{
		ID: id, Name: name, Status: "FAILED", Timeline: timeline, Compression: pg.Archive.Compression, Why: "it failed",
	})
	return err
}

// each runs statements one after another, each in a transaction of its own.
func each(ctx context.Context, pg *lab.Postgres, database string, statements ...string) error {
	for _, sql := range statements {
		if _, err := pg.Exec(ctx, database, sql); err != nil {
			return err
		}
	}
	return nil
}

// segments writes n segments: each holds the statement's work and is closed after it.
func segments(ctx context.Context, pg *lab.Postgres, n int, database, sql string) ([]string, error) {
	names := make([]string, 0, n)
	for range n {
		if err := each(ctx, pg, database, sql); err != nil {
			return nil, err
		}
		name, err := pg.SwitchWAL(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// gap removes the inner segments of a run, so that the first and the last are the gap's two sides.
func (r *recorder) gap(ctx context.Context, facts *lab.RecordedServer, run []string, suffix string) error {
	inner := run[1 : len(run)-1]
	for _, segment := range inner {
		if err := r.remove(ctx, facts, "wals/"+segment[:16]+"/"+segment+suffix); err != nil {
			return err
		}
	}
	timeline, err := strconv.ParseInt(run[0][:8], 16, 64)
	facts.Gaps = append(facts.Gaps, recovery.WALGap{Timeline: timeline, After: run[0], Before: run[len(run)-1], Missing: int64(len(inner))})
	return err
}

// remove deletes one object of a server that must be there.
func (r *recorder) remove(ctx context.Context, facts *lab.RecordedServer, name string) error {
	key := path.Join(prefix, facts.Destination, facts.Server, name)
	if _, err := r.minio.GetObject(ctx, bucket, key); err != nil {
		return err
	}
	return r.minio.DeleteObject(ctx, bucket, key)
}

// prove notes the system identifier and a query whose answer proves a recovery to the end.
func prove(ctx context.Context, pg *lab.Postgres, facts *lab.RecordedServer, database, sql string) error {
	var err error
	facts.Database, facts.SQL = database, sql
	if facts.SystemID, err = pg.Exec(ctx, "postgres", "select system_identifier from pg_control_system()"); err != nil {
		return err
	}
	facts.Rows, err = pg.Exec(ctx, database, sql)
	return err
}

// toSnappy converts what was taken plain: the python3-snappy of Debian 12 cannot write it.
func (r *recorder) toSnappy(objects []lab.RecordedObject) ([]lab.RecordedObject, error) {
	for i, object := range objects {
		if !slices.Contains(r.snappyBackups, path.Dir(object.Key)) {
			continue
		}
		if path.Base(object.Key) == "backup.info" {
			text := strings.Replace(string(object.Body), "compression=None", "compression=snappy", 1)
			if text == string(object.Body) {
				return nil, fmt.Errorf("%s says nothing of its compression", object.Key)
			}
			objects[i].Body = []byte(text)
			continue
		}
		var body bytes.Buffer
		writer := snappy.NewBufferedWriter(&body)
		if _, err := writer.Write(object.Body); err != nil {
			return nil, err
		}
		if err := writer.Close(); err != nil {
			return nil, err
		}
		objects[i] = lab.RecordedObject{Key: object.Key + ".snappy", Body: body.Bytes()}
	}
	return objects, nil
}

var (
	segmentKey = regexp.MustCompile(`/wals/[0-9A-F]{16}/([0-9A-F]{24})(\.[a-z0-9]+)?$`)
	partialKey = regexp.MustCompile(`/wals/.*/([0-9A-F]{24}\.partial)`)
)

// count notes how many segments, and which timelines and partial files, each server ended up with.
func (r *recorder) count(objects []lab.RecordedObject) error {
	for _, facts := range r.servers {
		facts.Timelines = []int64{}
		for _, object := range objects {
			if !strings.HasPrefix(object.Key, facts.Destination+"/"+facts.Server+"/") {
				continue
			}
			if match := partialKey.FindStringSubmatch(object.Key); match != nil {
				facts.Partials = append(facts.Partials, match[1])
				continue
			}
			match := segmentKey.FindStringSubmatch(object.Key)
			if match == nil {
				continue
			}
			facts.SegmentCount++
			timeline, err := strconv.ParseInt(match[1][:8], 16, 64)
			if err != nil {
				return err
			}
			if !slices.Contains(facts.Timelines, timeline) {
				facts.Timelines = append(facts.Timelines, timeline)
			}
		}
		slices.Sort(facts.Timelines)
	}
	return nil
}
