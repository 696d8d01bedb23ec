// Package cnpgcmd holds the commands `drctl cnpg …`: flags, one call into the use case, output.
package cnpgcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/ui"
)

// New makes the group `drctl cnpg`.
func New(f *command.Factory) *cobra.Command {
	return command.Group("cnpg", "CloudNativePG databases: backups in Barman, recovery",
		`CloudNativePG databases, their recovery points in Barman's S3 archive, and how to get back to one.`,
		newList(f, listRun), newBackups(f, backupsRun), newRender(f, renderRun), newRecover(f, recoverRun),
		newVerify(f, verifyRun), newRevert(f, revertRun))
}

type listOptions struct {
	factory  *command.Factory
	output   command.Output
	selector command.Selector
	labels   func(map[string]string) bool
}

func newList(f *command.Factory, run func(context.Context, *listOptions) error) *cobra.Command {
	o := &listOptions{factory: f}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List databases, their backup server and recovery window",
		Long: `List CloudNativePG Clusters with the server that each writes its backups to, whether WAL
archiving works, and the window that the server in use can be recovered to, read from S3.

The end of a window is the arrival of the last archived WAL: an upper bound. The last commit in it
may be earlier.`,
		Example: `  # every database
  drctl cnpg list

  # with S3 paths
  drctl cnpg list -o wide

  # the cluster is gone: Clusters from the GitOps tree
  drctl cnpg list --offline --gitops ~/src/platform`,
		Args: command.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.labels, err = o.selector.Filter(); err != nil {
				return err
			}
			if err := o.output.Validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.output.AddFlag(cmd)
	o.selector.AddFlag(cmd)
	command.AddAllNamespaces(cmd, f)
	return cmd
}

func listRun(ctx context.Context, o *listOptions) error {
	streams := o.factory.Streams
	done := streams.Working("reading Clusters and their Barman catalogs")
	lister, gaps, err := o.factory.Wiring.CNPG(ctx, true)
	if err != nil {
		done()
		return o.factory.Finish(gaps, err)
	}
	list, unread, err := lister.List(ctx, o.factory.Settings.Namespace(), o.labels)
	done()
	gaps = append(gaps, unread...)
	if err != nil {
		return o.factory.Finish(gaps, err)
	}
	err = streams.Print(o.output.Format, ui.View{
		Data:  list,
		Names: databaseNames(list.Items),
		Table: func(w io.Writer, wide bool) error { return writeList(w, streams, list, wide) },
	})
	if err != nil {
		return err
	}
	if o.output.Format == ui.FormatTable || o.output.Format == ui.FormatWide {
		for _, item := range list.Items {
			for _, warning := range item.Warnings {
				streams.Warn("%s/%s: %s", item.Namespace, item.Name, warning)
			}
		}
	}
	return o.factory.Finish(gaps, nil)
}

func databaseNames(items []cnpg.DatabaseItem) []string {
	names := make([]string, 0, len(items))
	for _, item := range items {
		names = append(names, item.Namespace+"/"+item.Name)
	}
	return names
}

func writeList(w io.Writer, streams ui.Streams, list *cnpg.DatabaseList, wide bool) error {
	heads := []string{"NAME", "SERVER", "WAL", "RECOVERABLE FROM", "TO"}
	if wide {
		heads = append([]string{"NAMESPACE"}, append(heads, "BACKUPS", "READY", "DESTINATION", "PHASE")...)
	}
	table := ui.NewTable("No CloudNativePG Clusters.", heads...)
	for _, item := range list.Items {
		row := databaseCells(streams, item)
		if wide {
			row = append([]string{item.Namespace}, append(row, restorable(item), ready(item), item.DestinationPath, item.Phase)...)
		}
		table.Row(row...)
	}
	return table.Within(streams.Width).Write(w)
}

func databaseCells(streams ui.Streams, item cnpg.DatabaseItem) []string {
	from, to := streams.Paint(ui.Bad, "nothing"), ""
	switch {
	case item.RecoveryWindow != nil && !item.RecoveryWindow.IsZero():
		from, to = ui.Minute(item.RecoveryWindow.From), ui.Minute(item.RecoveryWindow.To)
	case item.RestorableCount < 0:
		from = streams.Paint(ui.Caution, "unknown")
	}
	return []string{item.Name, item.ServerName, archiving(streams, item.Archiving), from, to}
}

func ready(item cnpg.DatabaseItem) string {
	if item.ReadyInstances < 0 {
		return fmt.Sprintf("?/%d", item.Instances)
	}
	return fmt.Sprintf("%d/%d", item.ReadyInstances, item.Instances)
}

// archiving says whether WAL arrives at the server now.
func archiving(streams ui.Streams, text string) string {
	switch text {
	case "true":
		return streams.Paint(ui.Good, "ok")
	case "false":
		return streams.Paint(ui.Bad, "failing")
	}
	return "unknown"
}

func restorable(item cnpg.DatabaseItem) string {
	if item.RestorableCount < 0 {
		return "unknown"
	}
	return fmt.Sprint(item.RestorableCount)
}
