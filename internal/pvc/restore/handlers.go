package restore

import (
	"context"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Handlers are the steps of restores and backups for the engine.
func (r *Restore) Handlers() map[string]operation.Handler {
	return map[string]operation.Handler{
		stepDestination: destinationStep{r}, stepWriteInto: destinationStep{r}, stepRestored: restoredStep{Restore: r}, stepProve: proveStep{r},
		stepRetain: retainStep{r}, stepFence: fenceStep{r}, stepStop: stopStep{r}, stepSafety: safetyStep{r},
		stepDelete: deleteStep{r}, stepGone: goneStep{Restore: r}, stepCreate: createStep{r},
		stepConsumer: consumerStep{r}, stepBound: boundStep{Restore: r}, stepNoConsumer: noConsumerStep{r},
		stepLift: liftStep{r}, stepWorkloads: workloadsStep{r}, stepSettle: settleStep{r},
		stepFirstBackup: backupStep{r}, stepBackedUp: backedUpStep{Restore: r}, stepProveBackup: proveBackupStep{Restore: r},
		stepCleanUp: cleanUpStep{r}, stepReleaseClaim: releaseStep{r},
	}
}

// The three answers of Observe.
func done() (operation.Observation, error) {
	return operation.Observation{State: operation.Done}, nil
}

func pending(format string, args ...any) (operation.Observation, error) {
	return operation.Observation{State: operation.Pending, Why: fmt.Sprintf(format, args...)}, nil
}

func conflict(format string, args ...any) (operation.Observation, error) {
	return operation.Observation{State: operation.Conflict, Why: fmt.Sprintf(format, args...)}, nil
}

// stopped is a Conflict that a person can put right: next says how, and the engine adds the way on.
func stopped(run *operation.Run, next, format string, args ...any) (operation.Observation, error) {
	return operation.Observation{}, &recovery.Problem{
		What: run.Step.Title, Why: fmt.Sprintf(format, args...), Next: next, Err: operation.ErrConflict,
	}
}

// doneWhen is done or pending.
func doneWhen(ok bool, err error, format string, args ...any) (operation.Observation, error) {
	if err != nil {
		return operation.Observation{}, err
	}
	if ok {
		return done()
	}
	return pending(format, args...)
}

// waitOnly is for steps that have no effect.
type waitOnly struct{}

// WaitOnly reports that the step only waits.
func (waitOnly) WaitOnly() bool { return true }

// Apply has nothing to do.
func (waitOnly) Apply(context.Context, *operation.Run) error { return nil }

// flightTime is how long a request of a process that was killed may still be on its way.
const flightTime = 3 * time.Second

// happensStill looks again and again, until a request that is still on its way would have arrived: one
// look says only that it has not arrived yet.
func (r *Restore) happensStill(ctx context.Context, look func() (bool, error)) (bool, error) {
	flight := r.inFlight
	if flight == 0 {
		flight = flightTime
	}
	const looks = 6
	for range looks {
		if happened, err := look(); err != nil || happened {
			return happened, err
		}
		if err := pause(ctx, flight/looks); err != nil {
			return false, err
		}
	}
	return look()
}

// arrived waits, where a step was begun and never seen done, until its request would have arrived: what is
// taken away before it is there would stay for ever.
func arrived(ctx context.Context, run *operation.Run, happened func(context.Context, *operation.Run) (bool, error)) error {
	if run.Done(run.Step.ID) {
		return nil
	}
	_, err := happened(ctx, run)
	return err
}

func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (r *Restore) stamp() string { return r.Now().UTC().Format(time.RFC3339) }
