package clusterlost

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

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
	require.NoError(t, w.Lose())
	w.moveIn(t)

	opened, err := runbook.Open("cluster-lost.md")
	require.NoError(t, err)
	book := &book{opened, w}
	book.step(t, "drctl pvc list --offline --gitops ~/src/platform", "", 0)
	book.step(t, "drctl cnpg backups immich --offline --gitops ~/src/platform", "", 0)

	w.anew(t)
	const bootstrap = "drctl bootstrap --gitops ~/src/platform --secrets ~/platform-secrets"
	book.step(t, bootstrap+" --check", "", 0)
	w.requireUntouched(t)
	book.step(t, bootstrap, "lab", 3)
	w.requireEmpty(t)
	w.requireRestored(t)
	book.step(t, "drctl cnpg recover immich --gitops ~/src/platform --push", lab.RecoveryCluster, 0)
	recovered, err := w.RowHash(t.Context(), lab.RecoveryDatabase, lab.RecoveryTable)
	require.NoError(t, err)
	require.Equal(t, hash, recovered)
	book.step(t, bootstrap, "", 0)
	book.step(t, "drctl pvc list", "", 0)
	book.step(t, "drctl cnpg verify immich", "", 0)
	book.step(t, "drctl plans", "", 0)
	require.NoError(t, opened.End())
}

// requireUntouched: a look alone brings nothing.
func (w *world) requireUntouched(t *testing.T) {
	t.Helper()
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	for _, namespace := range []string{lab.ArgoNamespace, lab.RecoveryNamespace, "notes", "volsync-system"} {
		_, err := client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
		require.True(t, apierrors.IsNotFound(err), "namespace %s: %v", namespace, err)
	}
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
func (b *book) step(t *testing.T, line, typed string, exitCode int) {
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
	// In the runbook somebody is at home in /home/me.
	require.NoError(t, next.Shown(strings.ReplaceAll(out.String(), b.world.home, "/home/me"), typed))
}
