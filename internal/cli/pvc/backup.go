package pvccmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc/restore"
)

type backupOptions struct {
	factory *command.Factory
	output  command.Output
	targets
	dryRun   bool
	timeout  time.Duration
	parallel int
}

func newBackup(f *command.Factory, run func(context.Context, *backupOptions) error) *cobra.Command {
	o := &backupOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "backup {NAMESPACE/PVC… | - | -n NAMESPACE | -A | -l SELECTOR}",
		Short: "Back a PVC up now, and prove the new snapshot",
		Long: `Back PVCs up now: a ReplicationSource of drctl's own runs once under the claim's own identity, since
Kyverno reverts changes of the generated one and a new claim has none for two hours. It ends with 0
only when the repository itself holds a new, complete snapshot.`,
		Example: `  drctl pvc backup karakeep/data-pvc

  # everything that is protected
  drctl pvc backup -A`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(o.complete(args), o.output.Validate(), checkParallel(o.parallel)); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.add(cmd, f)
	cmd.Flags().IntVar(&o.parallel, "parallel", usualClaims, "how many claims at a time")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the plan, change nothing")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to wait for a mover (default 24h)")
	o.output.AddFlag(cmd)
	return cmd
}

func backupRun(ctx context.Context, o *backupOptions) error {
	f := o.factory
	wanted, err := o.wanted(ctx, restore.Options{Timeout: o.timeout})
	if err != nil {
		return err
	}
	use, err := f.Wiring.Restore(ctx, namespacesOf(wanted))
	if err != nil {
		return err
	}
	use.Unfinished = once(f.Unfinished)
	if len(wanted) > 1 {
		return o.many(ctx, use, wanted)
	}
	return o.one(ctx, use, wanted[0])
}

func (o *backupOptions) one(ctx context.Context, use *restore.Restore, wanted restore.Options) error {
	f := o.factory
	prepared, err := use.PrepareBackup(ctx, wanted)
	if err != nil {
		return err
	}
	plan, err := use.PlanBackup(prepared)
	if err != nil {
		return err
	}
	if o.dryRun {
		return printDryRun(f.Streams, o.output, prepared, plan)
	}
	for _, finding := range prepared.Findings {
		f.Streams.Warn("%s", finding.Text)
	}
	if err := runPlan(ctx, f, use, wanted.Namespace, plan); err != nil {
		return err
	}
	return Summary(f, o.output.Format, plan.ID)
}
