package pvccmd

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type filesOptions struct {
	choiceFlags

	factory *command.Factory
	output  command.Output
}

func newFiles(f *command.Factory, run func(context.Context, *filesOptions) error) *cobra.Command {
	o := &filesOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "files {NAMESPACE/PVC | USER@HOST:PATH} [PATH]",
		Short: "Look into a snapshot of a PVC",
		Long: `List what is in a snapshot of a PersistentVolumeClaim: in its root, or at PATH. Without
--snapshot, --as-of or --previous it is the newest complete one.

Only the repository is read. The size of a folder is that of all files below it.`,
		Example: `  # what is in the newest snapshot?
  drctl pvc files karakeep/data-pvc

  # everything below a folder, as it was yesterday evening
  drctl pvc files karakeep/data-pvc assets -R --as-of 2026-11-22T18:00:00Z

  # with no cluster at all
  drctl pvc files karakeep/data-pvc --offline --repo /mnt/backup/volsync`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(f, args); err != nil {
				return err
			}
			if err := o.output.Validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.add(cmd, f)
	o.output.AddFlag(cmd)
	cmd.Flags().BoolVarP(&o.query.Recursive, "recursive", "R", false, "list folders below folders too")
	return cmd
}

func filesRun(ctx context.Context, o *filesOptions) error {
	streams := o.factory.Streams
	done := streams.Working("reading the Kopia repository")
	lister, gaps, err := o.factory.Wiring.PVC(ctx, o.byClaim())
	if err != nil {
		done()
		return o.factory.Finish(gaps, err)
	}
	list, unread, err := lister.Files(ctx, o.query)
	done()
	gaps = append(gaps, unread...)
	if err != nil {
		return o.factory.Finish(gaps, err)
	}
	if err := streams.Print(o.output.Format, ui.View{
		Data:  list,
		Names: list.Names(),
		Table: func(w io.Writer, wide bool) error { return writeFiles(w, o.factory, list, wide) },
	}); err != nil {
		return err
	}
	for _, doubt := range list.Doubts {
		streams.Warn("%s", doubt)
	}
	return o.factory.Finish(gaps, nil)
}

func writeFiles(w io.Writer, f *command.Factory, list *pvc.FileList, wide bool) error {
	if _, err := fmt.Fprintf(w, "%s, snapshot %s of %s\n", list.Snapshot.Source, list.Snapshot.ID, ui.Minute(list.Snapshot.StartTime)); err != nil {
		return err
	}
	heads := []string{"MODE", "OWNER", "SIZE", "MODIFIED", "PATH"}
	if wide {
		heads = []string{"MODE", "OWNER", "BYTES", "MODIFIED", "TYPE", "PATH"}
	}
	table := ui.NewTable("No files.", heads...)
	for _, item := range list.Items {
		name := printable(item.Path)
		switch item.Type {
		case recovery.TypeDirectory:
			name = path.Clean(name) + "/"
		case recovery.TypeSymlink:
			name += " -> " + printable(item.Target)
		}
		owner := fmt.Sprintf("%d:%d", item.UserID, item.GroupID)
		if wide {
			table.Row(item.Mode, owner, fmt.Sprint(item.SizeBytes), ui.Time(item.ModTime), string(item.Type), name)
			continue
		}
		table.Row(item.Mode, owner, ui.Size(item.SizeBytes), ui.Minute(item.ModTime), name)
	}
	return table.Within(f.Streams.Width).Write(w)
}

// printable keeps a name out of the terminal's controls: whoever wrote to the volume chose it.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
