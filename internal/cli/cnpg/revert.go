package cnpgcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
)

type revertOptions struct {
	factory         *command.Factory
	name, verifySQL string
	dryRun, yes     bool
}

func newRevert(f *command.Factory, run func(context.Context, *revertOptions) error) *cobra.Command {
	o := &revertOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "revert NAME",
		Short: "Hand a recovered database back to Git and Argo CD",
		Long: `Hand a database that was recovered, by hand or by an interrupted plan of another day, back to Git:
prove it, take a first backup, see that the remote names the new server, replace bootstrap.recovery
by Git's bootstrap, and sync. drctl cnpg recover does this by itself.`,
		Example: `  drctl cnpg revert immich --gitops ~/src/platform
  drctl cnpg revert immich --gitops ~/src/platform --dry-run`,
		Args: command.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return run(cmd.Context(), o)
		},
		ValidArgsFunction: completeDatabases(f),
	}
	cmd.Flags().StringVar(&o.verifySQL, "verify-sql", "", "the recovery counts only when this gives rows, and neither 0 nor f")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the plan, change nothing")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func revertRun(ctx context.Context, o *revertOptions) error {
	f := o.factory
	use, err := f.Wiring.Flip(ctx)
	if err != nil {
		return err
	}
	if use.Cluster == nil {
		return needsCluster("hand back")
	}
	use.Unfinished = f.Unfinished
	prepared, err := use.PrepareRevert(ctx, f.Settings.Namespace(), o.name, o.verifySQL)
	if err != nil {
		return err
	}
	plan, err := use.RevertPlan(prepared)
	if err != nil {
		return err
	}
	if o.dryRun {
		if err := writePlan(f.Streams.Out, f.Streams, prepared, plan); err != nil {
			return err
		}
		_, err := fmt.Fprintln(f.Streams.Out, "\nNothing was changed (--dry-run).")
		return err
	}
	if err := writePlan(f.Streams.Err, f.Streams, prepared, plan); err != nil {
		return err
	}
	if !o.yes {
		if err := f.Streams.Confirm(ctx, "Hand "+plan.Target+" back?", prepared.Params.Name); err != nil {
			return err
		}
	}
	engine, err := f.Wiring.Engine(prepared.Params.Namespace, use.Handlers())
	if err != nil {
		return err
	}
	reporter := command.NewReporter(f)
	engine.Events = reporter.Event
	err = engine.Start(ctx, plan)
	reporter.Close()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.Streams.Out, "%s is handed back.\n", plan.Target)
	return err
}
