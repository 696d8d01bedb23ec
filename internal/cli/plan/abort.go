package plancmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
)

// NewAbort makes `drctl abort`.
func NewAbort(f *command.Factory) *cobra.Command { return newAbort(f, abortRun) }

func newAbort(f *command.Factory, run func(context.Context, *resumeOptions) error) *cobra.Command {
	o := &resumeOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "abort [ID]",
		Short: "Undo an interrupted operation, up to its point of no return",
		Long: `Undo the steps of an interrupted operation, newest first, each after a look at what is there. Past the
point of no return (the accepted deletion of the old database) it refuses: then drctl resume is the
way, and the old volumes are kept.

When an operation cannot be brought to its end, because its result was disproved or what it made was
deleted, --give-up ends the plan: what was done stays, only the fence is taken down, and what was
suspended runs again. It can then be begun anew.`,
		Example: `  drctl abort
  drctl abort cnpg-recover-20261124-061502-k3x9
  drctl abort cnpg-recover-20261124-061502-k3x9 --give-up`,
		Args: command.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.id = args[0]
			}
			return run(cmd.Context(), o)
		},
		ValidArgsFunction: completePlans(f, func(view operation.PlanView) bool { return view.Abortable }),
	}
	cmd.Flags().BoolVar(&o.giveUp, "give-up", false, "past the point of no return: end the plan, leave all as it stands")
	cmd.Flags().BoolVar(&o.takeover, "takeover", false, "take the plan over from whoever began it")
	return cmd
}

func abortRun(ctx context.Context, o *resumeOptions) error {
	f := o.factory
	id, err := choose(f, o.id, "abort")
	if err != nil {
		return err
	}
	w, err := workFor(ctx, f, "abort", id, o.takeover)
	if err != nil {
		return err
	}
	err = w.abort(ctx, operation.ResumeOptions{Takeover: o.takeover, GiveUp: o.giveUp, ClusterUID: w.uid, Context: w.context})
	if errors.Is(err, operation.ErrFinished) {
		_, err = fmt.Fprintln(f.Streams.Err, "Plan "+id+" is at its end; there is nothing to undo.")
		return err
	}
	if err != nil {
		return err
	}
	view, err := f.Wiring.Plans().View(id)
	if err != nil {
		return err
	}
	text := "Plan " + id + " is aborted; everything is as it was."
	if view.State == operation.PlanGivenUp {
		text = "Plan " + id + " is given up; what it did stays: see drctl plans " + id + "."
	}
	_, err = fmt.Fprintln(f.Streams.Out, text)
	return err
}
