// Package pvccmd holds the commands `drctl pvc …`: flags, one call into the use case, output.
package pvccmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/ui"
)

// New makes the group `drctl pvc`.
func New(f *command.Factory) *cobra.Command {
	return command.Group("pvc", "PersistentVolumeClaims: what Kopia holds for each",
		`PersistentVolumeClaims and their recovery points in the Kopia repository.`,
		newList(f, listRun), newSnapshots(f, snapshotsRun), newFiles(f, filesRun), newExtract(f, extractRun), newRestore(f, restoreRun), newBackup(f, backupRun))
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
		Short:   "List PVCs and what Kopia holds for each",
		Long: `List PersistentVolumeClaims with the newest recovery point of each, and the sources in
the repository that no claim stands for: after a disaster they are all there is.

States: protected (newest complete snapshot is younger than twice the schedule's interval),
stale (older), unprotected (no complete snapshot, or no ReplicationSource), orphaned (snapshots
without a PVC), unknown (what decides it could not be read).`,
		Example: `  # every PVC of the cluster and every source of the repository
  drctl pvc list

  # one namespace, with identities and schedules
  drctl pvc list -n karakeep -o wide

  # the cluster is gone: the repository alone
  drctl pvc list --repo nfs://192.168.1.100/mnt/backup/volsync

  # the cluster is gone: what the GitOps tree wants protected, against the repository
  drctl pvc list --offline --gitops ~/src/platform --repo /mnt/backup/volsync

  # names of everything that is not protected
  drctl pvc list -o json | jq -r '.items[] | select(.state != "protected") | .namespace + "/" + .name'`,
		Args: command.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
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

func (o *listOptions) validate() error {
	var err error
	if o.labels, err = o.selector.Filter(); err != nil {
		return err
	}
	return o.output.Validate()
}

func listRun(ctx context.Context, o *listOptions) error {
	streams := o.factory.Streams
	done := streams.Working("reading claims and the Kopia repository")
	lister, gaps, err := o.factory.Wiring.PVC(ctx, true)
	if err != nil {
		done()
		return o.factory.Finish(gaps, err)
	}
	list, unread, err := lister.List(ctx, pvc.Filter{Namespace: o.factory.Settings.Namespace(), Labels: o.labels})
	done()
	gaps = append(gaps, unread...)
	if err != nil {
		return o.factory.Finish(nil, err)
	}
	err = streams.Print(o.output.Format, ui.View{
		Data:  list,
		Names: itemNames(list.Items),
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

func itemNames(items []pvc.Item) []string {
	names := make([]string, 0, len(items))
	for _, item := range items {
		names = append(names, item.Namespace+"/"+item.Name)
	}
	return names
}

func writeList(w io.Writer, streams ui.Streams, list *pvc.List, wide bool) error {
	heads := []string{"NAMESPACE", "NAME", "STATE", "SNAPSHOTS", "AGE", "SIZE", "BACKUP"}
	if wide {
		heads = append(heads, "PHASE", "SCHEDULE", "LATEST", "OLDEST", "SOURCE")
	}
	table := ui.NewTable("No PersistentVolumeClaims and no snapshots.", heads...)
	for _, item := range list.Items {
		table.Row(cells(streams, item, wide)...)
	}
	return table.Within(streams.Width).Write(w)
}

func cells(streams ui.Streams, item pvc.Item, wide bool) []string {
	age, size, latest, oldest, source := "", "", "", "", ""
	if item.Latest != nil {
		age = ui.Age(time.Duration(*item.AgeSeconds) * time.Second)
		size = ui.Size(item.Latest.SizeBytes)
		latest, oldest = ui.Time(item.Latest.StartTime), ui.Time(item.Oldest.StartTime)
	}
	if item.Source != nil {
		source = item.Source.String()
	}
	row := []string{item.Namespace, item.Name, streams.Paint(tone(item), string(item.State)), fmt.Sprint(item.SnapshotCount), age, size, item.Backup}
	if wide {
		row = append(row, item.Phase, item.Schedule, latest, oldest, source)
	}
	return row
}

// tone is alarming only where a backup is wanted: a cache has no label on purpose.
func tone(item pvc.Item) ui.Tone {
	switch {
	case item.State == pvc.Protected:
		return ui.Good
	case item.State == pvc.Unprotected && item.Backup != "":
		return ui.Bad
	}
	return ui.Caution
}
