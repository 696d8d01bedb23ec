// Package recover runs the real drctl binary through whole recoveries: the real CloudNativePG operator,
// real PostgreSQL and Barman, a Git remote, and Argo CD's stand-in.
package recover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// shared is one world for all tests of the package: each leaves the database recovered, and so ready for
// the next recovery.
var shared struct {
	once  sync.Once
	stack *lab.Stack
	dir   string
	world *flipworld.World
	err   error
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
		program := filepath.Join(shared.dir, "drctl")
		root, err := lab.ModuleRoot()
		if err != nil {
			shared.err = err
			return
		}
		build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/drctl")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			shared.err = errors.Join(err, errors.New(string(out)))
			return
		}
		shared.stack = lab.NewStack(shared.dir, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
		shared.world, shared.err = flipworld.Up(ctx, shared.stack, flipworld.Options{Interval: 500 * time.Millisecond, Program: program})
	})
	require.NoError(t, shared.err)
	return shared.world
}

func TestRecover(t *testing.T) {
	w := world(t)
	o, err := w.NewOperator(t.Context())
	require.NoError(t, err)
	begin := time.Now()
	run, err := o.Run(t.Context(), flipworld.Recover()...)
	require.NoError(t, err)
	t.Logf("took %s\n%s\n%s", time.Since(begin), run.Stderr, run.Stdout)
	for _, r := range w.Proxy.Mutations() {
		t.Log(r)
	}
	require.Zero(t, run.ExitCode)
}
