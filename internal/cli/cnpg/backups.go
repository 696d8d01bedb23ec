package cnpgcmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type backupsOptions struct {
	factory *command.Factory
	output  command.Output
	query   cnpg.BackupQuery
}

func newBackups(f *command.Factory, run func(context.Context, *backupsOptions) error) *cobra.Command {
	o := &backupsOptions{factory: f}
	cmd := &cobra.Command{
		Use:     "backups {NAME | --destination-path s3://BUCKET/PATH} [BACKUP_ID…]",
		Aliases: []string{"backup"},
		Short:   "Show the Barman catalog of a database over all its servers",
		Long: `Show every base backup and the WAL archive of every server below a database's destination
(the lineage: -v1, -v2, …): what is restorable and why not, gaps in the WAL, missing timeline
histories, and the window that each server can be recovered to.

NAME is a Cluster, NAMESPACE/CLUSTER, its folder in the GitOps tree, its app label, the last element
of its S3 path, or a unique prefix. With --destination-path nothing but S3 is asked.`,
		Example: `  # everything that immich can be recovered from
  drctl cnpg backups immich

  # one backup, as JSON
  drctl cnpg backups immich 20261123T020000 -o json

  # the cluster is gone: the Cluster's manifest from the GitOps tree, keys from the environment
  drctl cnpg backups immich --offline --gitops ~/src/platform

  # nothing is left but S3
  drctl cnpg backups --destination-path s3://postgres-backups/cnpg/immich --endpoint-url http://192.168.1.100:9000`,
		ValidArgsFunction: completeBackups(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	o.output.AddFlag(cmd)
	command.AddAllNamespaces(cmd, f)
	cmd.Flags().StringSliceVar(&o.query.Servers, "server-name", nil, "only these servers (default: all below the destination)")
	return cmd
}

func (o *backupsOptions) complete(args []string) error {
	store, err := o.factory.Wiring.Store()
	if err != nil {
		return err
	}
	o.query.Namespace = o.factory.Settings.Namespace()
	o.query.Resolve = o.factory.Wiring.ResolveDatabase
	switch {
	case o.factory.Settings.DestinationPath != "":
		// The destination stands on the command line, so what follows can only be backup IDs.
		o.query.Store, o.query.IDs = store, args
	case len(args) > 0:
		o.query.Name, o.query.IDs = args[0], args[1:]
	case store.DestinationPath != "":
		o.query.Store = store
	default:
		return &recovery.Problem{
			What: "no database is named", Next: "give NAME (drctl cnpg list shows them), or --destination-path s3://BUCKET/PATH", Err: recovery.ErrUsage,
		}
	}
	return o.output.Validate()
}

func completeBackups(f *command.Factory) cobra.CompletionFunc {
	return command.Complete(0, func(cmd *cobra.Command, args []string) ([]string, error) {
		if len(args) == 0 && f.Settings.DestinationPath == "" {
			return f.Wiring.DatabaseNames(cmd.Context(), f.Settings.Namespace())
		}
		name := ""
		if f.Settings.DestinationPath == "" {
			name = args[0]
		}
		return f.Wiring.BackupIDs(cmd.Context(), name)
	})
}

func backupsRun(ctx context.Context, o *backupsOptions) error {
	streams := o.factory.Streams
	done := streams.Working("reading the Barman catalog")
	lister, gaps, err := o.factory.Wiring.CNPG(ctx, o.query.Store.DestinationPath == "")
	if err != nil {
		done()
		return o.factory.Finish(gaps, err)
	}
	catalog, unread, err := lister.Backups(ctx, o.query)
	done()
	gaps = append(gaps, unread...)
	if err != nil {
		return o.factory.Finish(gaps, err)
	}
	if err := streams.Print(o.output.Format, catalogView(streams, catalog)); err != nil {
		return err
	}
	if o.output.Format == ui.FormatTable || o.output.Format == ui.FormatWide {
		warnCatalog(streams, catalog, len(gaps))
	}
	return o.factory.Finish(gaps, nil)
}
