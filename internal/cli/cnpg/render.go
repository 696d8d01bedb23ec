package cnpgcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
)

type renderOptions struct {
	factory *command.Factory
	recoveryFlags
}

func newRender(f *command.Factory, run func(context.Context, *renderOptions) error) *cobra.Command {
	o := &renderOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "render NAME",
		Short: "Print the manifest of the Cluster that recovers a database",
		Long: `Print the manifest of the Cluster that would recover a database, and change nothing: bootstrap
recovers the chosen backup, database, owner and secret are carried over, and backups go to a clean
server. It works with the cluster gone, from the GitOps tree.`,
		Example: `  # what drctl cnpg recover immich would create
  drctl cnpg render immich

  # the cluster is gone
  drctl cnpg render immich --offline --gitops ~/src/platform --target-time 2026-11-23T18:00:00Z`,
		Args: command.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.RenderOnly = true
			if err := o.complete(f, args); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.add(cmd, f)
	return cmd
}

func renderRun(ctx context.Context, o *renderOptions) error {
	streams := o.factory.Streams
	done := streams.Working("reading the manifest and the Barman catalog")
	use, err := o.factory.Wiring.Flip(ctx)
	if err != nil {
		done()
		return err
	}
	prepared, err := use.PrepareRender(ctx, o.Options)
	done()
	if err != nil {
		return err
	}
	for _, finding := range prepared.Findings {
		streams.Warn("%s", finding.Text)
	}
	out, err := manifestYAML(prepared.Params.Manifest)
	if err != nil {
		return err
	}
	if _, err := streams.Out.Write(out); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return nil
}
