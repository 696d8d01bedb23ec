package barman

import (
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Admits refuses a target that recovery cannot reach from the backup: PostgreSQL then fails, and is
// started again for ever, instead of giving what there is. A zero target is the latest.
//
// PostgreSQL stops at the first commit or abort that is later than the target, so that one must be in
// the archive. Arrivals tell that only up to the segment before the last: everything in the last one was
// written after that, and whether it holds a commit is open. An operator who wants the end wants the
// latest, so the last stretch is refused. In an idle database even earlier segments hold none; Tail
// knows the last commit itself.
// Source: PostgreSQL xlogrecovery.c, recoveryStopsBefore; CNPG#5177, #11320; barman#881.
func (r Reach) Admits(target time.Time) error {
	if r.StraysFrom != 0 {
		return &recovery.Problem{
			What: "recover from this backup", Why: fmt.Sprintf("its timeline was left for timeline %d before the backup was taken, and PostgreSQL follows the newest timeline", r.StraysFrom),
			Next: "choose another backup with --backup-id; `drctl cnpg backups` lists them", Err: recovery.ErrUsage,
		}
	}
	if target.IsZero() {
		return nil
	}
	const fails = "; PostgreSQL fails on a target after the last commit"
	next := "leave --target-time out for the latest, or give an earlier one"
	if r.cutShort() {
		next = "give an earlier --target-time"
	}
	switch {
	case target.After(r.ArrivedAt), r.cutShort() && r.behindLastCommit(target):
		return r.beyond(target)
	case r.BeforeArrivedAt.IsZero():
		return outside(target, "there is only one WAL segment, "+r.Segment+", and the last commit in it may be earlier"+fails, next)
	case target.After(r.BeforeArrivedAt):
		return outside(target, fmt.Sprintf("it is in the last stretch of the archive, after %s, where the last commit may be earlier%s", moment(r.BeforeArrivedAt), fails), next)
	case r.behindLastCommit(target) && r.Tail.Idle:
		return outside(target, "no transaction ended since the backup began"+fails, "leave --target-time out: the latest is the same state")
	case r.behindLastCommit(target):
		return outside(target, fmt.Sprintf("the last commit in the archive was at %s%s", r.Tail.LastCommitAt.UTC().Format(time.RFC3339Nano), fails),
			"leave --target-time out: the latest is the same state")
	}
	return nil
}

// behindLastCommit: it is known that no commit follows the target.
func (r Reach) behindLastCommit(target time.Time) bool {
	if r.Tail == nil || r.Tail.LastCommitAt.IsZero() {
		return r.Tail != nil && r.Tail.Idle
	}
	return !target.Before(r.Tail.LastCommitAt)
}

// cutShort: the archive holds more than recovery reaches.
func (r Reach) cutShort() bool { return r.Gap != nil || r.MissingHistory != "" }

// beyond is a target behind what recovery reaches.
func (r Reach) beyond(target time.Time) error {
	until := r.ArrivedAt
	if r.Tail != nil && !r.Tail.LastCommitAt.IsZero() {
		until = r.Tail.LastCommitAt
	}
	switch {
	case r.Gap != nil:
		return outside(target, fmt.Sprintf("WAL is missing before it: %d segments between %s and %s; from this backup nothing after about %s can be recovered", r.Gap.Missing, r.Gap.After, r.Gap.Before, moment(until)),
			"give an earlier --target-time, or a later one behind the next backup: `drctl cnpg backups` shows gaps and windows")
	case r.MissingHistory != "":
		return outside(target, fmt.Sprintf("%s is missing: recovery cannot follow to the timeline that holds it, and ends at about %s", r.MissingHistory, moment(until)),
			"give an earlier --target-time, or put the file back into the archive")
	}
	return outside(target, fmt.Sprintf("the last WAL that recovery reaches, %s, arrived at %s", r.Segment, moment(r.ArrivedAt)), "for the latest that there is, leave --target-time out")
}
