// Package bootstrapcmd is the command `drctl bootstrap`.
package bootstrapcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type options struct {
	factory *command.Factory
	output  command.Output
	bootstrap.Options

	check, dryRun, yes bool
}

// New makes the command.
func New(f *command.Factory) *cobra.Command { return newCommand(f, run) }

func newCommand(f *command.Factory, run func(context.Context, *options) error) *cobra.Command {
	o := &options{factory: f}
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Take an empty cluster to every wave healthy",
		Long: `Bootstrap the platform of a GitOps tree (--gitops DIR) on a cluster: check that everything it needs is
there, apply the Secrets that no manifest makes, install Argo CD by Helm (no helm program is needed),
apply the root Application, and watch the waves to their end.

It can be run again at any time: it repairs what is missing, and else says that there is nothing to
do. It can be killed at any point and resumed (drctl resume), or aborted up to the root Application.
It ends with 3 when some Applications are not healthy, or a database came up empty although it has
backups: it names the thing that holds a wave back, and what to type.`,
		Example: `  # look only: is everything there?
  drctl bootstrap --gitops ~/platform --check

  # the whole of it, with the Secrets out of a folder that is not in Git
  drctl bootstrap --gitops ~/platform --secrets ~/platform-secrets

  # what it would do
  drctl bootstrap --gitops ~/platform --dry-run

  # a site without internet
  drctl bootstrap --gitops ~/platform --chart ./argo-cd-9.1.0.tgz`,
		Args: command.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(o.complete(), o.output.Validate()); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.addFlags(cmd)
	o.output.AddFlag(cmd)
	return cmd
}

func (o *options) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.check, "check", false, "the preflight alone: look at everything, change nothing")
	flags.StringVar(&o.SecretsDir, "secrets", "", "folder of Secret manifests that are applied first")
	flags.BoolVar(&o.ReplaceSecrets, "replace-secrets", false, "overwrite Secrets that are there with other values")
	flags.StringVar(&o.Chart.Location, "chart", "", "Argo CD's chart: FOLDER, FILE.tgz, oci://… (default: as the tree pins it)")
	flags.StringVar(&o.Chart.Repository, "chart-repo", "", "URL of the chart repository (default: as the tree pins it)")
	flags.StringVar(&o.Chart.Version, "chart-version", "", "version of the chart (default: as the tree pins it)")
	flags.StringArrayVarP(&o.ValuesFiles, "values", "f", nil, "values file that goes on top of the tree's")
	flags.BoolVar(&o.TakeOwnership, "take-ownership", false, "adopt an Argo CD that was installed without Helm")
	flags.StringArrayVar(&o.Accept, "accept", nil, "go on although this check fails (AREA/NAME, as --check prints it)")
	flags.DurationVar(&o.ReadyTimeout, "ready-timeout", 10*time.Minute, "how long Argo CD may take to become ready, else it is taken back")
	flags.DurationVar(&o.Timeout, "timeout", time.Hour, "how long to watch the waves")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print checks, plan and manifests, change nothing")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	_ = cmd.MarkFlagDirname("secrets")
	_ = cmd.MarkFlagFilename("values", "yaml", "yml")
}

// complete makes paths absolute: who resumes may stand in another folder.
func (o *options) complete() error {
	if o.factory.Settings.Offline {
		return &recovery.Problem{What: "bootstrap a cluster", Why: "--offline asks no cluster", Next: "leave --offline out", Err: recovery.ErrUsage}
	}
	paths := append([]*string{&o.SecretsDir}, pointers(o.ValuesFiles)...)
	if _, err := os.Stat(o.Chart.Location); err == nil && o.Chart.Repository == "" {
		paths = append(paths, &o.Chart.Location)
	}
	for _, path := range paths {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("find %s: %w", *path, err)
		}
		*path = absolute
	}
	return o.Validate()
}

func pointers(texts []string) []*string {
	all := make([]*string, 0, len(texts))
	for i := range texts {
		all = append(all, &texts[i])
	}
	return all
}

func run(ctx context.Context, o *options) error {
	f := o.factory
	use, err := f.Wiring.Bootstrap(ctx, "", o.SecretsDir)
	if err != nil {
		return err
	}
	done := f.Streams.Working("checking the cluster, the tree, the Secrets and the backups")
	if o.check {
		prepared, err := use.Check(ctx, o.Options)
		done()
		if err != nil {
			return err
		}
		return printChecks(f, o.output.Format, prepared, o.Accept)
	}
	prepared, err := use.Prepare(ctx, o.Options)
	done()
	if prepared != nil && prepared.Checks != nil && (err != nil || !o.dryRun) {
		if err := writeChecks(f.Streams.Err, f.Streams, f.Streams.ErrWidth, prepared.Checks, err == nil); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return o.goOn(ctx, use, prepared)
}

// goOn acts on what was prepared.
func (o *options) goOn(ctx context.Context, use *bootstrap.Bootstrap, prepared *bootstrap.Prepared) error {
	f := o.factory
	plan, err := use.Plan(prepared)
	if err != nil {
		return err
	}
	if o.dryRun {
		return printDryRun(f.Streams, o.output.Format, prepared, plan)
	}
	if len(prepared.Changes) == 0 {
		return o.watchOnly(ctx, use, prepared)
	}
	if err := writePlan(f.Streams.Err, f.Streams, f.Streams.ErrWidth, prepared, plan); err != nil {
		return err
	}
	if !o.yes {
		if err := f.Streams.Confirm(ctx, question(prepared), confirmName(prepared.Identity)); err != nil {
			return err
		}
	}
	err = RunPlan(f, use, func(engine *operation.Engine) error { return use.Run(ctx, engine, plan) })
	return End(ctx, f, o.output.Format, use, plan.ID, err)
}

// watchOnly is for a cluster that has everything already: no plan, no lock, and nothing written.
func (o *options) watchOnly(ctx context.Context, use *bootstrap.Bootstrap, prepared *bootstrap.Prepared) error {
	f := o.factory
	_, _ = fmt.Fprintln(f.Streams.Err, "There is nothing to do: Secrets, Argo CD and the root Application are as the tree says.")
	view := newView(f)
	view.quiet = true
	use.Show = view.show
	view.begin()
	waves, err := use.Watch(ctx, prepared.Params, o.Timeout)
	view.close()
	if err != nil {
		return err
	}
	return printReport(f, o.output.Format, prepared.Params.Report("", waves, time.Time{}, func(string) string { return "" }))
}

// RunPlan runs or resumes a plan and tells how it goes: its steps line by line, the waves as a table.
func RunPlan(f *command.Factory, use *bootstrap.Bootstrap, do func(*operation.Engine) error) error {
	engine, err := f.Wiring.Engine(bootstrap.LockNamespace, use.Handlers())
	if err != nil {
		return err
	}
	view := newView(f)
	use.Show = view.show
	engine.Events = view.event
	err = do(engine)
	view.close()
	return err
}

// End prints the report of a plan that is at its end, and says how it ended.
func End(ctx context.Context, f *command.Factory, format ui.Format, use *bootstrap.Bootstrap, planID string, err error) error {
	if err != nil {
		return err
	}
	plan, facts, err := f.Wiring.Plans().Read(planID)
	if err != nil {
		return err
	}
	params, err := bootstrap.ParamsOf(&plan)
	if err != nil {
		return err
	}
	waves := use.Last()
	if waves == nil { // only the plan's end was left to do
		if waves, err = use.Look(ctx, params); err != nil {
			return err
		}
	}
	return printReport(f, format, params.Report(planID, waves, plan.CreationTime, func(key string) string { return facts[key] }))
}

func confirmName(identity bootstrap.Identity) string {
	if identity.Context != "" {
		return identity.Context
	}
	return "bootstrap"
}

func question(prepared *bootstrap.Prepared) string {
	return "Bootstrap the cluster of context " + prepared.Identity.Context + " at " + prepared.Identity.Server + "?"
}
