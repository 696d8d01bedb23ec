package restore

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
)

// How long the steps may take until they are proven.
const (
	soon = 5 * time.Minute
	// goneTime is for Pods that end slowly and for finalizers.
	goneTime = 30 * time.Minute
	// moverTime: copying a large volume takes hours; the deadline is for a mover that never ends.
	moverTime = 24 * time.Hour
)

// The kinds of steps.
const (
	stepDestination  = "restore-beside"
	stepWriteInto    = "restore-into"
	stepRestored     = "wait-restored"
	stepProve        = "prove-data"
	stepRetain       = "retain-volume"
	stepFence        = "fence"
	stepStop         = "stop-pods"
	stepSafety       = "snapshot-before"
	stepDelete       = "delete-claim"
	stepGone         = "wait-gone"
	stepCreate       = "create-claim"
	stepConsumer     = "consumer"
	stepBound        = "wait-bound"
	stepNoConsumer   = "remove-consumer"
	stepLift         = "lift-fence"
	stepWorkloads    = "start-pods"
	stepSettle       = "settle"
	stepFirstBackup  = "first-backup"
	stepBackedUp     = "wait-backup"
	stepProveBackup  = "prove-backup"
	stepCleanUp      = "clean-up"
	stepReleaseClaim = "release-claim"
)

type planner struct {
	*Params

	steps []operation.Step
}

func (p *planner) add(when bool, kind, title string, timeout time.Duration) {
	if when {
		p.steps = append(p.steps, operation.Step{ID: kind, Kind: kind, Title: title, Timeout: timeout})
	}
}

// plannedSteps is the whole order in one place. What does not apply to this plan is left out.
func (p *Params) plannedSteps() []operation.Step {
	plan := &planner{Params: p}
	switch p.Mode {
	case InPlace:
		plan.inPlace()
	case Beside:
		plan.beside()
	default:
		plan.replace()
	}
	return plan.steps
}

func (p *planner) restoreBeside() {
	p.add(true, stepDestination, fmt.Sprintf("restore snapshot %s (%s) beside it", shortID(p.Snapshot.ID), p.Snapshot.StartTime.UTC().Format(time.RFC3339)), soon)
	p.add(true, stepRestored, "wait for the mover", p.mover())
	p.add(true, stepProve, "prove that this snapshot was restored, whole", p.mover())
}

func (p *planner) bind() {
	p.add(p.WaitsForConsumer, stepConsumer, "start a Pod that has the volume bound", soon)
	p.add(true, stepBound, "wait until claim "+p.String()+" is bound to the restored volume", goneTime)
	p.add(p.WaitsForConsumer, stepNoConsumer, "remove that Pod", soon)
}

// replace restores and proves while the old volume is in use, and only then takes it away.
func (p *planner) replace() {
	replaces, pods := p.replaces(), len(p.Pods) > 0
	p.restoreBeside()
	p.add(replaces && p.OldVolume.Name != "", stepRetain, "set the old volume "+p.OldVolume.Name+" to Retain", soon)
	p.add(!p.NoFence, stepFence, "fence claim "+p.String()+" and Pods that mount it", soon)
	p.add(replaces, stepStop, "stop the Pods that mount it", goneTime)
	p.add(replaces, stepDelete, "delete claim "+p.String()+" (UID "+p.OldUID+")", soon)
	p.add(replaces, stepGone, "wait until it and what was generated for it are gone", goneTime)
	p.add(true, stepCreate, "create the claim from the restored volume", soon)
	p.bind()
	p.add(!p.NoFence, stepLift, "lift the fence", soon)
	p.add(pods, stepWorkloads, "start the Pods again", goneTime)
	p.settle()
	p.markReturn(stepDelete, stepCreate)
}

func (p *planner) inPlace() {
	p.add(!p.NoFence, stepFence, "fence Pods that mount claim "+p.String(), soon)
	p.add(true, stepStop, "stop the Pods that mount it", goneTime)
	p.add(!p.NoSafety, stepSafety, "take a VolumeSnapshot of the volume as it is", goneTime)
	p.add(true, stepWriteInto, fmt.Sprintf("restore snapshot %s into it", shortID(p.Snapshot.ID)), soon)
	p.add(true, stepRestored, "wait for the mover", p.mover())
	p.add(true, stepProve, "prove that this snapshot was restored, whole", p.mover())
	p.add(!p.NoFence, stepLift, "lift the fence", soon)
	p.add(len(p.Pods) > 0, stepWorkloads, "start the Pods again", goneTime)
	p.settle()
	p.markReturn(stepWriteInto)
}

func (p *planner) beside() {
	p.restoreBeside()
	p.add(true, stepCreate, "create claim "+p.String()+" from the restored volume", soon)
	p.bind()
	p.add(!p.Keep, stepCleanUp, "remove what drctl made", soon)
	p.add(true, stepReleaseClaim, "give up ownership of the claim", soon)
}

// settle is what comes once the data are back in their place.
func (p *planner) settle() {
	p.add(p.Application != nil, stepSettle, "see Application "+p.application()+" Synced and Healthy", goneTime)
	p.backup()
	p.add(!p.Keep, stepCleanUp, "remove what drctl made", soon)
	p.add(p.Mode != InPlace, stepReleaseClaim, "give up ownership of the claim", soon)
}

func (p *planner) backup() {
	p.add(p.Backup, stepFirstBackup, "back the claim up now", soon)
	p.add(p.Backup, stepBackedUp, "wait for the mover", p.mover())
	p.add(p.Backup, stepProveBackup, "prove the new snapshot in the repository", soon)
}

// markReturn: behind the accepted DELETE, or where there was nothing to delete behind the creation, or
// once a mover may write into the volume, the old state cannot be had back by undoing.
func (p *planner) markReturn(kinds ...string) {
	for _, kind := range kinds {
		for i := range p.steps {
			if p.steps[i].Kind == kind {
				p.steps[i].PointOfNoReturn = true
				return
			}
		}
	}
}

func (p *Params) application() string {
	if p.Application == nil {
		return ""
	}
	return p.Application.Namespace + "/" + p.Application.Name
}

// shortID is as much of a snapshot's ID as people compare.
func shortID(id string) string { return id[:min(len(id), 10)] }

// Plan makes the plan of a prepared restore.
func (r *Restore) Plan(prepared *Prepared) (operation.Plan, error) {
	return r.plan(Operation, prepared, prepared.Params.plannedSteps())
}

func (r *Restore) plan(kind string, prepared *Prepared, steps []operation.Step) (operation.Plan, error) {
	p := prepared.Params
	encoded, err := json.Marshal(p)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	return operation.Plan{
		ID: prepared.ID, Operation: kind, Target: p.target(), RecoveryPoint: p.Snapshot.ID,
		ClusterUID: prepared.Identity.ClusterUID, Server: prepared.Identity.Server, Context: prepared.Identity.Context,
		CreatedBy: operation.WhoAmI(), CreationTime: r.Now().UTC(), Steps: steps, Params: encoded,
	}, nil
}
