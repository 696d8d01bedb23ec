package pvccmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// restoreMany restores many claims side by side.
func restoreMany(ctx context.Context, o *restoreOptions, wanted []restore.Options) error {
	f := o.factory
	use, err := f.Wiring.Restore(ctx, namespacesOf(wanted))
	if err != nil {
		return err
	}
	use.Unfinished = once(f.Unfinished)
	many := NewMany(f, use)
	waiting := f.Streams.Wait(fmt.Sprintf("checking what %d restores need", len(wanted)))
	prepared, refused, err := many.PrepareMany(ctx, wanted, func(done, all int) { waiting.Say(fmt.Sprintf("%d of %d", done, all)) })
	waiting.Done()
	if err != nil {
		return err
	}
	for _, refusal := range refused {
		f.Streams.Warn("%s is left out: %v", refusal.Target, refusal.Err)
	}
	if len(prepared) == 0 {
		return &recovery.Problem{What: "none of the claims can be restored", Why: refused[0].Err.Error(), Next: "mend that and try again", Err: refused[0].Err}
	}
	byTarget := map[string]restore.Options{}
	for _, w := range wanted {
		byTarget[w.Namespace+"/"+w.Name] = w
	}
	plan, err := many.PlanMany(prepared, byTarget, o.parallel)
	if err != nil {
		return err
	}
	if o.dryRun {
		return printManyDryRun(f.Streams, o.output, prepared, refused, plan)
	}
	if err := writeMany(f.Streams.Err, f.Streams, prepared, plan); err != nil {
		return err
	}
	if !o.yes {
		name := fmt.Sprintf("restore %d claims", len(prepared))
		if err := f.Streams.Confirm(ctx, "This "+verbOf(o.Mode)+" all of them.", name); err != nil {
			return err
		}
	}
	err = RunMany(ctx, f, many, plan, func(engine *operation.Engine) error { return engine.Start(ctx, plan) })
	return endMany(f, o.output.Format, plan.ID, refused, err)
}

func verbOf(mode restore.Mode) string {
	if mode == restore.InPlace {
		return "OVERWRITES the volumes of"
	}
	return "REPLACES the volumes of"
}

func namespacesOf(wanted []restore.Options) []string {
	seen := map[string]bool{}
	var names []string
	for _, o := range wanted {
		if !seen[o.Namespace] {
			seen[o.Namespace] = true
			names = append(names, o.Namespace)
		}
	}
	return names
}

// once asks for the unfinished plans one time, and not for each claim.
func once(ask func(context.Context) ([]operation.PlanView, recovery.Gaps, error)) func(context.Context) ([]operation.PlanView, recovery.Gaps, error) {
	var mu sync.Mutex
	var views []operation.PlanView
	var gaps recovery.Gaps
	asked := false
	return func(ctx context.Context) ([]operation.PlanView, recovery.Gaps, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked {
			return views, gaps, nil
		}
		var err error
		views, gaps, err = ask(ctx)
		asked = err == nil
		return views, gaps, err
	}
}

// NewMany is the use case of many restores.
func NewMany(f *command.Factory, use *restore.Restore) *restore.Many {
	return &restore.Many{Restore: use, Plans: f.Wiring.Plans(), Engine: func(namespace string) (*operation.Engine, error) {
		engine, err := f.Wiring.PatientEngine(namespace, use.Handlers())
		if engine != nil {
			engine.Poll = Poll
		}
		return engine, err
	}}
}

// RunMany runs or resumes a plan of plans, with a board that tells how each goes.
func RunMany(ctx context.Context, f *command.Factory, many *restore.Many, plan operation.Plan, run func(*operation.Engine) error) error {
	params, err := restore.ManyParamsOf(&plan)
	if err != nil {
		return err
	}
	first := params.Children[0].Options.Namespace
	engine, err := f.Wiring.Engine(first, many.Handlers())
	if err != nil {
		return err
	}
	board := command.NewBoard(f, len(params.Children))
	many.Events = board.Event
	many.Began = func(c restore.Child) { board.Began(c.Plan, c.Target()) }
	many.Ended = func(c restore.Child, err error) { board.Ended(c.Plan, c.Target(), err) }
	err = run(engine)
	board.Close()
	if ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	return err
}

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
		return recovery.ErrPartial
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

func writeManyReport(w io.Writer, streams ui.Streams, r *ManyReport) error {
	table := ui.NewTable("No claims.", "CLAIM", "STATE", "TOOK", "WHY")
	for _, item := range r.Items {
		tone := ui.Caution
		if item.State == operation.PlanFinished {
			tone = ui.Good
		}
		table.Row(item.Target, streams.Paint(tone, item.State), ui.Age(time.Duration(item.TookSeconds)*time.Second), item.Why)
	}
	if err := table.Within(streams.Width).Write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d restored\n", r.Restored, len(r.Items))
	return err
}
