package flip

import (
	"time"

	"github.com/drctl/drctl/internal/operation"
)

// How long the steps may take until they are proven.
const (
	soon = 5 * time.Minute
	// deleteMargin comes on top of the operator's stopDelay, which is half an hour by default.
	deleteMargin = 15 * time.Minute
	// restoring a large database takes hours; the deadline is for a recovery that never ends.
	restoreTime = 24 * time.Hour
	backupTime  = 12 * time.Hour
)

// steps is the whole order in one place. What does not apply to this plan is left out.
func (p *Params) steps() []operation.Step {
	if p.beside() {
		return p.besideSteps()
	}
	var steps []operation.Step
	add := func(when bool, kind, title string, timeout time.Duration) {
		if when {
			steps = append(steps, operation.Step{ID: kind, Kind: kind, Title: title, Timeout: timeout})
		}
	}
	git, replaces, argo := p.Git != nil, p.OldUID != "", p.Application != nil
	add(git, stepCommit, "commit server "+p.ArchiveServer+" to the GitOps tree, without pushing it", soon)
	add(true, stepKeep, "keep backup "+p.Backup.ID+" of "+p.SourceServer+" from expiring", soon)
	add(p.FinalBackup && replaces, stepFinalBackup, "take a last backup of the old database", backupTime)
	add(replaces, stepRetain, "set the old volumes to Retain", soon)
	add(replaces && len(p.Secrets) > 0, stepSecrets, "keep the generated passwords", soon)
	add(len(p.Schedules) > 0, stepSuspend, "suspend the ScheduledBackups", soon)
	add(!p.NoFence, stepFence, "fence creation of Cluster "+p.String(), soon)
	add(replaces, stepDelete, "delete Cluster "+p.String()+" (UID "+p.OldUID+")", soon)
	add(replaces, stepGone, "wait until its Pods, Jobs and claims are gone", time.Duration(p.StopDelaySeconds)*time.Second+deleteMargin)
	add(true, stepCreate, "create the Cluster that recovers from "+p.point(), soon)
	add(git && p.Push, stepPush, "push the commit", soon)
	add(true, stepRecovered, "wait for PostgreSQL to recover", restoreTime)
	add(true, stepProve, "prove the data", soon)
	add(true, stepBackup, "take the first backup to "+p.ArchiveServer, backupTime)
	add(true, stepProveBackups, "prove archiving and the first backup", soon)
	add(git, stepRemote, "see that the remote names "+p.ArchiveServer, soon)
	add(git && argo, stepTerminate, "end an Argo CD operation at an older commit", soon)
	add(true, stepHandBack, "hand the Cluster back: bootstrap as in its manifest", soon)
	add(!p.NoFence, stepLift, "lift the fence", soon)
	add(git && argo, stepSync, "sync Application "+p.application(), deleteMargin)
	add(true, stepFields, "give up ownership of fields", soon)
	add(len(p.Schedules) > 0, stepSchedules, "let the ScheduledBackups run again", soon)
	markReturn(steps, replaces)
	return steps
}

// markReturn: behind the accepted DELETE, or where there was nothing to delete behind the creation,
// the old state cannot be had back by undoing.
func markReturn(steps []operation.Step, replaces bool) {
	kind := stepCreate
	if replaces {
		kind = stepDelete
	}
	for i := range steps {
		steps[i].PointOfNoReturn = steps[i].Kind == kind
	}
}

func (p *Params) besideSteps() []operation.Step {
	return []operation.Step{
		{ID: stepCreate, Kind: stepCreate, Title: "create Cluster " + p.String() + " from " + p.point(), Timeout: soon},
		{ID: stepRecovered, Kind: stepRecovered, Title: "wait for PostgreSQL to recover", Timeout: restoreTime},
		{ID: stepProve, Kind: stepProve, Title: "prove the data", Timeout: soon},
	}
}

func (p *Params) application() string {
	if p.Application == nil {
		return ""
	}
	return p.Application.Namespace + "/" + p.Application.Name
}
