package kopia

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/drctl/drctl/internal/recovery"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
)

// indexGaps says what is unknown because index blobs can't be read: any snapshot may be missing, and
// a deleted one may still be listed.
func indexGaps(l Location, failures map[blob.ID]error) recovery.Gaps {
	return gaps(l, failures, "index blob", "snapshots may be missing from the list, and deleted ones may be in it",
		"run: kopia index recover, which shows what the packs still know of it; a copy of the repository may have the file")
}

// contentGaps says what is unknown because manifest contents can't be read.
func contentGaps(l Location, broken map[content.ID]error) recovery.Gaps {
	named := make(map[string]error, len(broken))
	for id, err := range broken {
		named[id.String()] = err
	}
	return gaps(l, named, "manifest content", "its snapshots are missing from the list, or are listed though they were deleted", checkNext)
}

// snapshotGaps says which single snapshots can't be read.
func snapshotGaps(l Location, unreadable []manifestEntry) recovery.Gaps {
	named := make(map[string]error, len(unreadable))
	for _, e := range unreadable {
		named[e.id] = e.err
	}
	return gaps(l, named, "snapshot manifest", "that snapshot is missing from the list", checkNext)
}

// gaps makes one gap out of many things of one kind, naming the first: a broken disk breaks thousands
// at once.
func gaps[ID cmp.Ordered](l Location, failures map[ID]error, kind, effect, next string) recovery.Gaps {
	if len(failures) == 0 {
		return nil
	}
	first := slices.Sorted(maps.Keys(failures))[0]
	what := fmt.Sprintf("read %s %v of the Kopia repository %s", kind, first, l)
	if more := len(failures) - 1; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	err := explain(what, l, failures[first], recovery.ErrDamaged)
	var problem *recovery.Problem
	if !errors.As(err, &problem) {
		return recovery.Gaps{{What: what, Why: effect, Err: err}}
	}
	gap := *problem
	gap.Why += "; " + effect
	gap.Next = cmp.Or(gap.Next, next)
	return recovery.Gaps{&gap}
}
