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
	if target.After(r.ArrivedAt) {
		return r.beyond(target)
	}
	if target.After(r.BeforeArrivedAt) {
		return outside(target, fmt.Sprintf("it is in the last stretch of the archive, after %s, where the last commit may be earlier; PostgreSQL fails on a target after the last commit", moment(r.BeforeArrivedAt)),
			"leave --target-time out for the latest, or give an earlier one")
	}
	if r.Tail != nil && r.Tail.Idle {
		return outside(target, "no transaction ended since the backup began; PostgreSQL fails on a target after the last commit",
			"leave --target-time out: the latest is the same state")
	}
	if r.Tail != nil && !r.Tail.LastCommitAt.IsZero() && !target.Before(r.Tail.LastCommitAt) {
		return outside(target, fmt.Sprintf("the last commit in the archive was at %s; PostgreSQL fails on a target after the last commit", r.Tail.LastCommitAt.UTC().Format(time.RFC3339Nano)),
			"leave --target-time out: the latest is the same state")
	}
	return nil
}

// beyond is a target behind the last contiguous segment.
func (r Reach) beyond(target time.Time) error {
	switch {
	case r.Gap != nil:
		return outside(target, fmt.Sprintf("WAL is missing before it: %d segments between %s and %s; from this backup nothing after about %s can be recovered", r.Gap.Missing, r.Gap.After, r.Gap.Before, moment(r.ArrivedAt)),
			"give an earlier --target-time, or a later one behind the next backup: `drctl cnpg backups` shows gaps and windows")
	case r.MissingHistory != "":
		return outside(target, fmt.Sprintf("%s is missing: recovery cannot follow to the timeline that holds it, and ends at about %s", r.MissingHistory, moment(r.ArrivedAt)),
			"give an earlier --target-time, or put the file back into the archive")
	}
	return outside(target, fmt.Sprintf("the last WAL that recovery reaches, %s, arrived at %s", r.Segment, moment(r.ArrivedAt)), "for the latest that there is, leave --target-time out")
}
