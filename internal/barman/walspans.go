package barman

import (
	"context"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// keysPerSpan is how many keys of a page of 1,000 we plan with: the rest is room for .backup files.
const keysPerSpan = 960

// mostPerLog is the number of segments of 1 MiB in a folder.
const mostPerLog = 1 << 12

// span is a range of keys: behind after, and not behind until; an empty until means to the end.
type span struct{ after, until string }

// planSpans cuts what follows the first page into spans of keysPerSpan segments, over the borders of
// folders and inside them. Every cut is right, whatever is in the folders: a wrong number of segments
// in a folder, or gaps, only make spans that are fuller or emptier than a page.
func planSpans(prefix string, first []recovery.Object, folders []string, perLog uint32) []span {
	last := first[len(first)-1].Key
	var spans []span
	after, taken := last, uint32(0)
	for _, folder := range folders {
		if folder <= last && !strings.HasPrefix(last, folder) {
			continue
		}
		log, isLog := parseLog(strings.TrimSuffix(strings.TrimPrefix(folder, prefix), "/"))
		if !isLog {
			continue
		}
		next := uint32(0)
		if strings.HasPrefix(last, folder) {
			if name, ok := ParseWALName(strings.TrimPrefix(last, folder)); ok {
				next = name.Segment + 1
			}
		}
		for next < perLog {
			step := min(keysPerSpan-taken, perLog-next)
			next, taken = next+step, taken+step
			if taken == keysPerSpan {
				log.Segment = next - 1
				cut := behind(folder, log)
				spans = append(spans, span{after, cut})
				after, taken = cut, 0
			}
		}
	}
	return append(spans, span{after: after})
}

// behind is a key that sorts behind every file of that segment, whatever its suffix, and before the
// next segment's.
func behind(folder string, segment WALName) string { return folder + segment.String() + "~" }

// parseLog takes the name of a folder apart: timeline and log.
func parseLog(folder string) (WALName, bool) {
	return ParseWALName(folder + "00000000")
}

// segmentsPerLog learns from the first page how many segments a folder has: 256 of 16 MiB, 4 of 1 GiB.
// When the page ends within its first folder, two more requests for one key each tell.
func (d *destination) segmentsPerLog(ctx context.Context, prefix string, first []recovery.Object) uint32 {
	highest := uint32(0)
	folders := map[string]bool{}
	for _, object := range first {
		if folder, base, nested := strings.Cut(strings.TrimPrefix(object.Key, prefix), "/"); nested {
			folders[folder] = true
			if name, ok := ParseWALName(base); ok {
				highest = max(highest, name.Segment)
			}
		}
	}
	perLog := uint32(4)
	for perLog <= highest {
		perLog *= 2
	}
	if len(folders) > 1 || perLog == mostPerLog {
		return perLog
	}
	for folder := range folders {
		return max(perLog, d.probe(ctx, prefix, folder))
	}
	return perLog
}

// probe looks whether a folder holds segments behind 1,024 and 2,048. An error is none here: the
// listing itself will meet it.
func (d *destination) probe(ctx context.Context, prefix, folder string) uint32 {
	log, ok := parseLog(folder)
	if !ok {
		return 0
	}
	sizes := []uint32{mostPerLog / 4, mostPerLog / 2}
	beyond := make([]bool, len(sizes))
	var both sync.WaitGroup
	for i, size := range sizes {
		both.Go(func() {
			last := log
			last.Segment = size - 1
			page, err := d.list(ctx, recovery.ObjectQuery{Prefix: prefix, StartAfter: behind(prefix+folder+"/", last), MaxKeys: 1})
			beyond[i] = err == nil && len(page.Objects) == 1 && strings.HasPrefix(page.Objects[0].Key, prefix+folder+"/")
		})
	}
	both.Wait()
	switch {
	case beyond[1]:
		return mostPerLog
	case beyond[0]:
		return mostPerLog / 2
	}
	return mostPerLog / 4
}
