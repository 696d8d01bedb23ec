// Package restore runs the real drctl against claims on the whole lab: the API server, Kyverno's controllers
// with the platform's policies, VolSync's movers with the real Kopia, and an Argo CD that heals.
package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

// shared is the world of all tests of the package; it is started by the first one that needs it.
var shared struct { //nolint:gochecknoglobals // One world for all tests: it takes a minute to start.
	once    sync.Once
	stack   *lab.Stack
	dir     string
	world   *restoreworld.World
	program string
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.stack != nil {
		if err := shared.stack.Close(); err != nil {
			code = 1
		}
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// world gives the shared world.
func world(t *testing.T) *restoreworld.World {
	t.Helper()
	shared.once.Do(func() { shared.err = start() })
	require.NoError(t, shared.err)
	return shared.world
}

func start() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if shared.dir, err = os.MkdirTemp("", "drctl-restore-"); err != nil {
		return err
	}
	if shared.program, err = restoreworld.Build(ctx, shared.dir); err != nil {
		return err
	}
	shared.stack = lab.NewStack(filepath.Join(shared.dir, "lab"), func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err = os.MkdirAll(filepath.Join(shared.dir, "lab"), 0o755); err != nil {
		return err
	}
	shared.world, err = restoreworld.Up(ctx, shared.stack, restoreworld.Options{
		Interval: 500 * time.Millisecond, Program: shared.program, Users: []string{lab.ReaderUser, lab.NobodyUser},
	})
	return err
}

// attempt prepares one restore.
func attempt(t *testing.T, mode restoreworld.Mode) *restoreworld.Attempt {
	t.Helper()
	a, err := world(t).Attempt(t.Context(), mode)
	require.NoError(t, err)
	return a
}

// run runs drctl and gives what it said.
func run(t *testing.T, o interface {
	Run(ctx context.Context, args ...string) (lab.ProxiedRun, error)
}, args ...string) lab.ProxiedRun {
	t.Helper()
	got, err := o.Run(t.Context(), args...)
	require.NoError(t, err)
	t.Logf("drctl %v ended with %d\n%s%s", args, got.ExitCode, got.Stdout, got.Stderr)
	for _, secret := range world(t).Secrets() {
		require.NotContains(t, got.Stdout+got.Stderr, secret, "a secret is shown")
	}
	return got
}
