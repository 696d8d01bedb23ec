package recover

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab/flipworld"
	"github.com/drctl/drctl/internal/lab/runbook"
)

// book is a runbook in the hands of an operator, with the platform's checkout in ~/src/platform.
type book struct {
	*runbook.Book
	operator *flipworld.Operator
}

func openRunbook(t *testing.T, name string, o *flipworld.Operator, replace ...string) *book {
	t.Helper()
	opened, err := runbook.Open(name, replace...)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(o.Home, "src"), 0o700))
	require.NoError(t, os.Symlink(o.Tree, filepath.Join(o.Home, "src", "platform")))
	return &book{opened, o}
}

// step runs the next command, which must be the given one, on a terminal at which the operator types what
// is asked for. What the runbook shows of the output must come.
func (b *book) step(t *testing.T, line, typed string) string {
	t.Helper()
	next, err := b.Next(line)
	require.NoError(t, err)
	cmd := b.AtTerminal(t.Context(), b.operator.Command(t.Context()), line, typed)
	world(t).Proxy.Reset()
	got := finish(t, b.operator, cmd)
	require.Zero(t, got.ExitCode)
	require.NoError(t, next.Shown(got.Stdout, typed))
	return got.Stdout
}

// requireAtEnd: every command of the runbook was run.
func (b *book) requireAtEnd(t *testing.T) {
	t.Helper()
	require.NoError(t, b.End())
}
