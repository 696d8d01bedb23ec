package cnpgcmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type recoverOptions struct {
	factory *command.Factory
	output  command.Output
	recoveryFlags
	dryRun, yes bool
}

func newRecover(f *command.Factory, run func(context.Context, *recoverOptions) error) *cobra.Command {
	o := &recoverOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "recover NAME",
		Short: "Replace a database by what a backup and its WAL give, and prove it",
		Long: `Recover a CloudNativePG database from Barman: choose and check, commit the new server to Git, protect
the old volumes, fence, delete, create, wait, prove, take the first backup, hand back to Argo CD.

Nothing is touched before the plan was shown and agreed to. It can be stopped or killed at any point
and resumed (drctl resume), also by somebody else; up to the deletion it can be aborted (drctl abort).
It ends with 0 only when the data is proven and the database is backed up again.

With --new-name the database is recovered beside the live one, which is not touched.`,
		Example: `  # look first: the plan, the manifest, the change of the GitOps tree
  drctl cnpg recover immich --gitops ~/src/platform --dry-run

  # the end of the archive, all the way
  drctl cnpg recover immich --gitops ~/src/platform --push

  # yesterday evening, beside the live database
  drctl cnpg recover immich --target-time 2026-11-23T18:00:00Z --new-name immich-look`,
		Args: command.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(o.complete(f, args), o.output.Validate()); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.add(cmd, f)
	flags := cmd.Flags()
	flags.BoolVar(&o.Push, "push", false, "push the commit; without it the recovery stops ahead of the hand-back")
	flags.StringVar(&o.VerifySQL, "verify-sql", "", "the recovery counts only when this gives rows, and neither 0 nor f")
	flags.BoolVar(&o.FinalBackup, "final-backup", false, "take a last backup of the old database first")
	flags.BoolVar(&o.NoFence, "no-fence", false, "do without the fence: whoever creates the Cluster first wins")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan, change nothing")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	o.output.AddFlag(cmd)
	return cmd
}

func recoverRun(ctx context.Context, o *recoverOptions) error {
	f := o.factory
	use, err := f.Wiring.Flip(ctx)
	if err != nil {
		return err
	}
	if use.Cluster == nil {
		return needsCluster("recover")
	}
	use.Unfinished = f.Unfinished
	done := f.Streams.Working("choosing the backup and checking what the recovery needs")
	prepared, err := use.Prepare(ctx, o.Options)
	done()
	if err != nil {
		return err
	}
	plan, err := use.Plan(prepared)
	if err != nil {
		return err
	}
	if o.dryRun {
		return printDryRun(f.Streams, o.output, prepared, plan)
	}
	if err := writePlan(f.Streams.Err, f.Streams, prepared, plan); err != nil {
		return err
	}
	if !o.yes {
		if err := f.Streams.Confirm(ctx, question(prepared), prepared.Params.Name); err != nil {
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
	return Summary(f, o.output.Format, plan.ID)
}

func needsCluster(verb string) error {
	return &recovery.Problem{
		What: verb + " a database", Why: "that is done by the cluster's operator, and --offline asks no cluster",
		Next: "leave --offline out; drctl cnpg render prints the manifest without a cluster", Err: recovery.ErrUsage,
	}
}

func question(prepared *flip.Prepared) string {
	p := prepared.Params
	if p.NewName != "" {
		return "Recover a copy of " + p.Namespace + "/" + p.Name + " as " + p.NewName + "?"
	}
	if p.OldUID == "" {
		return "Create " + p.Namespace + "/" + p.Name + "?"
	}
	return "This DELETES the live database " + p.Namespace + "/" + p.Name + " and recovers it from " + p.SourceServer + "/" + p.Backup.ID + "."
}

// Summary prints the report of a finished plan.
func Summary(f *command.Factory, format ui.Format, planID string) error {
	plan, facts, err := f.Wiring.Plans().Read(planID)
	if err != nil {
		return err
	}
	if plan.Operation == flip.RevertOperation {
		return nil
	}
	params, err := flip.ParamsOf(&plan)
	if err != nil {
		return err
	}
	summary := flip.Summarize(planID, params, plan.CreationTime, func(key string) string { return facts[key] })
	return f.Streams.Print(format, summaryView(f.Streams, summary))
}
