package barman

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// tailSegments is how many segments are read in search of the last commit: an idle database writes
	// segments without any, at each checkpoint and backup.
	tailSegments = 16
	// largestTailSegment bounds what is held in memory; larger segments are rare.
	largestTailSegment SegmentSize = 256 << 20
)

// Tail is what the last segments of an archive show.
type Tail struct {
	// RecordsEnd is where the last whole record ends: where recovery to the latest must end, exactly.
	// Behind a switch (pg_switch_wal, archive_timeout, a backup's end) that is the segment's end.
	RecordsEnd LSN
	// LastCommitAt is the latest commit or abort, by the database's clock: a target must be before it.
	// Zero when none was found.
	LastCommitAt time.Time
	// Idle: every segment back to the backup's first was read, and none holds a commit or an abort.
	Idle bool
}

// ReadTail reads the last contiguous segments of a reach (as ReadLineage gives it): the last one, and
// earlier ones until a commit is found, at most 16. A segment that cannot be read or is no WAL is an
// error; one in a form that drctl does not read is ErrUnsupported.
func ReadTail(ctx context.Context, store Store, o Options, backup recovery.Backup, reach Reach) (*Tail, error) {
	server, err := o.oneServer()
	if err != nil {
		return nil, err
	}
	d := newDestination(store, o)
	tail := &Tail{}
	for _, segment := range reach.last {
		found, err := d.readRecords(ctx, server, segment, reach.SegmentSize)
		if err != nil {
			return nil, err
		}
		if tail.RecordsEnd == 0 {
			tail.RecordsEnd = found.end
		}
		tail.LastCommitAt = found.lastCommit
		if tail.RecordsEnd != 0 && !tail.LastCommitAt.IsZero() {
			return tail, nil
		}
	}
	if tail.RecordsEnd == 0 {
		return nil, &recovery.Problem{
			What: "find the last record in the WAL of " + server, Why: fmt.Sprintf("none ends in the last %d segments", len(reach.last)),
			Next: "look at them with pg_waldump", Err: recovery.ErrUnsupported,
		}
	}
	tail.Idle = len(reach.last) > 0 && reach.last[len(reach.last)-1] == backup.BeginWAL
	return tail, nil
}

func (d *destination) readRecords(ctx context.Context, server, segment string, size SegmentSize) (segmentRecords, error) {
	if size > largestTailSegment {
		return segmentRecords{}, &recovery.Problem{What: "read WAL segment " + segment, Why: fmt.Sprintf("it has %d bytes, too many to look into", size), Err: recovery.ErrUnsupported}
	}
	start, err := size.StartOf(segment)
	if err != nil {
		return segmentRecords{}, err
	}
	object, err := d.findWAL(ctx, server, segment)
	if err != nil {
		return segmentRecords{}, err
	}
	body, err := d.get(ctx, object.Key, int64(size)+int64(size)/16+1<<16)
	if err != nil {
		return segmentRecords{}, err
	}
	plain, err := decompress(body, int(size))
	if err == nil {
		var found segmentRecords
		if found, err = readSegment(plain, size, start); err == nil {
			return found, nil
		}
	}
	return segmentRecords{}, &recovery.Problem{
		What: fmt.Sprintf("read s3://%s/%s", d.bucket, object.Key), Why: err.Error(),
		Next: "recovery ends before this segment; look at it with pg_waldump", Err: err,
	}
}

// findWAL finds a segment or .history file of the archive, whatever compresses it. None is ErrNotFound.
func (d *destination) findWAL(ctx context.Context, server, file string) (recovery.Object, error) {
	prefix := d.root + server + "/wals/"
	if len(file) >= 24 {
		prefix += file[:16] + "/"
	}
	page, err := d.list(ctx, recovery.ObjectQuery{Prefix: prefix + file, MaxKeys: 100})
	if err != nil {
		return recovery.Object{}, err
	}
	for _, object := range page.Objects {
		base := strings.TrimPrefix(object.Key, prefix)
		if name, ok := ParseWALName(base); ok && name.String() == file {
			return object, nil
		}
	}
	return recovery.Object{}, &recovery.Problem{
		What: fmt.Sprintf("find %s in s3://%s/%s", file, d.bucket, d.root+server+"/wals"), Why: "there is no such file",
		Next: "wait until it is archived, or see `drctl cnpg backups`", Err: errors.Join(recovery.ErrNotFound),
	}
}
