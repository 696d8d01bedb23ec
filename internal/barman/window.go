package barman

import (
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// end is the last segment that recovery can reach from a backup.
type end struct {
	timeline uint32
	number   uint64
}

// reaches gives the end of the unbroken WAL behind each restorable backup, by backup ID.
func (r *reading) reaches(a *archive, backups []recovery.Backup) map[string]end {
	found := map[string]end{}
	for _, b := range backups {
		info := r.infos[b.ID]
		if !b.Restorable || info.SegmentSize != a.size {
			continue
		}
		timeline, first, _, err := info.segments()
		if err != nil {
			continue
		}
		if timeline, last, ok := a.reach(timeline, first); ok {
			found[b.ID] = end{timeline, last}
		}
	}
	return found
}

// window is the longest span of times, up to the newest that can be reached, within which every moment
// can be recovered.
//
// To is the arrival of the last segment in the unbroken run of WAL behind the newest restorable backup:
// along the way to the newest timeline that PostgreSQL would follow, up to the first gap. It is an upper
// bound, since the last commit in that segment may be earlier.
//
// From is the end of the oldest restorable backup whose own unbroken run leads to that same segment. An
// older backup on the far side of a gap can be restored, and its WAL up to the gap; it does not widen the
// window, because the times between the gap and the next backup are lost.
func window(a *archive, backups []recovery.Backup, ends map[string]end) *recovery.Window {
	var w recovery.Window
	var newest end
	var newestEnd time.Time
	for _, b := range backups {
		if e, ok := ends[b.ID]; ok && !b.EndTime.Before(newestEnd) {
			newest, newestEnd = e, b.EndTime
		}
	}
	for _, b := range backups {
		if e, ok := ends[b.ID]; ok && e == newest && (w.From.IsZero() || b.EndTime.Before(w.From)) {
			w.From = b.EndTime
		}
	}
	if w.From.IsZero() {
		return nil
	}
	w.To = a.arrivedAt(newest.timeline, newest.number)
	if w.To.Before(newestEnd) {
		// The store's clock is behind, or end_wal arrived before the backup's files were complete: a
		// restorable backup can be recovered to its own end in any case.
		w.To = newestEnd
	}
	return &w
}
