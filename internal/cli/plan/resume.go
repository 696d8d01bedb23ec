package plancmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

type resumeOptions struct {
	factory  *command.Factory
	output   command.Output
	id       string
	takeover bool
	// giveUp is for abort only.
	giveUp bool
}

// NewResume makes `drctl resume`.
func NewResume(f *command.Factory) *cobra.Command { return newResume(f, resumeRun) }

func newResume(f *command.Factory, run func(context.Context, *resumeOptions) error) *cobra.Command {
	o := &resumeOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "resume [ID]",
		Short: "Go on with an interrupted operation",
		Long: `Go on with an interrupted operation where it stopped: each step looks first at what is there. Without
an ID it is the only unfinished plan of this computer. A plan that was begun on another computer is
taken over from its copy in the cluster with --takeover.`,
		Example: `  drctl resume
  drctl resume cnpg-recover-20261124-061502-k3x9 --takeover`,
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
		ValidArgsFunction: completePlans(f, operation.PlanView.Unfinished),
	}
	cmd.Flags().BoolVar(&o.takeover, "takeover", false, "take the plan over from whoever began it")
	o.output.AddFlag(cmd)
	return cmd
}

// find looks for the plan here, and in the cluster.
func find(ctx context.Context, f *command.Factory, verb, id string, takeover bool) (operation.Plan, error) {
	plan, _, err := f.Wiring.Plans().Read(id)
	if err == nil || !errors.Is(err, recovery.ErrNotFound) {
		return plan, err
	}
	mirror, mirrorErr := f.Wiring.MirroredPlans(ctx)
	if mirrorErr != nil || mirror == nil {
		return plan, errors.Join(err, mirrorErr)
	}
	plan, _, mirrorErr = mirror.Load(ctx, id)
	switch {
	case errors.Is(mirrorErr, recovery.ErrNotFound):
		return plan, err
	case mirrorErr != nil:
		return plan, mirrorErr
	case !takeover:
		return plan, &recovery.Problem{
			What: "plan " + id + " was begun by " + plan.CreatedBy + " on another computer", Why: "it may still be at work there",
			Next: "when it is not: drctl " + verb + " " + id + " --takeover", Err: errors.Join(operation.ErrUnfinished, operation.ErrBusy),
		}
	}
	return plan, nil
}

func resumeRun(ctx context.Context, o *resumeOptions) error {
	f := o.factory
	id, err := choose(f, o.id, "resume")
	if err != nil {
		return err
	}
	w, err := workFor(ctx, f, "resume", id, o.takeover)
	if err != nil {
		return err
	}
	err = w.resume(ctx, operation.ResumeOptions{Takeover: o.takeover, ClusterUID: w.uid, Context: w.context})
	if errors.Is(err, operation.ErrFinished) {
		_, err = fmt.Fprintln(f.Streams.Err, "Plan "+id+" is at its end; there is nothing to do.")
		return err
	}
	return w.report(o.output, err)
}
