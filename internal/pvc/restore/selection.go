package restore

import (
	"slices"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// moverArguments gives restoreAsOf and previous that make the mover select exactly that snapshot.
//
// The mover lists the identity's snapshots, newest first, keeps those whose start is not behind restoreAsOf,
// compared as text, and takes the one at the offset "previous". As text "…20.957Z" is behind "…20.9575Z":
// so the offset is counted, and not assumed to be zero. Whether checkpoints of unfinished uploads are in
// that list depends on the version of Kopia; exact is false when the choice would differ, and the proof
// then decides.
// Source: perfectra1n/volsync mover-kopia/entry.sh, select_snapshot_to_restore.
func moverArguments(all []recovery.Snapshot, chosen recovery.Snapshot) (restoreAsOf string, previous int, exact bool) {
	restoreAsOf = chosen.StartTime.UTC().Format(time.RFC3339Nano)
	complete := offsetOf(all, chosen, restoreAsOf, false)
	exact = complete == offsetOf(all, chosen, restoreAsOf, true)
	for _, s := range all {
		// Of two of one moment the mover takes whichever the listing has last.
		if s.Source == chosen.Source && s.ID != chosen.ID && s.StartTime.Equal(chosen.StartTime) {
			exact = false
		}
	}
	return restoreAsOf, complete, exact
}

// offsetOf is the chosen snapshot's place in the mover's list.
func offsetOf(all []recovery.Snapshot, chosen recovery.Snapshot, asOf string, checkpoints bool) int {
	var list []recovery.Snapshot
	for _, s := range all {
		if s.Source == chosen.Source && (s.Complete() || checkpoints) && s.StartTime.UTC().Format(time.RFC3339Nano) <= asOf {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b recovery.Snapshot) int { return b.StartTime.Compare(a.StartTime) })
	return slices.IndexFunc(list, func(s recovery.Snapshot) bool { return s.ID == chosen.ID })
}

// predecessor is the complete snapshot of the same source before the chosen one.
func predecessor(all []recovery.Snapshot, chosen recovery.Snapshot) (recovery.Snapshot, bool) {
	var best recovery.Snapshot
	found := false
	for _, s := range all {
		if s.Source == chosen.Source && s.Complete() && s.StartTime.Before(chosen.StartTime) && (!found || s.StartTime.After(best.StartTime)) {
			best, found = s, true
		}
	}
	return best, found
}
