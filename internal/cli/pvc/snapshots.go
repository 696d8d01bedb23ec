package pvccmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type snapshotsOptions struct {
	factory *command.Factory
	output  command.Output
	all     *bool
	query   pvc.Query
}

func newSnapshots(f *command.Factory, run func(context.Context, *snapshotsOptions) error) *cobra.Command {
	o := &snapshotsOptions{factory: f}
	cmd := &cobra.Command{
		Use:     "snapshots {NAMESPACE/PVC | USER@HOST:PATH | -A}",
		Aliases: []string{"snapshot", "snaps"},
		Short:   "List every point in time that a PVC can go back to",
		Long: `List the snapshots of one PersistentVolumeClaim, or with -A of the whole repository.

A PVC that no longer exists is found by the platform's naming rule; a source can be named in
Kopia's own notation as well. Checkpoints of unfinished uploads are no recovery points: they are
shown with --incomplete only.`,
		Example: `  # what can karakeep/data-pvc go back to?
  drctl pvc snapshots karakeep/data-pvc

  # everything the repository holds, checkpoints too
  drctl pvc snapshots -A --incomplete -o json

  # by Kopia's own name, with no cluster at all
  drctl pvc snapshots data-pvc-backup@karakeep:/data --repo /mnt/backup/volsync --offline`,
		Args: command.Arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: command.Complete(1, func(cmd *cobra.Command, _ []string) ([]string, error) {
			return f.Wiring.Claims(cmd.Context(), f.Settings.Namespace())
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.query.Name = args[0]
			}
			if err := o.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.output.AddFlag(cmd)
	o.all = command.AddAllNamespaces(cmd, f)
	cmd.Flags().BoolVar(&o.query.Incomplete, "incomplete", false, "show checkpoints of unfinished uploads as well")
	return cmd
}

func (o *snapshotsOptions) validate() error {
	o.query.Namespace = o.factory.Settings.Namespace()
	if o.query.Name == "" && !*o.all && o.query.Namespace == "" {
		return &recovery.Problem{What: "no PVC is named", Next: "give NAMESPACE/PVC, or -A for all of them", Err: recovery.ErrUsage}
	}
	if o.query.Name != "" && *o.all {
		return &recovery.Problem{What: "a name and -A exclude each other", Next: "give one of them", Err: recovery.ErrUsage}
	}
	if namespace, name, found := strings.Cut(o.query.Name, "/"); found && !strings.Contains(o.query.Name, "@") && (namespace == "" || name == "" || strings.Contains(name, "/")) {
		return &recovery.Problem{What: fmt.Sprintf("%q is no NAMESPACE/PVC", o.query.Name), Next: "write it as karakeep/data-pvc", Err: recovery.ErrUsage}
	}
	return o.output.Validate()
}

func snapshotsRun(ctx context.Context, o *snapshotsOptions) error {
	streams := o.factory.Streams
	done := streams.Working("reading the Kopia repository")
	byClaim := o.query.Name != "" && !strings.Contains(o.query.Name, "@")
	lister, gaps, err := o.factory.Wiring.PVC(ctx, byClaim)
	if err != nil {
		done()
		return o.factory.Finish(gaps, err)
	}
	list, unread, err := lister.Snapshots(ctx, o.query)
	done()
	gaps = append(gaps, unread...)
	if err != nil {
		// An empty answer is still an answer for scripts: the list is printed, the error follows.
		if list == nil || !errors.Is(err, recovery.ErrNotFound) || !structured(o.output.Format) {
			return o.factory.Finish(gaps, err)
		}
	}
	printErr := streams.Print(o.output.Format, ui.View{
		Data:  list,
		Names: snapshotNames(list.Items),
		Table: func(w io.Writer, wide bool) error { return writeSnapshots(w, o.factory, list, wide) },
	})
	if printErr != nil {
		return printErr
	}
	return o.factory.Finish(gaps, err)
}

func structured(format ui.Format) bool { return format == ui.FormatJSON || format == ui.FormatYAML }

func snapshotNames(items []pvc.SnapshotItem) []string {
	names := make([]string, 0, len(items))
	for _, item := range items {
		names = append(names, item.ID)
	}
	return names
}

func writeSnapshots(w io.Writer, f *command.Factory, list *pvc.SnapshotList, wide bool) error {
	// One source is known to whoever asked for it; its column would push the IDs off a narrow screen.
	named := wide || severalSources(list.Items)
	heads := []string{"START", "AGE", "SIZE", "FILES", "ID"}
	if named {
		heads = append([]string{"SOURCE"}, heads...)
	}
	if wide {
		heads = append(heads, "END", "DIRS", "ERRORS", "PINS")
	}
	table := ui.NewTable("No snapshots.", append(heads, "NOTE")...)
	now := f.Now()
	for _, s := range list.Items {
		row := []string{ui.Minute(s.StartTime), ui.Age(now.Sub(s.StartTime)), ui.Size(s.SizeBytes), fmt.Sprint(s.FileCount), s.ID}
		if named {
			row = append([]string{s.Source.Username + "@" + s.Source.Hostname}, row...)
		}
		if wide {
			row = append(row, ui.Time(s.EndTime), fmt.Sprint(s.DirCount), fmt.Sprint(s.ErrorCount), strings.Join(s.Pins, ","))
		}
		table.Row(append(row, f.Streams.Paint(ui.Caution, note(s)))...)
	}
	return table.Within(f.Streams.Width).Write(w)
}

func severalSources(items []pvc.SnapshotItem) bool {
	for _, item := range items {
		if item.Source != items[0].Source {
			return true
		}
	}
	return false
}

// note says what sets a snapshot apart from a plain good one.
func note(s pvc.SnapshotItem) string {
	var notes []string
	if s.Incomplete != "" {
		notes = append(notes, "incomplete: "+s.Incomplete)
	}
	if s.ErrorCount > 0 {
		notes = append(notes, fmt.Sprintf("%d errors", s.ErrorCount))
	}
	if len(s.Pins) > 0 {
		notes = append(notes, "pinned")
	}
	return strings.Join(notes, ", ")
}
