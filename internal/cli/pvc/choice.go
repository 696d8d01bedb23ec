package pvccmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// choiceFlags are what files and extract have in common: which snapshot, and what of it.
type choiceFlags struct {
	query pvc.FilesQuery
	asOf  string
}

func (c *choiceFlags) add(cmd *cobra.Command, f *command.Factory) {
	flags := cmd.Flags()
	flags.StringVar(&c.query.Choice.SnapshotID, "snapshot", "", "ID of the snapshot, or its beginning (default: the newest complete one)")
	flags.StringVar(&c.asOf, "as-of", "", "the newest complete snapshot begun by then, RFC 3339 with zone: 2026-11-23T18:00:00Z")
	flags.IntVar(&c.query.Choice.Previous, "previous", 0, "go back by so many complete snapshots")
	cmd.Args = command.Arguments(cobra.RangeArgs(1, 2))
	cmd.ValidArgsFunction = command.Complete(1, func(cmd *cobra.Command, _ []string) ([]string, error) {
		return f.Wiring.Claims(cmd.Context(), f.Settings.Namespace())
	})
}

// complete reads arguments and flags.
func (c *choiceFlags) complete(f *command.Factory, args []string) error {
	c.query.Name, c.query.Namespace = args[0], f.Settings.Namespace()
	if len(args) > 1 {
		c.query.Path = args[1]
	}
	if err := checkName(c.query.Name); err != nil {
		return err
	}
	if _, err := pvc.CleanPath(c.query.Path); err != nil {
		return err
	}
	var err error
	if c.query.Choice.AsOf, err = parseAsOf(c.asOf); err != nil {
		return err
	}
	return c.query.Choice.Validate()
}

// checkName refuses what is neither NAMESPACE/PVC nor a source in Kopia's notation.
func checkName(name string) error {
	namespace, claim, found := strings.Cut(name, "/")
	if name == "" || found && !strings.Contains(name, "@") && (namespace == "" || claim == "" || strings.Contains(claim, "/")) {
		return &recovery.Problem{What: fmt.Sprintf("%q is no NAMESPACE/PVC", name), Next: "write it as karakeep/data-pvc", Err: recovery.ErrUsage}
	}
	return nil
}

// byClaim reports whether the name is one that the cluster may know.
func (c *choiceFlags) byClaim() bool { return !strings.Contains(c.query.Name, "@") }
