package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// Group is a command that only holds others: alone it shows its help, with an unknown word it is a
// usage error.
func Group(use, short, long string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			next := cmd.CommandPath() + " --help"
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				next = "did you mean " + cmd.CommandPath() + " " + strings.Join(near, " or ") + "? else " + next
			}
			return &recovery.Problem{What: fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath()), Next: next, Err: recovery.ErrUsage}
		},
	}
	cmd.AddCommand(children...)
	return cmd
}

// Arguments wraps a check of positional arguments so that a failure is a usage error with a next step.
func Arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &recovery.Problem{What: err.Error(), Next: "usage: " + cmd.UseLine(), Err: recovery.ErrUsage}
		}
		return nil
	}
}

// Output is the flag -o.
type Output struct {
	text   string
	Format ui.Format
}

// AddFlag adds -o to the command, with completion.
func (o *Output) AddFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.text, "output", "o", "table", "output format: "+strings.Join(ui.Formats(), ", "))
	// The flag was added just above, so the only error that this can give cannot happen.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(ui.Formats(), cobra.ShellCompDirectiveNoFileComp))
}

// Validate reads the flag's value.
func (o *Output) Validate() error {
	var err error
	o.Format, err = ui.ParseFormat(o.text)
	return err
}

// Selector is the flag -l.
type Selector struct{ text string }

// AddFlag adds -l to the command.
func (s *Selector) AddFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.text, "selector", "l", "", "label selector, as kubectl takes it (backup=hourly)")
}

// Filter gives the test of labels, nil without a selector.
func (s *Selector) Filter() (func(map[string]string) bool, error) {
	if s.text == "" {
		return nil, nil
	}
	selector, err := labels.Parse(s.text)
	if err != nil {
		return nil, &recovery.Problem{What: fmt.Sprintf("read the selector %q", s.text), Why: err.Error(), Next: "write it as -l key=value", Err: recovery.ErrUsage}
	}
	return func(set map[string]string) bool { return selector.Matches(labels.Set(set)) }, nil
}

// Complete makes a completion function of a lookup. A failed lookup completes nothing: a shell prompt
// is no place for an error.
func Complete(most int, lookup func(cmd *cobra.Command, args []string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := lookup(cmd, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// AddAllNamespaces adds -A, which reads span anyway: it takes back an -n of an alias or a script.
func AddAllNamespaces(cmd *cobra.Command, f *Factory) *bool {
	all := cmd.Flags().BoolP("all-namespaces", "A", false, "all namespaces; this is the default of everything that reads")
	previous := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *all && f.Settings.Namespace() != "" {
			return &recovery.Problem{What: "-A and -n exclude each other", Next: "give one of them", Err: recovery.ErrUsage}
		}
		if previous != nil {
			return previous(cmd, args)
		}
		return nil
	}
	return all
}
