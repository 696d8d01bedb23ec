// Package recover runs the real drctl binary through whole recoveries: the real CloudNativePG operator,
// real PostgreSQL and Barman, a Git remote, and Argo CD's stand-in.
package recover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// shared is one world for all tests of the package: each leaves the database healthy and handed back, and
// so ready for the next recovery.
var shared struct {
	once  sync.Once
	stack *lab.Stack
	dir   string
	// program is drctl, alone in a folder for PATH.
	program string
	world   *flipworld.World
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.stack != nil {
		if err := errors.Join(shared.stack.Close(), os.RemoveAll(shared.dir)); err != nil {
			fmt.Fprintln(os.Stderr, "close the world:", err)
		}
	}
	os.Exit(code)
}

func world(t *testing.T) *flipworld.World {
	t.Helper()
	shared.once.Do(func() {
		ctx := context.WithoutCancel(t.Context())
		if shared.dir, shared.err = os.MkdirTemp("", "drctl-recover-"); shared.err != nil {
			return
		}
		if shared.program, shared.err = build(ctx, filepath.Join(shared.dir, "bin", "drctl")); shared.err != nil {
			return
		}
		shared.stack = lab.NewStack(shared.dir, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
		shared.world, shared.err = flipworld.Up(ctx, shared.stack, flipworld.Options{Interval: 500 * time.Millisecond, Program: shared.program})
	})
	require.NoError(t, shared.err)
	return shared.world
}

func build(ctx context.Context, program string) (string, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./cmd/drctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return program, nil
}

// begin makes the world ready for a recovery: all that earlier ones left on purpose is removed, rows that
// nobody saw before are archived, and Argo CD is at rest. It gives a new operator, and how all was.
func begin(t *testing.T) (*flipworld.World, *flipworld.Operator, *flipworld.State) {
	t.Helper()
	w := world(t)
	require.NoError(t, w.Tidy(t.Context()))
	require.NoError(t, w.WaitHealthy(t.Context(), lab.RecoveryCluster))
	_, err := w.WriteRows(t.Context(), 11)
	require.NoError(t, err)
	_, err = w.SwitchWAL(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Settled(t.Context()))
	o := operator(t)
	return w, o, look(t, o)
}

// operator is somebody at a computer on which drctl was never run.
func operator(t *testing.T) *flipworld.Operator {
	t.Helper()
	o, err := world(t).NewOperator(t.Context())
	require.NoError(t, err)
	return o
}

func look(t *testing.T, o *flipworld.Operator) *flipworld.State {
	t.Helper()
	state, err := world(t).Look(t.Context(), o)
	require.NoError(t, err)
	return state
}

// run runs drctl through the proxy. No secret of the lab may stand in what it prints and leaves behind.
func run(t *testing.T, o *flipworld.Operator, args ...string) lab.ProxiedRun {
	t.Helper()
	got, err := o.Run(t.Context(), args...)
	require.NoError(t, err)
	t.Logf("drctl %s: %d\n%s%s", strings.Join(args, " "), got.ExitCode, got.Stderr, got.Stdout)
	requireNoSecret(t, o, got.Stdout+got.Stderr)
	return got
}

// meanwhile runs drctl while another one runs, whose requests the proxy goes on recording.
func meanwhile(t *testing.T, o *flipworld.Operator, args ...string) lab.ProxiedRun {
	t.Helper()
	return finish(t, o, o.Command(t.Context(), args...))
}

func finish(t *testing.T, o *flipworld.Operator, cmd *exec.Cmd) lab.ProxiedRun {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	got := lab.ProxiedRun{ExitCode: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	t.Logf("%s: %d\n%s%s", strings.Join(cmd.Args, " "), got.ExitCode, got.Stderr, got.Stdout)
	requireNoSecret(t, o, got.Stdout+got.Stderr)
	return got
}

// requireNoSecret looks for the lab's secrets in what was printed and in every file below the operator's
// home, plans and journals included. The checkout holds Secrets by itself.
func requireNoSecret(t *testing.T, o *flipworld.Operator, printed string) {
	t.Helper()
	secrets := world(t).Secrets()
	for _, secret := range secrets {
		require.NotContains(t, printed, secret, "a secret of the lab shows")
	}
	require.NoError(t, filepath.WalkDir(o.Home, func(path string, entry fs.DirEntry, err error) error {
		if path == o.Tree {
			return fs.SkipDir
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, secret := range secrets {
			require.False(t, bytes.Contains(content, []byte(secret)), "a secret of the lab stands in %s", path)
		}
		return err
	}))
}

// requireRecovered asks the oracle, and that the new server is the one behind the old one.
func requireRecovered(t *testing.T, o *flipworld.Operator, before *flipworld.State) *flipworld.State {
	t.Helper()
	after := look(t, o)
	require.NoError(t, before.Recovered(after))
	require.Equal(t, nextServer(t, before.Server), after.Server)
	state, err := world(t).Argo.State(t.Context(), flipworld.Application)
	require.NoError(t, err)
	require.Equal(t, []string{"Synced", "Healthy", after.Remote}, []string{state.Sync, state.Health, state.Revision})
	return after
}

// nextServer is immich-database-v3 for immich-database-v2.
func nextServer(t *testing.T, server string) string {
	t.Helper()
	name, number, found := strings.Cut(server, "-v")
	require.True(t, found, server)
	n, err := strconv.Atoi(number)
	require.NoError(t, err)
	return fmt.Sprintf("%s-v%d", name, n+1)
}

// onlyPlan is the ID of the one plan on the operator's computer.
func onlyPlan(t *testing.T, o *flipworld.Operator) string {
	t.Helper()
	plans, err := o.Plans()
	require.NoError(t, err)
	require.Len(t, plans, 1)
	return plans[0]
}
