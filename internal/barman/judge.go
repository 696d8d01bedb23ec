package barman

import (
	"errors"
	"fmt"

	"github.com/drctl/drctl/internal/recovery"
)

// statusUnknown is shown for a backup whose backup.info could not be read.
const statusUnknown = "UNKNOWN"

// judge says of one backup what it is and whether it can be restored: status DONE, its data files are
// there, and every segment from begin_wal to end_wal. What could not be read makes it unknown, which is
// not restorable.
func (r *reading) judge(folder *backupFolder, archives archives) recovery.Backup {
	b := recovery.Backup{
		ID: folder.id, Status: statusUnknown, SizeBytes: folder.sizeBytes(), Compression: folder.compression(),
		Kept: folder.keepKey != "", KeepTarget: r.keeps[folder.id], Reasons: []string{},
	}
	info, read := r.infos[folder.id]
	if !read {
		b.Reasons = append(b.Reasons, r.unreadable(folder))
		return b
	}
	b.Status, b.Name, b.StartTime, b.EndTime = info.Status, info.Name, info.BeginTime, info.EndTime
	b.BeginWAL, b.EndWAL, b.Timeline = info.BeginWAL, info.EndWAL, info.Timeline
	b.SystemID, b.PostgresVersion, b.Tablespaces = info.SystemID, info.Version, info.Tablespaces
	if info.Status != statusDone {
		b.Reasons = append(b.Reasons, statusReason(info))
		return b
	}
	b.Reasons = append(b.Reasons, r.dataReasons(folder, info)...)
	b.Reasons = append(b.Reasons, r.walReasons(info, archives)...)
	b.Restorable = len(b.Reasons) == 0
	return b
}

// unreadable says why there is no Info.
func (r *reading) unreadable(folder *backupFolder) string {
	err := r.infoErrs[folder.id]
	switch {
	case err == nil && !folder.listed:
		return "unknown: the listing of the backups broke off here"
	case err == nil:
		return "it has no backup.info: it is still running, or was broken off"
	}
	var p *recovery.Problem
	if errors.As(err, &p) && p.Why != "" {
		return "unknown: backup.info could not be read: " + p.Why
	}
	return "unknown: backup.info could not be read: " + err.Error()
}

func statusReason(info Info) string {
	switch {
	case info.Status == "FAILED" && info.Error != "":
		return "the backup failed: " + info.Error
	case info.Status == "FAILED":
		return "the backup failed"
	case info.Status == "STARTED" || info.Status == "EMPTY" || info.Status == "SYNCING":
		return "the backup is not finished: its status is " + info.Status
	}
	return "its status is " + info.Status + ", not DONE"
}

func (r *reading) dataReasons(folder *backupFolder, info Info) []string {
	switch {
	case info.Snapshots:
		return []string{"its data is in disk snapshots of the cloud, not in this bucket: restore it with the cloud's own means"}
	case !folder.listed:
		return []string{"unknown: the listing of its data files broke off"}
	}
	return folder.missingFiles(info.Tablespaces)
}

func (r *reading) walReasons(info Info, archives archives) []string {
	timeline, first, last, err := info.segments()
	switch {
	case err != nil:
		return []string{err.Error()}
	case r.walErr != nil:
		return []string{"unknown: the WAL archive could not be listed to its end"}
	}
	count, which := archives.of(info.SegmentSize).missing(timeline, first, last)
	if count == 0 {
		return nil
	}
	total := last - first + 1
	if total == 1 {
		return []string{"the WAL segment " + info.BeginWAL + ", which it needs, is missing"}
	}
	return []string{fmt.Sprintf("%d of the %d WAL segments %s to %s, which it needs, are missing; the first is %s",
		count, total, info.BeginWAL, info.EndWAL, info.SegmentSize.Name(timeline, which))}
}

// archives are the WAL of a server seen with each segment size that its backups have: in nearly every
// case one.
type archives struct {
	r      *reading
	bySize map[SegmentSize]*archive
}

func (r *reading) archives() archives { return archives{r, map[SegmentSize]*archive{}} }

func (a archives) of(size SegmentSize) *archive {
	if a.bySize[size] == nil {
		a.bySize[size] = newArchive(a.r.wal, size, a.r.forks)
	}
	return a.bySize[size]
}

// segmentSize is that of the newest backup that tells it; else it is guessed from the names.
func (r *reading) segmentSize() SegmentSize {
	for i := len(r.folders) - 1; i >= 0; i-- {
		if info, read := r.infos[r.folders[i].id]; read && info.Status == statusDone {
			return info.SegmentSize
		}
	}
	return r.wal.guessSegmentSize()
}
