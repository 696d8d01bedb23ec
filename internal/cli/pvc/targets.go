package pvccmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// targets says which claims a command is for: names, "-" for names on stdin, or all that a namespace or a
// selector picks.
type targets struct {
	factory  *command.Factory
	names    []string
	all      *bool
	selector command.Selector
	labels   func(map[string]string) bool
}

func (t *targets) add(cmd *cobra.Command, f *command.Factory) {
	t.factory = f
	t.selector.AddFlag(cmd)
	t.all = command.AddAllNamespaces(cmd, f)
	cmd.Flags().Lookup("all-namespaces").Usage = "every claim with a backup label, in all namespaces"
	cmd.ValidArgsFunction = command.Complete(100, func(cmd *cobra.Command, _ []string) ([]string, error) {
		return f.Wiring.Claims(cmd.Context(), f.Settings.Namespace())
	})
}

// complete reads names and flags; it asks nobody but stdin.
func (t *targets) complete(args []string) error {
	var err error
	if t.labels, err = t.selector.Filter(); err != nil {
		return err
	}
	if slices.Equal(args, []string{"-"}) {
		if args, err = readNames(t.factory.Streams.In); err != nil {
			return err
		}
	}
	for _, name := range args {
		if err := checkName(name); err != nil {
			return err
		}
		if strings.Contains(name, "@") {
			return &recovery.Problem{What: name + " is no claim", Next: "give NAMESPACE/PVC, and the source of its data with --from", Err: recovery.ErrUsage}
		}
	}
	t.names = args
	bulk := *t.all || t.labels != nil || t.factory.Settings.Namespace() != ""
	switch {
	case len(args) > 0 && (*t.all || t.labels != nil):
		return &recovery.Problem{What: "names and -A or -l exclude each other", Next: "give one of them", Err: recovery.ErrUsage}
	case len(args) == 0 && !bulk:
		return &recovery.Problem{What: "no claim is named", Next: "give NAMESPACE/PVC, or -n, -A or -l for many", Err: recovery.ErrUsage}
	}
	return nil
}

// one is the single name that was given, if it needs no lookup.
func (t *targets) single() bool { return len(t.names) == 1 }

func readNames(in io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" && !strings.HasPrefix(name, "#") {
			names = append(names, strings.TrimPrefix(name, "persistentvolumeclaim/"))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read names from standard input: %w", err)
	}
	if len(names) == 0 {
		return nil, &recovery.Problem{What: "standard input names no claim", Next: "give one NAMESPACE/PVC a line", Err: recovery.ErrUsage}
	}
	return names, nil
}

// claimName is NAMESPACE and NAME.
type claimName struct{ namespace, name string }

// find gives the claims, in the order in which they were named.
func (t *targets) find(ctx context.Context, inventory pvc.Inventory) ([]claimName, error) {
	namespace := t.factory.Settings.Namespace()
	var found []claimName
	if len(t.names) > 0 {
		for _, name := range t.names {
			claim, err := lookUp(ctx, inventory, namespace, name)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(found, claim) {
				found = append(found, claim)
			}
		}
		return found, nil
	}
	claims, gaps, err := inventory.Claims(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if len(gaps) > 0 {
		// A claim that is overlooked here would be believed to be restored.
		return nil, gaps[0]
	}
	for _, claim := range claims {
		if claim.Backup == "" || claim.CNPGCluster != "" || (t.labels != nil && !t.labels(claim.Labels)) {
			continue
		}
		found = append(found, claimName{claim.Namespace, claim.Name})
	}
	if len(found) == 0 {
		return nil, &recovery.Problem{What: "no claim with a backup label is picked", Next: "see drctl pvc list", Err: recovery.ErrNotFound}
	}
	return found, nil
}

// lookUp finds the namespace of a bare name; NAMESPACE/PVC needs nobody's answer, since the claim may be gone.
func lookUp(ctx context.Context, inventory pvc.Inventory, namespace, name string) (claimName, error) {
	if before, after, cut := strings.Cut(name, "/"); cut {
		if namespace != "" && namespace != before {
			return claimName{}, &recovery.Problem{What: fmt.Sprintf("-n %s and %s name two namespaces", namespace, name), Next: "give one of them", Err: recovery.ErrUsage}
		}
		return claimName{before, after}, nil
	}
	if namespace != "" {
		return claimName{namespace, name}, nil
	}
	claims, _, err := inventory.Claims(ctx, "")
	if err != nil {
		return claimName{}, err
	}
	var places []string
	for _, claim := range claims {
		if claim.Name == name {
			places = append(places, claim.Namespace+"/"+claim.Name)
		}
	}
	switch len(places) {
	case 1:
		before, after, _ := strings.Cut(places[0], "/")
		return claimName{before, after}, nil
	case 0:
		return claimName{}, &recovery.Problem{What: "no claim is called " + name, Next: "see drctl pvc list; one that is gone is named NAMESPACE/PVC", Err: recovery.ErrNotFound}
	}
	return claimName{}, &recovery.Problem{What: fmt.Sprintf("%d claims are called %s", len(places), name), Why: strings.Join(places, ", "), Next: "name one of them", Err: recovery.ErrUsage}
}
