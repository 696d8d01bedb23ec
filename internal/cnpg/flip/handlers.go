package flip

import (
	"github.com/drctl/drctl/internal/operation"
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
