// Command drlab builds and starts drctl's lab for a person: `make lab`. Progress goes to standard
// error, and what to paste into a shell to standard output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/drctl/drctl/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "drlab:", err)
		os.Exit(1)
	}
}

const usage = `usage:
  drlab build [PART...]     build the lab's programs: %s
  drlab demo                show drctl's main job, and remove everything afterwards
  drlab up [-env FILE]      start the lab and keep it until Ctrl-C; FILE gets the variables to set
                            once everything runs`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	logf := func(format string, values ...any) { _, _ = fmt.Fprintf(stderr, format+"\n", values...) }
	if len(args) > 0 {
		switch args[0] {
		case "build":
			return build(ctx, args[1:], logf)
		case "demo":
			if len(args) == 1 {
				return runDemo(ctx, stdout, logf)
			}
		case "up":
			return up(ctx, args[1:], stdout, logf)
		}
	}
	return fmt.Errorf(usage, strings.Join(partNames(), ", "))
}

func partNames() []string {
	var names []string
	for _, part := range lab.Parts() {
		names = append(names, string(part))
	}
	return names
}

// build builds the named parts one after the other: each build uses all cores by itself.
func build(ctx context.Context, names []string, logf func(string, ...any)) error {
	if len(names) == 0 {
		names = partNames()
	}
	for i, name := range names {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part is called %q: there are %s", name, strings.Join(partNames(), ", "))
		}
		logf("part %d of %d: %s", i+1, len(names), name)
		path, err := lab.Build(ctx, lab.Part(name), logf)
		if err != nil {
			return err
		}
		logf("%s is %s", name, path)
	}
	return nil
}

func up(ctx context.Context, args []string, stdout io.Writer, logf func(string, ...any)) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	environmentFile := flags.String("env", "", "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return errors.Join(errors.New("up takes -env FILE and nothing else"), err)
	}
	dir, err := os.MkdirTemp("", "drctl-lab-")
	if err != nil {
		return err
	}
	stack := lab.NewStack(dir, logf)
	defer func() {
		logf("stopping the lab")
		err = errors.Join(err, stack.Close(), os.RemoveAll(dir))
	}()
	if err := build(ctx, nil, logf); err != nil {
		return err
	}
	logf("starting the lab in %s (about 15 s)", dir)
	l, err := lab.Up(ctx, stack, lab.UpOptions{Users: []string{lab.ReaderUser, lab.NobodyUser}})
	if err != nil {
		return err
	}
	if err := l.GrantRead(ctx, lab.ReaderUser); err != nil {
		return err
	}
	return present(ctx, l, *environmentFile, stdout, logf)
}

// present prints what a person pastes and tries, and waits for the end.
func present(ctx context.Context, l *lab.Lab, environmentFile string, stdout io.Writer, logf func(string, ...any)) error {
	var exports strings.Builder
	for _, variable := range l.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&exports, "export %s='%s'\n", name, value)
	}
	if environmentFile != "" {
		if err := os.WriteFile(environmentFile, []byte(exports.String()), 0o600); err != nil {
			return fmt.Errorf("write the variables: %w", err)
		}
	}
	reader, err := l.Kubernetes.KubeconfigFor(lab.ReaderUser)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, guide, l, exports.String(), reader); err != nil {
		return err
	}
	<-ctx.Done()
	logf("")
	return nil
}

const guide = `
The lab is up.

%s
Paste this into another shell (the values are worth nothing outside of the lab):

%s
and try:

  drctl pvc list
  drctl pvc snapshots karakeep/data-pvc
  drctl cnpg list
  drctl cnpg backups immich
  drctl pvc list --offline                 # the same from the GitOps tree, as if the cluster were gone
  drctl cnpg backups immich --offline
  drctl pvc list --kubeconfig %s   # with the rights of docs/rbac-read.yaml alone

Ctrl-C stops everything.
`
