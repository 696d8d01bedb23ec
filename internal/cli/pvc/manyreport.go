package pvccmd

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// ManyReport is the answer of a restore of many claims.
type ManyReport struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Plan       string    `json:"plan"`
	Items      []OneDone `json:"items"`
	Restored   int       `json:"restored"`
	Left       int       `json:"left"`
}

// OneDone is what became of one claim.
type OneDone struct {
	Target string `json:"target"`
	Plan   string `json:"plan"`
	// State is finished, aborted, unfinished, refused or pending.
	State       string `json:"state"`
	Why         string `json:"why,omitempty"`
	TookSeconds int64  `json:"tookSeconds"`
	Next        string `json:"next,omitempty"`
}

// EndMany prints the report of a plan of plans, whatever came of it.
func EndMany(f *command.Factory, format ui.Format, planID string, err error) error {
	return endMany(f, format, planID, nil, err)
}

func endMany(f *command.Factory, format ui.Format, planID string, refused []restore.Refusal, err error) error {
	report, readErr := manyReport(f, planID, refused)
	if readErr != nil {
		// A plan that was dropped before it did anything is not there any more.
		return errors.Join(err, ignoreNotFound(readErr, err))
	}
	if printErr := f.Streams.Print(format, ui.View{Data: report, Names: restoredNames(report), Table: func(w io.Writer, _ bool) error { return writeManyReport(w, f.Streams, report) }}); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err == nil && report.Left > 0 {
		return &recovery.Problem{
			What: fmt.Sprintf("%d of %d claims not restored", report.Left, len(report.Items)), Why: "see each of them above",
			Next: "mend that, and restore them again: drctl pvc restore NAMESPACE/PVC…", Err: recovery.ErrPartial,
		}
	}
	return err
}

func ignoreNotFound(readErr, err error) error {
	if err != nil && errors.Is(readErr, recovery.ErrNotFound) {
		return nil
	}
	return readErr
}

func manyReport(f *command.Factory, planID string, refused []restore.Refusal) (*ManyReport, error) {
	plan, facts, err := f.Wiring.Plans().Read(planID)
	if err != nil {
		return nil, err
	}
	params, err := restore.ManyParamsOf(&plan)
	if err != nil {
		return nil, err
	}
	report := &ManyReport{APIVersion: recovery.APIVersion, Kind: "RestoreManyReport", Plan: planID, Items: []OneDone{}}
	for _, child := range params.Children {
		item := OneDone{Target: child.Target(), Plan: child.Plan, State: "pending", Next: "drctl resume " + planID}
		view, viewErr := f.Wiring.Plans().View(child.Plan)
		switch why, is := facts["refused/"+child.Target()]; {
		case is:
			item.State, item.Why, item.Next = "refused", why, ""
		case viewErr == nil:
			item.State, item.Next = view.State, view.Next()
			item.TookSeconds = int64(ended(view, f.Now()).Sub(view.CreationTime).Seconds())
			if failed, ok := view.Failed(); ok {
				item.Why = failed.Error
			}
		}
		report.add(item)
	}
	for _, refusal := range refused {
		report.add(OneDone{Target: refusal.Target, State: "refused", Why: refusal.Err.Error()})
	}
	return report, nil
}

func (r *ManyReport) add(item OneDone) {
	r.Items = append(r.Items, item)
	if item.State == operation.PlanFinished {
		r.Restored++
		return
	}
	r.Left++
}

// ended is when the last step of a plan ended.
func ended(view operation.PlanView, now time.Time) time.Time {
	end := view.CreationTime
	for _, step := range view.Steps {
		if step.EndTime.After(end) {
			end = step.EndTime
		}
	}
	if view.Unfinished() {
		return now
	}
	return end
}

func restoredNames(r *ManyReport) []string {
	var names []string
	for _, item := range r.Items {
		if item.State == operation.PlanFinished {
			names = append(names, item.Target)
		}
	}
	return names
}
