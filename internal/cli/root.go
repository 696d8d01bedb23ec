// Package cli is drctl's command line: the root command, its help, and the groups below it.
//
// It calls use cases and ui; it must not import adapters or app, which it is given as Wiring.
package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	bootstrapcmd "github.com/drctl/drctl/internal/cli/bootstrap"
	cnpgcmd "github.com/drctl/drctl/internal/cli/cnpg"
	"github.com/drctl/drctl/internal/cli/command"
	plancmd "github.com/drctl/drctl/internal/cli/plan"
	pvccmd "github.com/drctl/drctl/internal/cli/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// Version is what `drctl version` prints, set at build time by cmd/drctl.
type Version struct{ Version, Commit, Date string }

// NewRoot makes the whole command tree. Name is how the binary was called: as kubectl-dr its help
// says "kubectl dr".
func NewRoot(f *command.Factory, version Version, name string) *cobra.Command {
	root := &cobra.Command{
		Use:           "drctl",
		Short:         "Disaster recovery for GitOps clusters: what can I get back, and from when?",
		Long:          `What can a GitOps cluster get back, and from when? And then: get it back.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args:          unknownCommand,
	}
	if strings.HasPrefix(name, "kubectl-") {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl " + strings.ReplaceAll(strings.TrimPrefix(name, "kubectl-"), "_", "-")}
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	addGlobalFlags(root, f)
	root.AddCommand(pvccmd.New(f), cnpgcmd.New(f), bootstrapcmd.New(f), plancmd.NewPlans(f), plancmd.NewResume(f), plancmd.NewAbort(f),
		newVersion(f, version), newOptions(f, root))
	root.SuggestionsMinimumDistance = 2
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &recovery.Problem{What: err.Error(), Next: "see " + cmd.CommandPath() + " --help, and drctl options", Err: recovery.ErrUsage}
	})
	addCompletion(root)
	root.SetOut(f.Streams.Out)
	root.SetErr(f.Streams.Err)
	return root
}

// addCompletion makes cobra's command for the shells now, so that its help has examples as all help has.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	examples := map[string]string{
		"bash":       "  source <(drctl completion bash)\n  drctl completion bash > /etc/bash_completion.d/drctl",
		"zsh":        "  source <(drctl completion zsh)\n  drctl completion zsh > \"${fpath[1]}/_drctl\"",
		"fish":       "  drctl completion fish | source\n  drctl completion fish > ~/.config/fish/completions/drctl.fish",
		"powershell": "  drctl completion powershell | Out-String | Invoke-Expression",
	}
	for _, child := range root.Commands() {
		for _, shell := range child.Commands() {
			if child.Name() == "completion" {
				shell.Example = examples[shell.Name()]
			}
		}
	}
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	next := "see drctl --help"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		next = "did you mean drctl " + strings.Join(near, " or ") + "?"
	}
	return &recovery.Problem{What: fmt.Sprintf("unknown command %q", args[0]), Next: next, Err: recovery.ErrUsage}
}

// addGlobalFlags adds kubectl's flags, of which only the three that everybody knows are shown, and
// drctl's own. `drctl options` shows them all.
func addGlobalFlags(root *cobra.Command, f *command.Factory) {
	flags := root.PersistentFlags()
	// Kubernetes' own --cache-dir is for its discovery cache, which drctl does not use.
	f.Settings.Kube.CacheDir = nil
	f.Settings.Kube.AddFlags(flags)
	s := f.Settings
	flags.BoolVar(&s.Offline, "offline", false, "never call the Kubernetes API")
	flags.StringVar(&s.GitOps, "gitops", "", "folder of the GitOps tree")
	flags.StringVar(&s.Repo, "repo", "", "Kopia repository: a path, nfs://… or s3://…")
	flags.StringVar(&s.PasswordFile, "password-file", "", "file with the Kopia password (else KOPIA_PASSWORD, else the Secret)")
	flags.StringVar(&s.DestinationPath, "destination-path", "", "Barman destination: s3://BUCKET/PATH")
	flags.StringVar(&s.EndpointURL, "endpoint-url", "", "S3 endpoint of Barman and of an s3:// repository")
	flags.StringVar(&s.CAFile, "ca-file", "", "CA bundle (PEM) of the S3 endpoint")
	flags.StringVar(&s.CacheDirectory, "cache-dir", "", "keep Kopia's index here between runs (default: leave nothing behind)")
	flags.StringVar(&s.ConfigFile, "config", "", "configuration file (default $XDG_CONFIG_HOME/drctl/config.yaml)")
	flags.CountVarP(&s.Verbosity, "verbose", "v", "say on stderr what was asked, and with how many requests")
	shown := map[string]bool{"namespace": true, "offline": true, "gitops": true, "repo": true}
	flags.VisitAll(func(flag *pflag.Flag) { flag.Hidden = !shown[flag.Name] })
	flags.Lookup("context").Usage = "kubeconfig context"
	flags.Lookup("namespace").Usage = "namespace (default: all, for everything that reads)"
	completeFlags(root, f)
}

// completeFlags registers completions; the flags exist, so no registration can fail.
func completeFlags(root *cobra.Command, f *command.Factory) {
	_ = root.RegisterFlagCompletionFunc("namespace", command.Complete(0, func(cmd *cobra.Command, _ []string) ([]string, error) {
		return f.Wiring.Namespaces(cmd.Context())
	}))
	_ = root.RegisterFlagCompletionFunc("context", command.Complete(0, func(*cobra.Command, []string) ([]string, error) {
		return f.Wiring.Contexts()
	}))
	_ = root.MarkPersistentFlagDirname("gitops")
	_ = root.MarkPersistentFlagDirname("repo")
	_ = root.MarkPersistentFlagFilename("kubeconfig")
	_ = root.MarkPersistentFlagFilename("password-file")
	_ = root.MarkPersistentFlagFilename("config")
}
