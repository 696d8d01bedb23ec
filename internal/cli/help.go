package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// usageTemplate keeps the root's help on one screen: commands first, few flags, exit codes in one
// line everywhere.
const usageTemplate = `Usage: {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Exit codes: ` + command.ExitCodes + `
{{- if .HasParent}}
Global flags: drctl options{{else}}
All global flags: drctl options{{end}}
`

func newOptions(f *command.Factory, root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		Hidden:  true, // the last line of every help names it
		Short:   "Show the flags that every command takes",
		Example: `  drctl options`,
		Args:    command.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			all := pflag.NewFlagSet("all", pflag.ContinueOnError)
			root.PersistentFlags().VisitAll(func(flag *pflag.Flag) {
				visible := *flag
				visible.Hidden = false
				all.AddFlag(&visible)
			})
			_, err := fmt.Fprintf(f.Streams.Out, "Flags of every command:\n%s\n%s", all.FlagUsages(), environment)
			return err
		},
	}
}

const environment = `Environment:
  KOPIA_PASSWORD                              password of the Kopia repository
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,   credentials of S3 (AWS_SESSION_TOKEN, AWS_REGION too)
  DRCTL_REPO, DRCTL_PASSWORD_FILE, DRCTL_GITOPS, DRCTL_DESTINATION_PATH,
  DRCTL_ENDPOINT_URL, DRCTL_CA_FILE,          as the flags of these names
  DRCTL_CACHE_DIR, DRCTL_CONFIG
  NO_COLOR, CI, TERM=dumb                     plain output

A place is looked for in this order: flag, environment, configuration file, the cluster, the GitOps tree.
`

// versionAnswer is the answer of `drctl version`.
type versionAnswer struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Version    string `json:"version"`
	Commit     string `json:"commit"`
	Date       string `json:"date"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

func newVersion(f *command.Factory, version Version) *cobra.Command {
	var output command.Output
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of drctl",
		Example: "  drctl version\n  drctl version -o json",
		Args:    command.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if err := output.Validate(); err != nil {
				return err
			}
			answer := versionAnswer{
				APIVersion: recovery.APIVersion, Kind: "Version", Version: version.Version, Commit: version.Commit, Date: version.Date,
				Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
			}
			return f.Streams.Print(output.Format, ui.View{
				Data: answer, Names: []string{answer.Version},
				Table: func(w io.Writer, _ bool) error {
					_, err := fmt.Fprintf(w, "drctl %s (%s, %s)\n", answer.Version, answer.Go, answer.Platform)
					return err
				},
			})
		},
	}
	output.AddFlag(cmd)
	return cmd
}
