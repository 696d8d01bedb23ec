package operation

import (
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// States of a plan, as scripts see them.
const (
	PlanUnfinished = "unfinished"
	// PlanAborting: an abort was interrupted and has to be finished.
	PlanAborting = "aborting"
	PlanFinished = "finished"
	PlanAborted  = "aborted"
	// PlanGivenUp: it was ended past its point of no return, and what it did stays.
	PlanGivenUp = "givenUp"
)

// States of a step, as scripts see them.
const (
	StatePending = "pending"
	StateStarted = "started"
	StateDone    = "done"
	StateFailed  = "failed"
	StateUndoing = "undoing"
	StateUndone  = "undone"
)

// StepStatus is one step of a plan and how far it is.
type StepStatus struct {
	ID    string `json:"id"`
	Kind  string `json:"step"`
	Title string `json:"title"`
	State string `json:"state"`
	// StartTime is absent for a step that was found done.
	StartTime time.Time `json:"startTime,omitzero"`
	EndTime   time.Time `json:"endTime,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// PlanView is a plan and how far it is, as `drctl plans` shows it.
type PlanView struct {
	APIVersion    string       `json:"apiVersion,omitempty"`
	Kind          string       `json:"kind,omitempty"`
	ID            string       `json:"id"`
	Operation     string       `json:"operation"`
	Target        string       `json:"target"`
	RecoveryPoint string       `json:"recoveryPoint"`
	ClusterUID    string       `json:"clusterUID"`
	Server        string       `json:"server"`
	Context       string       `json:"context"`
	CreatedBy     string       `json:"createdBy"`
	State         string       `json:"state"`
	Steps         []StepStatus `json:"steps"`
	CreationTime  time.Time    `json:"creationTime"`
	// EndTime is when it was finished or aborted.
	EndTime time.Time `json:"endTime,omitzero"`
	// Abortable is false once a point of no return was started, and at the end.
	Abortable bool `json:"abortable"`
}

// PlanList is the answer of `drctl plans`.
type PlanList struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Items      []PlanView `json:"items"`
}

// NewList makes the answer of these plans.
func NewList(items []PlanView) PlanList {
	if items == nil {
		items = []PlanView{}
	}
	return PlanList{APIVersion: recovery.APIVersion, Kind: "PlanList", Items: items}
}

// NewView adds up a plan and its journal.
func NewView(plan Plan, journal []byte) (PlanView, error) {
	entries, _, err := ParseJournal(journal)
	if err != nil {
		return PlanView{}, err
	}
	r := replay(entries)
	view := PlanView{
		ID: plan.ID, Operation: plan.Operation, Target: plan.Target, RecoveryPoint: plan.RecoveryPoint, ClusterUID: plan.ClusterUID,
		Server: plan.Server, Context: plan.Context, CreatedBy: plan.CreatedBy, CreationTime: plan.CreationTime, State: PlanUnfinished,
		Steps: []StepStatus{},
	}
	for _, step := range plan.Steps {
		view.Steps = append(view.Steps, r.steps[step.ID].status(step))
	}
	switch {
	case !r.finished.IsZero():
		view.State, view.EndTime = PlanFinished, r.finished
	case !r.aborted.IsZero():
		view.State, view.EndTime = PlanAborted, r.aborted
		if r.aborting.IsZero() {
			view.State = PlanGivenUp
		}
	case !r.aborting.IsZero():
		view.State = PlanAborting
	}
	_, past := r.pastReturn(plan)
	view.Abortable = view.State == PlanAborting || view.State == PlanUnfinished && !past
	return view, nil
}

// Single is the view as an answer of its own.
func (v PlanView) Single() PlanView {
	v.APIVersion, v.Kind = recovery.APIVersion, planKind
	return v
}

// Unfinished holds for a plan that is to be resumed or aborted.
func (v PlanView) Unfinished() bool { return v.State == PlanUnfinished || v.State == PlanAborting }

// Failed is the step at which the latest run stopped.
func (v PlanView) Failed() (StepStatus, bool) {
	for _, step := range v.Steps {
		if step.State == StateFailed {
			return step, true
		}
	}
	return StepStatus{}, false
}

func (s stepRecord) status(step Step) StepStatus {
	status := StepStatus{ID: step.ID, Kind: step.Kind, Title: step.Title, State: StatePending, StartTime: s.startTime, EndTime: s.endTime, Error: s.failure}
	switch {
	case s.undone:
		status.State = StateUndone
	case s.failure != "":
		status.State = StateFailed
	case s.undoing:
		status.State = StateUndoing
	case s.done:
		status.State = StateDone
	case s.started:
		status.State = StateStarted
	}
	return status
}
