package pvccmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

const (
	// usualParallel hides the waiting for a far storage; more would only take memory.
	usualParallel = 8
	mostParallel  = 64
	// sayEvery is how often progress is said: files may come by the thousands a second.
	sayEvery = 200 * time.Millisecond
	// mostNamed is how many files that failed are named on stderr; -o json names all.
	mostNamed = 20
)

type extractOptions struct {
	choiceFlags

	factory *command.Factory
	output  command.Output
	extract pvc.ExtractOptions
}

func newExtract(f *command.Factory, run func(context.Context, *extractOptions) error) *cobra.Command {
	o := &extractOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "extract {NAMESPACE/PVC | USER@HOST:PATH} [PATH] --output-dir DIR",
		Short: "Take files out of a snapshot of a PVC",
		Long: `Take everything that a snapshot holds, or what is at PATH, out of the repository into a
folder: with mode, times and symbolic links, and as root with owners. What PATH holds comes right
into the folder; a file at PATH keeps its name.

A file gets its name when it is whole and proven by its hash: what is damaged, or interrupted,
leaves no such file, is named, and the rest is taken out nonetheless (exit code 3). Nothing can be
written outside the folder: links are written as they are and never followed.`,
		Example: `  # the newest snapshot of a PVC, to a folder
  drctl pvc extract karakeep/data-pvc --output-dir /srv/rescue

  # one file, as it was the day before
  drctl pvc extract karakeep/data-pvc db.db --as-of 2026-11-22T18:00:00Z --output-dir .

  # with no cluster at all, as root so that owners are kept
  sudo -E drctl pvc extract karakeep/data-pvc --offline --repo /mnt/backup/volsync --output-dir /srv/rescue`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(f, args); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.add(cmd, f)
	o.output.AddFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.extract.Directory, "output-dir", "", "folder for the files, made where it is missing (required)")
	flags.BoolVar(&o.extract.Overwrite, "overwrite", false, "replace files that are there already (default: write nothing then)")
	flags.IntVar(&o.extract.Parallel, "parallel", usualParallel, "how many parts of the repository are read at once")
	_ = cmd.MarkFlagDirname("output-dir")
	return cmd
}

func (o *extractOptions) validate() error {
	if o.extract.Directory == "" {
		return &recovery.Problem{What: "no folder for the files is named", Next: "give --output-dir DIR", Err: recovery.ErrUsage}
	}
	if o.extract.Parallel < 1 || o.extract.Parallel > mostParallel {
		return &recovery.Problem{
			What: fmt.Sprintf("--parallel %d can't be", o.extract.Parallel), Next: fmt.Sprintf("give 1 to %d", mostParallel), Err: recovery.ErrUsage,
		}
	}
	o.extract.FilesQuery = o.query
	return o.output.Validate()
}

func extractRun(ctx context.Context, o *extractOptions) error {
	streams := o.factory.Streams
	lister, gaps, err := o.factory.Wiring.PVC(ctx, o.byClaim())
	if err != nil {
		return o.factory.Finish(gaps, err)
	}
	waiting := streams.Wait("taking files out")
	often := time.NewTicker(sayEvery)
	defer often.Stop()
	o.extract.Progress = func(p pvc.ExtractProgress) {
		select {
		case <-often.C:
		default:
			return
		}
		waiting.Say(fmt.Sprintf("%s of %s files, %s of %s", ui.Count(p.Files), ui.Count(p.TotalFiles), ui.Size(p.Bytes), ui.Size(p.TotalBytes)))
	}
	report, unread, err := lister.Extract(ctx, o.extract)
	waiting.Done()
	gaps = append(gaps, unread...)
	if report == nil {
		return o.factory.Finish(gaps, err)
	}
	if printErr := streams.Print(o.output.Format, ui.View{
		Data:  report,
		Names: []string{report.Directory},
		Table: func(w io.Writer, _ bool) error { return writeExtract(w, report) },
	}); printErr != nil {
		return printErr
	}
	for _, doubt := range report.Doubts {
		streams.Warn("%s", doubt)
	}
	if more := len(gaps) - mostNamed; more > 0 {
		gaps = append(gaps[:mostNamed:mostNamed], &recovery.Problem{What: fmt.Sprintf("and %d more", more), Next: "-o json names all of them"})
	}
	return o.factory.Finish(gaps, err)
}

func writeExtract(w io.Writer, r *pvc.ExtractReport) error {
	_, err := fmt.Fprintf(w, "%s (%s), %s, %s of snapshot %s (%s) are in %s\n", counted(r.FileCount, "file"), ui.Size(r.SizeBytes),
		counted(r.DirCount, "folder"), counted(r.SymlinkCount, "link"), r.Snapshot.ID, ui.Minute(r.Snapshot.StartTime), r.Directory)
	if err == nil && len(r.Failed) > 0 {
		_, err = fmt.Fprintf(w, "%s could not be taken out, see below\n", counted(len(r.Failed), "entry"))
	}
	return err
}

// counted writes a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return ui.Count(n) + " " + strings.Replace(noun+"s", "ys", "ies", 1)
}
