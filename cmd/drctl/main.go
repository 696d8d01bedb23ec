// Command drctl is the disaster-recovery tool of GitOps clusters. Installed as kubectl-dr it is a
// kubectl plugin as well.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/klog/v2"

	"github.com/drctl/drctl/internal/app"
	"github.com/drctl/drctl/internal/cli"
	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/launch"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// Set by the linker for releases: -X main.version=… and so on.
var version, commit, date = "", "", ""

func main() { os.Exit(run(os.Args)) }

// run returns the exit code. The first Ctrl-C cancels what is going on, the second ends the process.
func run(args []string) int {
	launch.Done()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	klog.LogToStderr(false)
	klog.SetOutput(discard{})

	streams := ui.SystemStreams(os.Getenv)
	settings := &command.Settings{Kube: genericclioptions.NewConfigFlags(true)}
	wiring := app.New(ctx, settings, streams, os.Getenv)
	factory := &command.Factory{Streams: streams, Settings: settings, Now: func() time.Time { return time.Now().UTC() }, Wiring: wiring}
	root := cli.NewRoot(factory, buildVersion(), strings.TrimSuffix(filepath.Base(args[0]), ".exe"))
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Canceled, err)
	}
	if settings.Verbosity > 0 {
		for _, line := range wiring.Account() {
			_, _ = fmt.Fprintln(streams.Err, line)
		}
	}
	report(streams, err)
	return command.ExitCode(err)
}

// report says how it ended, unless all has been said. What is partial and has words of its own, such as a restore
// that is not proven, says these.
func report(streams ui.Streams, err error) {
	var problem *recovery.Problem
	switch {
	case err == nil:
	case errors.Is(err, operation.ErrUnfinished):
		streams.Fail(err)
	case errors.Is(err, command.ErrFindings):
		_, _ = fmt.Fprintln(streams.Err, "Something is wrong, see above (exit code 5).")
	case errors.Is(err, context.Canceled):
		_, _ = fmt.Fprintln(streams.Err, "Cancelled; nothing was changed.")
	case errors.Is(err, recovery.ErrPartial) && !errors.As(err, &problem):
		_, _ = fmt.Fprintln(streams.Err, "Incomplete: what could be read is shown above, the warnings name the rest (exit code 3).")
	default:
		streams.Fail(err)
	}
}

// discard drops what client-go logs: drctl says itself what a person needs to know.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// buildVersion is what the linker set, else what Go recorded: `go install …@v1.2.3` has no linker flags.
func buildVersion() cli.Version {
	v := cli.Version{Version: version, Commit: commit, Date: date}
	info, ok := debug.ReadBuildInfo()
	if v.Version != "" || !ok {
		return v
	}
	v.Version = info.Main.Version
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.time":
			v.Date = setting.Value
		}
	}
	return v
}
