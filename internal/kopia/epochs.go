package kopia

import (
	"strconv"
	"strings"

	"github.com/kopia/kopia/repo/blob"
)

// unsettledEpochs is how many of the newest epochs are read uncompacted in any case.
// Source: kopia internal/epoch/epoch_manager.go, numUnsettledEpochs.
const unsettledEpochs = 2

// likelyActive picks, out of all blobs whose names begin with x, the index blobs that Kopia's epoch
// manager will ask for: those that no compaction of older epochs stands for. It only decides what is
// fetched ahead. Kopia itself chooses what it uses, and what was not foreseen is read when it asks.
// Source: kopia internal/epoch: xe marks an epoch, xn is uncompacted, xs one epoch compacted, xr a
// range of them, xw the deletion watermark.
func likelyActive(ids []blob.ID) []blob.ID {
	writeEpoch := newestEpoch(ids)
	ranges, covered := checkpoints(ids)
	compacted := map[int]bool{}
	for set, members := range completeSets(ids, "xs") {
		if epoch, ok := leadingNumber(set[2:]); ok && epoch > covered && epoch <= writeEpoch-unsettledEpochs {
			compacted[epoch] = true
			ranges = append(ranges, members...)
		}
	}
	active := ranges
	for _, id := range ids {
		if !strings.HasPrefix(string(id), "xn") {
			continue
		}
		if epoch, ok := leadingNumber(string(id[2:])); ok && epoch > covered && !compacted[epoch] {
			active = append(active, id)
		}
	}
	return active
}

func newestEpoch(ids []blob.ID) int {
	newest := 0
	for _, id := range ids {
		if number, marks := strings.CutPrefix(string(id), "xe"); marks {
			if epoch, ok := leadingNumber(number); ok {
				newest = max(newest, epoch)
			}
		}
	}
	return newest
}

// checkpoints follows the chain of range checkpoints from epoch 0, taking the longest range at each
// step, and gives their blobs and the last epoch that they stand for (-1 without any).
func checkpoints(ids []blob.ID) (active []blob.ID, covered int) {
	type span struct {
		last  int
		blobs []blob.ID
	}
	longest := map[int]span{}
	for set, members := range completeSets(ids, "xr") {
		first, ok1 := leadingNumber(set[2:])
		_, rest, _ := strings.Cut(set, "_")
		last, ok2 := leadingNumber(rest)
		if ok1 && ok2 && last >= first && last >= longest[first].last {
			longest[first] = span{last, members}
		}
	}
	covered = -1
	for {
		next, ok := longest[covered+1]
		if !ok {
			return active, covered
		}
		active = append(active, next.blobs...)
		covered = next.last
	}
}

// completeSets groups the blobs that begin with kind into the sets that were written together, named
// <kind><epochs>_<hash>-s<set>-c<count>, and leaves out sets with members missing. The key is the
// first member's name up to the hash, then the set.
// Source: kopia internal/completeset/completeset.go.
func completeSets(ids []blob.ID, kind string) map[string][]blob.ID {
	sets, counts := map[string][]blob.ID{}, map[string]int{}
	for _, id := range ids {
		name := string(id)
		if !strings.HasPrefix(name, kind) {
			continue
		}
		parts := strings.Split(name, "-")
		head := parts[0][:strings.LastIndex(parts[0], "_")+1]
		key, count := head+parts[0], 1
		if len(parts) >= 3 && strings.HasPrefix(parts[1], "s") && strings.HasPrefix(parts[2], "c") {
			if n, err := strconv.Atoi(parts[2][1:]); err == nil {
				key, count = head+parts[1], n
			}
		}
		sets[key] = append(sets[key], id)
		counts[key] = count
	}
	for key, members := range sets {
		if len(members) < counts[key] {
			delete(sets, key)
		}
	}
	return sets
}

// leadingNumber reads the digits before the first underscore.
func leadingNumber(text string) (int, bool) {
	digits, _, _ := strings.Cut(text, "_")
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}
