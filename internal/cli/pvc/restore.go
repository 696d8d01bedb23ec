package pvccmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// usualClaims hides the waiting for movers; a cluster's storage takes more only slowly.
	usualClaims = 10
	mostClaims  = 500
)

type restoreOptions struct {
	factory *command.Factory
	output  command.Output
	targets
	restore.Options

	mode, asOf, from, size string
	parallel               int
	wait                   bool
	dryRun, yes            bool
}

func newRestore(f *command.Factory, run func(context.Context, *restoreOptions) error) *cobra.Command {
	o := &restoreOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "restore {NAMESPACE/PVC… | - | -n NAMESPACE | -A | -l SELECTOR}",
		Short: "Put a snapshot back in the place of a PVC, and prove it",
		Long: `Restore PVCs from the Kopia repository by VolSync. By default the snapshot is restored beside the
volume in use and proven by the mover's own words; only then Pods are stopped behind a fence, the
claim is replaced and the Pods start again. The old volume is kept.

--mode in-place writes into the volume that is there, behind a VolumeSnapshot of it. --new-name makes
a claim beside it and touches nothing else. It ends with 0 only when the data is proven, and can be
killed at any point and resumed (drctl resume) or, before the claim is deleted, aborted.`,
		Example: `  # look first
  drctl pvc restore karakeep/data-pvc --dry-run

  # as it was yesterday evening
  drctl pvc restore karakeep/data-pvc --as-of 2026-11-23T18:00:00Z

  # beside the live one, to look into it
  drctl pvc restore karakeep/data-pvc --previous 1 --new-name data-look

  # everything that is protected, 20 at a time
  drctl pvc restore -A --parallel 20 --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(o.complete(args), o.output.Validate()); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.add(cmd, f)
	o.addFlags(cmd)
	o.output.AddFlag(cmd)
	return cmd
}

func (o *restoreOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.mode, "mode", string(restore.Replace), "replace, or in-place")
	flags.StringVar(&o.NewName, "new-name", "", "restore beside it, as a new claim of this name")
	flags.StringVar(&o.SnapshotID, "snapshot", "", "ID of the snapshot, or its beginning (default: the newest complete one)")
	flags.StringVar(&o.asOf, "as-of", "", "the newest complete snapshot begun by then, RFC 3339 with zone")
	flags.IntVar(&o.Previous, "previous", 0, "go back by so many complete snapshots")
	flags.StringVar(&o.from, "from", "", "take the backups of another claim, NAMESPACE/PVC")
	flags.BoolVar(&o.Merge, "merge", false, "in place: keep files that the snapshot does not have")
	flags.BoolVar(&o.NoSafety, "no-safety", false, "in place: take no VolumeSnapshot first")
	flags.BoolVar(&o.NoBackup, "no-backup", false, "take no first backup of the restored volume")
	flags.BoolVar(&o.Keep, "keep", false, "leave drctl's own ReplicationDestination")
	flags.BoolVar(&o.NoFence, "no-fence", false, "do without the fence: whoever creates the claim first wins")
	flags.StringVar(&o.size, "size", "", "a claim without manifest: its size, 10Gi")
	flags.StringVar(&o.StorageClass, "storage-class", "", "a claim without manifest: its class")
	flags.StringVar(&o.AccessMode, "access-mode", "", "a claim without manifest: ReadWriteOnce (default), …")
	flags.IntVar(&o.parallel, "parallel", usualClaims, "how many claims at a time")
	flags.DurationVar(&o.Timeout, "timeout", 0, "how long to wait for a mover (default 24h)")
	flags.BoolVar(&o.wait, "wait", true, "wait for the end; drctl always does")
	_ = flags.MarkHidden("wait")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan, change nothing")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"replace", "in-place"}, cobra.ShellCompDirectiveNoFileComp))
}

// complete reads arguments and flags.
func (o *restoreOptions) complete(args []string) error {
	if err := o.targets.complete(args); err != nil {
		return err
	}
	usage := func(what, next string) error {
		return &recovery.Problem{What: what, Next: next, Err: recovery.ErrUsage}
	}
	o.Mode = restore.Mode(o.mode)
	if o.NewName != "" && o.Mode == restore.Replace {
		o.Mode = ""
	}
	var err error
	if o.AsOf, err = parseAsOf(o.asOf); err != nil {
		return err
	}
	if o.from != "" {
		before, after, found := strings.Cut(o.from, "/")
		if !found || before == "" || after == "" {
			return usage("read --from "+o.from, "write it as NAMESPACE/PVC")
		}
		o.FromNamespace, o.FromName = before, after
	}
	if o.size != "" {
		quantity, err := resource.ParseQuantity(o.size)
		if err != nil || quantity.Sign() <= 0 {
			return usage("read --size "+o.size, "write it as 10Gi")
		}
		o.SizeBytes = quantity.Value()
	}
	single := o.NewName != "" || o.SnapshotID != "" || o.from != "" || o.size != ""
	switch {
	case !o.wait:
		return usage("--wait=false can't be", "a restore is proven at its end; drctl resume goes on with one that was broken off")
	case single && !o.single():
		return usage("--new-name, --snapshot, --from and --size are for one claim", "name one, or leave them out")
	}
	if err := checkParallel(o.parallel); err != nil {
		return err
	}
	probe := o.Options
	probe.Namespace, probe.Name = "n", "n" // what names the claim is checked by its own rules
	return probe.Validate()
}

func checkParallel(parallel int) error {
	if parallel < 1 || parallel > mostClaims {
		return &recovery.Problem{What: fmt.Sprintf("--parallel %d can't be", parallel), Next: fmt.Sprintf("give 1 to %d", mostClaims), Err: recovery.ErrUsage}
	}
	return nil
}

func parseAsOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	moment, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return moment, &recovery.Problem{
			What: "read --as-of " + text, Why: "it is not RFC 3339 with a zone", Next: "write it as 2026-11-23T18:00:00Z or 2026-11-23T19:00:00+01:00", Err: recovery.ErrUsage,
		}
	}
	return moment, nil
}

func restoreRun(ctx context.Context, o *restoreOptions) error {
	wanted, err := o.wanted(ctx, o.Options)
	if err != nil {
		return err
	}
	if len(wanted) > 1 {
		return restoreMany(ctx, o, wanted)
	}
	return restoreOne(ctx, o, wanted[0])
}

// wanted is what is asked for, for each claim.
func (t *targets) wanted(ctx context.Context, o restore.Options) ([]restore.Options, error) {
	f := t.factory
	if f.Settings.Offline {
		return nil, &recovery.Problem{
			What: "restore a claim", Why: "VolSync does that in the cluster, and --offline asks no cluster",
			Next: "leave --offline out; drctl pvc extract takes files out without a cluster", Err: recovery.ErrUsage,
		}
	}
	lister, gaps, err := f.Wiring.PVC(ctx, true)
	if err != nil {
		return nil, f.Finish(gaps, err)
	}
	claims, err := t.find(ctx, lister.Inventory)
	if err != nil {
		return nil, err
	}
	wanted := make([]restore.Options, 0, len(claims))
	for _, claim := range claims {
		o.Namespace, o.Name = claim.namespace, claim.name
		wanted = append(wanted, o)
	}
	return wanted, nil
}

func restoreOne(ctx context.Context, o *restoreOptions, wanted restore.Options) error {
	f := o.factory
	use, err := f.Wiring.Restore(ctx, []string{wanted.Namespace})
	if err != nil {
		return err
	}
	use.Unfinished = f.Unfinished
	done := f.Streams.Working("choosing the snapshot and checking what the restore needs")
	prepared, err := use.Prepare(ctx, wanted)
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
	if err := writePlan(f.Streams.Err, f.Streams, f.Streams.ErrWidth, prepared, plan); err != nil {
		return err
	}
	if !o.yes {
		if err := f.Streams.Confirm(ctx, question(prepared), prepared.Params.Name); err != nil {
			return err
		}
	}
	if err := runPlan(ctx, f, use, wanted.Namespace, plan); err != nil {
		return err
	}
	return Summary(f, o.output.Format, plan.ID)
}

// runPlan runs one plan and tells how it goes.
func runPlan(ctx context.Context, f *command.Factory, use *restore.Restore, namespace string, plan operation.Plan) error {
	engine, err := f.Wiring.Engine(namespace, use.Handlers())
	if err != nil {
		return err
	}
	reporter := command.NewReporter(f)
	engine.Events, engine.Poll = reporter.Event, Poll
	err = use.Run(ctx, engine, plan)
	reporter.Close()
	return err
}

// Poll is the pause between two looks, which cost no request: what is watched is in memory.
const Poll = 100 * time.Millisecond

func question(prepared *restore.Prepared) string {
	p := prepared.Params
	switch {
	case p.Mode == restore.Beside:
		return "Restore a copy of " + p.Namespace + "/" + p.Name + " as " + p.NewName + "?"
	case p.Mode == restore.InPlace:
		return "This OVERWRITES the volume of " + p.Namespace + "/" + p.Name + " with snapshot " + p.Snapshot.ID + "."
	case p.OldUID == "":
		return "Create claim " + p.Namespace + "/" + p.Name + " from snapshot " + p.Snapshot.ID + "?"
	}
	return "This REPLACES the volume of " + p.Namespace + "/" + p.Name + " by snapshot " + p.Snapshot.ID + ", and stops its Pods meanwhile."
}
