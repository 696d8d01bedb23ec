package flip

import (
	"context"
	"fmt"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// The kinds of steps, in the order of a whole flip.
const (
	stepCommit       = "commit"
	stepKeep         = "keep-backup"
	stepFinalBackup  = "final-backup"
	stepRetain       = "retain-volumes"
	stepSecrets      = "keep-passwords"
	stepSuspend      = "suspend-schedules"
	stepFence        = "fence"
	stepDelete       = "delete-cluster"
	stepGone         = "wait-gone"
	stepCreate       = "create-cluster"
	stepPush         = "push"
	stepRecovered    = "wait-recovered"
	stepProve        = "prove-data"
	stepBackup       = "first-backup"
	stepProveBackups = "prove-backups"
	stepRemote       = "await-remote"
	stepTerminate    = "end-old-sync"
	stepHandBack     = "hand-back"
	stepLift         = "lift-fence"
	stepSync         = "sync"
	stepFields       = "release-fields"
	stepSchedules    = "resume-schedules"
)

// Handlers are the flip's steps for the engine.
func (f *Flip) Handlers() map[string]operation.Handler {
	return map[string]operation.Handler{
		stepCommit: commitStep{f}, stepKeep: keepStep{f}, stepFinalBackup: backupStep{f, true}, stepRetain: retainStep{f},
		stepSecrets: secretsStep{f}, stepSuspend: suspendStep{f}, stepFence: fenceStep{f}, stepDelete: deleteStep{f},
		stepGone: goneStep{Flip: f}, stepCreate: createStep{f}, stepPush: pushStep{f}, stepRecovered: recoveredStep{Flip: f},
		stepProve: proveStep{Flip: f}, stepBackup: backupStep{f, false}, stepProveBackups: proveBackupsStep{Flip: f}, stepRemote: remoteStep{Flip: f},
		stepTerminate: terminateStep{f}, stepHandBack: handBackStep{f}, stepLift: liftStep{f}, stepSync: syncStep{f},
		stepFields: fieldsStep{f}, stepSchedules: schedulesStep{f},
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
