package operation

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// IsDone is what Observe answers when the step's effect is there, and proven.
func IsDone() (Observation, error) { return Observation{State: Done}, nil }

// IsPending is what it answers when it is not there, with what is waited for.
func IsPending(format string, args ...any) (Observation, error) {
	return Observation{State: Pending, Why: fmt.Sprintf(format, args...)}, nil
}

// IsConflict is what it answers when the step can never be done, and why.
func IsConflict(format string, args ...any) (Observation, error) {
	return Observation{State: Conflict, Why: fmt.Sprintf(format, args...)}, nil
}

// IsStopped is a conflict that a person can put right: next says how, and the engine adds the way on.
func IsStopped(run *Run, next, format string, args ...any) (Observation, error) {
	return Observation{}, &recovery.Problem{What: run.Step.Title, Why: fmt.Sprintf(format, args...), Next: next, Err: ErrConflict}
}

// IsDoneWhen is done or pending, unless it could not be told.
func IsDoneWhen(ok bool, err error, format string, args ...any) (Observation, error) {
	switch {
	case err != nil:
		return Observation{}, err
	case ok:
		return IsDone()
	}
	return IsPending(format, args...)
}

// Waits is embedded by handlers of steps that have no effect: a Waiter with nothing to apply. (Named as its method
// it would hide it.)
type Waits struct{}

var _ Waiter = struct{ Waits }{}

// WaitOnly reports that the step only waits.
func (Waits) WaitOnly() bool { return true }

// Apply has nothing to do.
func (Waits) Apply(context.Context, *Run) error { return nil }

// flightTime is how long a request of a process that was killed may still be on its way.
const flightTime = 3 * time.Second

// Arrives looks again and again, until a request that is still on its way would have arrived: one look says only
// that it has not arrived yet. Within is how long that may take; 0 means 3 s.
func Arrives(ctx context.Context, within time.Duration, look func() (bool, error)) (bool, error) {
	if within == 0 {
		within = flightTime
	}
	const looks = 6
	for range looks {
		if happened, err := look(); err != nil || happened {
			return happened, err
		}
		if !sleep(ctx, within/looks) {
			return false, ctx.Err()
		}
	}
	return look()
}

// WhoAmI is user@host, as well as it can be told: who made a plan.
func WhoAmI() string {
	name, host := "unknown", "unknown"
	if account, err := user.Current(); err == nil {
		name = account.Username
	}
	if known, err := os.Hostname(); err == nil {
		host = known
	}
	return name + "@" + host
}
