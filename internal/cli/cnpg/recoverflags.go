package cnpgcmd

import (
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/recovery"
)

// recoveryFlags are what render and recover have in common.
type recoveryFlags struct {
	flip.Options
	target, file string
}

func (r *recoveryFlags) add(cmd *cobra.Command, f *command.Factory) {
	flags := cmd.Flags()
	flags.StringVar(&r.target, "target-time", "", "recover to this moment, RFC 3339 with zone: 2026-11-23T18:00:00Z (default: the end of the archive)")
	flags.StringVar(&r.BackupID, "backup-id", "", "base backup (default: the newest restorable one ahead of the target)")
	flags.StringVar(&r.SourceServer, "source-server-name", "", "Barman server to recover from (default: the one in use)")
	flags.StringVar(&r.ArchiveServer, "archive-server-name", "", "Barman server to write to afterwards (default: the next clean -vN)")
	flags.StringVar(&r.NewName, "new-name", "", "recover beside the live database, as a Cluster of this name without backups")
	flags.BoolVar(&r.AcceptGap, "accept-wal-gap", false, "recover only up to the gap in the WAL behind the backup")
	flags.StringVarP(&r.file, "filename", "f", "", "manifest of the Cluster, when neither Git nor the API has it")
	_ = cmd.RegisterFlagCompletionFunc("backup-id", command.Complete(0, func(cmd *cobra.Command, args []string) ([]string, error) {
		if len(args) == 0 {
			return nil, nil
		}
		return f.Wiring.BackupIDs(cmd.Context(), args[0])
	}))
	cmd.ValidArgsFunction = command.Complete(1, func(cmd *cobra.Command, _ []string) ([]string, error) {
		return f.Wiring.DatabaseNames(cmd.Context(), f.Settings.Namespace())
	})
}

// complete reads the flags.
func (r *recoveryFlags) complete(f *command.Factory, args []string) error {
	if len(args) > 0 {
		r.Name = args[0]
	}
	r.Namespace = f.Settings.Namespace()
	if r.target != "" {
		target, err := time.Parse(time.RFC3339Nano, r.target)
		if err != nil {
			return &recovery.Problem{
				What: "read --target-time " + r.target, Why: "it is not RFC 3339 with a zone; without one PostgreSQL would take it for UTC",
				Next: "write it as 2026-11-23T18:00:00Z or 2026-11-23T19:00:00+01:00", Err: recovery.ErrUsage,
			}
		}
		r.TargetTime = target
	}
	if r.file == "" {
		return r.Validate()
	}
	content, err := os.ReadFile(r.file)
	if err == nil {
		r.Manifest, err = yaml.YAMLToJSON(content)
	}
	if err != nil {
		return &recovery.Problem{What: "read " + r.file, Why: err.Error(), Next: "give the file of one Cluster with -f", Err: recovery.ErrUsage}
	}
	return r.Validate()
}

// manifestYAML is a manifest for people and for kubectl.
func manifestYAML(manifest json.RawMessage) ([]byte, error) {
	return yaml.JSONToYAML(manifest)
}
