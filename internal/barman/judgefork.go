package barman

import (
	"fmt"
	"strings"
	"time"
)

// ForkVerdict says whether a recovery replayed what it had to.
type ForkVerdict int

const (
	// ForkUnknown: what is known does not decide it.
	ForkUnknown ForkVerdict = iota
	// ForkReached: everything up to the expected end, or to the target, was replayed.
	ForkReached
	// ForkedEarly: recovery ended before; transactions of the archive are lost.
	ForkedEarly
	// ForkedElsewhere: recovery had another target than the planned one.
	ForkedElsewhere
)

// noTarget is the reason that PostgreSQL writes when a recovery ran to the end of what it found.
const noTarget = "no recovery target specified"

// JudgeFork judges a recovery by the fork of its new timeline and the reason beside it (ReadFork or
// LastFork), against what the archive held beforehand. It says why in words.
//
// Without a target the fork must not lie before the end of the last whole record of the last contiguous
// segment. WAL that arrived meanwhile makes it later, which is fine. PostgreSQL forks exactly at the end
// of the last record that it read; a segment that was switched counts as read to its end.
//
//   - fork ≥ the segment's end: reached, whatever is in it.
//   - fork ≥ Tail.RecordsEnd: reached; the segment is full and its last record goes on in the next one,
//     which the archive does not have.
//   - fork < Tail.RecordsEnd: early, also when it lies inside the last segment.
//   - Without Tail, a fork inside the last segment is unknown, one at its start or before is early.
//
// With a target time the reason decides: PostgreSQL writes "before" and the time of the first commit
// or abort that it did not replay, and fails instead of forking when it meets none.
//
// Source: measured with PostgreSQL 15 and Barman 3.4.0, with row 1 in segment 3, rows 2 and 3 in 4, and 5
// filled to its last byte (TestForksOfRealRecoveries):
//
//	the archive ends in                    fork       reason, and what is there
//	segment 4, switched                    0/5000000  no recovery target specified
//	segment 5, full                        0/5FFFC50  the same; the end of its last whole record
//	segment 4, and 5 as .partial           0/5FFFC50  the same: Barman hands out the .partial
//	only checkpoints, each switched        0/A000000  the same
//	a gap: 4 is missing, 5 there           0/4000000  the same, without any error: rows 2 and 3 are lost
//	S3 answers 403 or 503 for 4            0/4000000  the same, without any error: rows 2 and 3 are lost
//	a target between rows 2 and 3          0/40000D0  before 2026-11-24 06:27:15.829583+00, the commit of row 3
//	a restore point                        0/4000170  at restore point "here"
//	a target after the last commit         none       FATAL: recovery ended before configured recovery target was reached
//	a target before timeline 2's own fork  0/40000D0  before …; the parent is 2 all the same, after a line with a LATER position
//
// The new timeline is one above the newest whose .history the OLD server has without a hole. Into the NEW
// server go its .history and its segments, from that of the fork on; nothing of the old timeline, and no
// .partial.
func JudgeFork(expected Reach, target time.Time, fork Fork, reason string) (ForkVerdict, string) {
	if !target.IsZero() {
		return judgeTarget(target, fork, reason)
	}
	if reason != noTarget {
		return ForkedElsewhere, fmt.Sprintf("recovery ended at %s with the reason %q, though no target was planned", fork.At, reason)
	}
	start := expected.EndLSN - LSN(expected.SegmentSize)
	switch {
	case fork.Parent < expected.Timeline:
		return ForkedEarly, fmt.Sprintf("recovery ended on timeline %d at %s, and did not follow to timeline %d", fork.Parent, fork.At, expected.Timeline)
	case fork.At >= expected.EndLSN:
		return ForkReached, fmt.Sprintf("recovery ended at %s, at or behind the end of %s", fork.At, expected.Segment)
	case expected.Tail != nil && fork.At >= expected.Tail.RecordsEnd:
		return ForkReached, fmt.Sprintf("recovery ended at %s, where the last whole record of %s ends", fork.At, expected.Segment)
	case expected.Tail != nil:
		return ForkedEarly, fmt.Sprintf("recovery ended at %s, and the archive's last record ends at %s, in %s", fork.At, expected.Tail.RecordsEnd, expected.Segment)
	case fork.At <= start:
		return ForkedEarly, fmt.Sprintf("recovery ended at %s, before the last segment %s (%s to %s)", fork.At, expected.Segment, start, expected.EndLSN)
	}
	return ForkUnknown, fmt.Sprintf("recovery ended at %s, inside the last segment %s, which was not looked into", fork.At, expected.Segment)
}

func judgeTarget(target time.Time, fork Fork, reason string) (ForkVerdict, string) {
	text, isBefore := strings.CutPrefix(reason, "before ")
	stopped, err := parseReasonTime(text)
	switch {
	case reason == noTarget:
		return ForkedElsewhere, fmt.Sprintf("recovery ran to the end of the archive (%s), past the target %s", fork.At, moment(target))
	case !isBefore || err != nil:
		return ForkUnknown, fmt.Sprintf("recovery ended at %s with the reason %q", fork.At, reason)
	case stopped.After(target):
		return ForkReached, fmt.Sprintf("recovery ended at %s, before the commit of %s, the first one after the target", fork.At, stopped.Format(time.RFC3339Nano))
	}
	return ForkedElsewhere, fmt.Sprintf("recovery ended at %s, before the commit of %s, which is not after the target %s", fork.At, stopped.Format(time.RFC3339Nano), moment(target))
}

// parseReasonTime reads the time in a .history file: ISO, in the time zone of the recovering server.
// Source: PostgreSQL timestamp.c, timestamptz_to_str.
func parseReasonTime(text string) (time.Time, error) {
	var at time.Time
	var err error
	for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999-07:00", "2006-01-02 15:04:05.999999-07:00:00"} {
		if at, err = time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return at, err
}
