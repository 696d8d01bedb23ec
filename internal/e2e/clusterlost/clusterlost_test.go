package clusterlost

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/runbook"
)

// TestClusterLost is docs/runbooks/cluster-lost.md: there is nothing left but backups, Git and the Secrets in a safe.
func TestClusterLost(t *testing.T) {
	w := newWorld(t)
	_, err := w.WriteRows(t.Context(), 11) // these are in the WAL alone
	require.NoError(t, err)
	_, err = w.SwitchWAL(t.Context())
	require.NoError(t, err)
	hash, err := w.RowHash(t.Context(), lab.RecoveryDatabase, lab.RecoveryTable)
	require.NoError(t, err)
	w.anew(t)
	w.moveIn(t)

	opened, err := runbook.Open("cluster-lost.md")
	require.NoError(t, err)
	book := &book{opened, w}
	const bootstrap = "drctl bootstrap --gitops ~/src/platform --secrets ~/platform-secrets"
	book.step(t, bootstrap+" --check", "", 0)
	came := book.step(t, bootstrap, "lab", 3)
	require.Contains(t, came, "drctl cnpg recover immich-database -n cloudnative-pg --gitops")
	require.Contains(t, came, "1 restored from a backup")
	w.requireEmpty(t)
	w.requireRestored(t)
	book.step(t, "drctl cnpg recover immich --gitops ~/src/platform --push", lab.RecoveryCluster, 0)
	recovered, err := w.RowHash(t.Context(), lab.RecoveryDatabase, lab.RecoveryTable)
	require.NoError(t, err)
	require.Equal(t, hash, recovered)
	book.step(t, bootstrap, "", 0)
	book.step(t, "drctl pvc list", "", 0)
	book.step(t, "drctl plans", "", 0)
	require.NoError(t, opened.End())
}

// requireEmpty: the database is healthy, and holds nothing.
func (w *world) requireEmpty(t *testing.T) {
	t.Helper()
	require.NoError(t, w.WaitHealthy(t.Context(), lab.RecoveryCluster))
	tables, err := w.SQL(t.Context(), "select count(*) from pg_class where relname = '"+lab.RecoveryTable+"'")
	require.NoError(t, err)
	require.Equal(t, "0", tables)
}

// requireRestored: the claim of the application holds what its snapshot does.
func (w *world) requireRestored(t *testing.T) {
	t.Helper()
	volumes, err := w.Volumes(t.Context())
	require.NoError(t, err)
	for _, volume := range volumes {
		if volume.Claim != "notes/data" {
			continue
		}
		lines, err := lab.TreeLines(volume.Folder)
		require.NoError(t, err)
		files := 0
		for _, line := range lines {
			t.Log(line)
			if strings.Contains(line, " -rw") {
				files++
			}
		}
		require.Equal(t, snapshotFiles, files, "%s", lines)
		return
	}
	require.Fail(t, "claim notes/data has no volume")
}

// book is the runbook in the hands of the operator.
type book struct {
	*runbook.Book
	world *world
}

// step runs the next command, which must be the given one, on a terminal at which the operator types what is asked for.
// What the runbook shows of the output must come, and no secret.
func (b *book) step(t *testing.T, line, typed string, exitCode int) string {
	t.Helper()
	next, err := b.Next(line)
	require.NoError(t, err)
	cmd := b.AtTerminal(t.Context(), b.world.command(t.Context()), line, typed)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	t.Logf("%s: %d\n%s", line, cmd.ProcessState.ExitCode(), out.String())
	for _, secret := range b.world.secrets() {
		require.NotContains(t, out.String(), secret, "a secret is shown")
	}
	require.Equal(t, exitCode, cmd.ProcessState.ExitCode())
	require.NoError(t, next.Shown(out.String(), typed))
	return out.String()
}
