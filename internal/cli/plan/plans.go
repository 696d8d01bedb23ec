// Package plancmd holds the commands that deal with plans of any operation: plans, resume, abort.
package plancmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type plansOptions struct {
	factory *command.Factory
	output  command.Output
	id      string
	all     bool
}

// NewPlans makes `drctl plans`.
func NewPlans(f *command.Factory) *cobra.Command { return newPlans(f, plansRun) }

func newPlans(f *command.Factory, run func(context.Context, *plansOptions) error) *cobra.Command {
	o := &plansOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "plans [ID]",
		Short: "List interrupted operations, or show the steps of one",
		Long: `List the operations that were begun and are not finished, those of this computer and those that have
a copy in the cluster, and fences that stand. With an ID show its steps.`,
		Example: `  drctl plans
  drctl plans --all -o json
  drctl plans cnpg-recover-20261124-061502-k3x9`,
		Args: command.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.id = args[0]
			}
			if err := o.output.Validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
		ValidArgsFunction: completePlans(f, func(operation.PlanView) bool { return true }),
	}
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, "finished and aborted ones too")
	o.output.AddFlag(cmd)
	return cmd
}

func completePlans(f *command.Factory, wanted func(operation.PlanView) bool) cobra.CompletionFunc {
	return command.Complete(1, func(*cobra.Command, []string) ([]string, error) {
		views, _, err := f.Wiring.Plans().List()
		var ids []string
		for _, view := range views {
			if wanted(view) {
				ids = append(ids, view.ID+"\t"+view.Operation+" "+view.Target+", "+view.State)
			}
		}
		return ids, err
	})
}

func plansRun(ctx context.Context, o *plansOptions) error {
	f := o.factory
	if o.id != "" {
		view, err := planView(ctx, f, o.id)
		if err != nil {
			return err
		}
		return f.Streams.Print(o.output.Format, ui.View{Data: view.Single(), Names: []string{view.ID}, Table: func(w io.Writer, _ bool) error {
			return writeSteps(w, f.Streams, view)
		}})
	}
	views, gaps, err := f.Wiring.Plans().List()
	if err != nil {
		return err
	}
	done := f.Streams.Working("looking for plans in the cluster")
	elsewhere, fences, more := inCluster(ctx, f, views)
	done()
	gaps = append(gaps, more...)
	list := operation.NewList(append(wanted(views, o.all), elsewhere...))
	names := make([]string, 0, len(list.Items))
	for _, view := range list.Items {
		names = append(names, view.ID)
	}
	err = f.Streams.Print(o.output.Format, ui.View{Data: list, Names: names, Table: func(w io.Writer, _ bool) error {
		return writePlans(w, f, list.Items)
	}})
	if err != nil {
		return err
	}
	warnFences(f.Streams, list.Items, fences)
	return f.Finish(gaps, nil)
}

// planView is a plan of this computer, else its copy in the cluster.
func planView(ctx context.Context, f *command.Factory, id string) (operation.PlanView, error) {
	view, err := f.Wiring.Plans().View(id)
	if !errors.Is(err, recovery.ErrNotFound) {
		return view, err
	}
	mirror, mirrorErr := f.Wiring.MirroredPlans(ctx)
	if mirrorErr != nil || mirror == nil {
		return view, errors.Join(err, mirrorErr)
	}
	plan, journal, mirrorErr := mirror.Load(ctx, id)
	switch {
	case errors.Is(mirrorErr, recovery.ErrNotFound):
		return view, err
	case mirrorErr != nil:
		return view, mirrorErr
	}
	view, err = operation.NewView(plan, journal)
	view.State = operation.PlanElsewhere
	return view, err
}

// inCluster reads what only the cluster knows; with --offline, or without any cluster, nothing.
func inCluster(ctx context.Context, f *command.Factory, known []operation.PlanView) ([]operation.PlanView, []command.StandingFence, recovery.Gaps) {
	elsewhere, gaps := f.PlansElsewhere(ctx, known)
	mirror, err := f.Wiring.MirroredPlans(ctx)
	if err != nil || mirror == nil {
		return elsewhere, nil, gaps
	}
	fences, err := f.Wiring.Fences(ctx)
	gaps.Add("look for fences in the cluster", err)
	return elsewhere, fences, gaps
}

// wanted leaves out what is at its end, unless all are asked for.
func wanted(views []operation.PlanView, all bool) []operation.PlanView {
	var items []operation.PlanView
	for _, view := range views {
		if all || view.Unfinished() {
			items = append(items, view)
		}
	}
	return items
}

func writePlans(w io.Writer, f *command.Factory, views []operation.PlanView) error {
	table := ui.NewTable("No unfinished plans.", "ID", "OPERATION", "TARGET", "STATE", "AT STEP", "BY", "AGE")
	for _, view := range views {
		table.Row(view.ID, view.Operation, view.Target, f.Streams.Paint(stateTone(view.State), view.State), at(view), view.CreatedBy, ui.Age(f.Now().Sub(view.CreationTime)))
	}
	if err := table.Within(f.Streams.Width).Write(w); err != nil {
		return err
	}
	for _, view := range views {
		if err := writeNext(w, view); err != nil {
			return err
		}
	}
	return nil
}

// writeNext says what to type for a plan that is not at its end.
func writeNext(w io.Writer, view operation.PlanView) error {
	next := view.Next()
	if next == "" {
		return nil
	}
	if view.State == operation.PlanUnfinished && !view.Abortable {
		next += " (past the point of no return)"
	}
	_, err := fmt.Fprintln(w, "next: "+next)
	return err
}

func stateTone(state string) ui.Tone {
	switch state {
	case operation.PlanFinished:
		return ui.Good
	case operation.PlanAborted:
		return ui.Faint
	}
	return ui.Caution
}

// at is the step where a plan stands.
func at(view operation.PlanView) string {
	if view.State == operation.PlanElsewhere {
		return "?"
	}
	if !view.Unfinished() {
		return "-"
	}
	for i, step := range view.Steps {
		if step.State != operation.StateDone {
			return fmt.Sprintf("%d/%d %s", i+1, len(view.Steps), step.ID)
		}
	}
	return "-"
}

func writeSteps(w io.Writer, streams ui.Streams, view operation.PlanView) error {
	if _, err := fmt.Fprintf(w, "%s  %s %s from %s\nmade %s by %s for %s: %s\n\n", view.ID, view.Operation, view.Target, view.RecoveryPoint,
		ui.Time(view.CreationTime), view.CreatedBy, view.Server, streams.Paint(stateTone(view.State), view.State)); err != nil {
		return err
	}
	table := ui.NewTable("No steps.", "STEP", "STATE", "TOOK", "WHAT")
	for _, step := range view.Steps {
		took := ""
		if !step.StartTime.IsZero() && !step.EndTime.IsZero() {
			took = ui.Age(step.EndTime.Sub(step.StartTime).Round(time.Second))
		}
		table.Row(step.ID, step.State, took, step.Title)
	}
	if err := table.Write(w); err != nil {
		return err
	}
	if failed, ok := view.Failed(); ok {
		if _, err := fmt.Fprintf(w, "\n%s: %s\n", failed.ID, failed.Error); err != nil {
			return err
		}
	}
	return writeNext(w, view)
}

// warnFences names fences whose plan is over, or that nobody here knows.
func warnFences(streams ui.Streams, views []operation.PlanView, fences []command.StandingFence) {
	unfinished := map[string]bool{}
	for _, view := range views {
		unfinished[view.ID] = view.Unfinished() || view.State == operation.PlanElsewhere
	}
	for _, fence := range fences {
		if !unfinished[fence.PlanID] {
			streams.Warn("a fence of plan %s holds %s back until %s, and no unfinished plan needs it: %s", fence.PlanID, fence.Target, ui.Time(fence.Expires), fence.Remove)
		}
	}
}

// choose is the plan that is meant: the named one, or the only unfinished one.
func choose(f *command.Factory, id, verb string) (string, error) {
	if id != "" {
		return id, nil
	}
	views, gaps, err := f.Wiring.Plans().Unfinished()
	if err != nil {
		return "", err
	}
	if len(gaps) > 0 {
		return "", gaps[0]
	}
	views = withoutChildren(f, views)
	switch len(views) {
	case 0:
		return "", &recovery.Problem{What: "there is no unfinished plan on this computer", Next: "see drctl plans", Err: recovery.ErrNotFound}
	case 1:
		return views[0].ID, nil
	}
	return "", &recovery.Problem{
		What: fmt.Sprintf("%d plans are unfinished", len(views)), Next: "name one of those that drctl plans lists: drctl " + verb + " " + views[0].ID, Err: recovery.ErrUsage,
	}
}

// withoutChildren leaves out the plans of single claims that an unfinished plan of plans goes on with.
func withoutChildren(f *command.Factory, views []operation.PlanView) []operation.PlanView {
	children := map[string]bool{}
	for _, view := range views {
		if view.Operation != restore.ManyOperation {
			continue
		}
		plan, _, err := f.Wiring.Plans().Read(view.ID)
		if err != nil {
			continue
		}
		params, err := restore.ManyParamsOf(&plan)
		if err != nil {
			continue
		}
		for _, child := range params.Children {
			children[child.Plan] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(views), func(view operation.PlanView) bool { return children[view.ID] })
}
