package restore

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/operation"
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
