package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
	"github.com/drctl/drctl/internal/lab/runbook"
)

// book is a runbook in the hands of an operator.
type book struct {
	*runbook.Book
	operator *restoreworld.Operator
}

func openRunbook(t *testing.T, name string, o *restoreworld.Operator, replace ...string) *book {
	t.Helper()
	opened, err := runbook.Open(name, replace...)
	require.NoError(t, err)
	return &book{opened, o}
}

// step runs the next command, which must be the given one, on a terminal at which the operator types what is
// asked for. What the runbook shows of the output must come.
func (b *book) step(t *testing.T, line, typed string, exitCode int) lab.ProxiedRun {
	t.Helper()
	next, err := b.Next(line)
	require.NoError(t, err)
	got, err := lab.RunClean(t.Context(), world(t).Proxy, b.AtTerminal(t.Context(), b.operator.Command(t.Context()), line, typed))
	require.NoError(t, err)
	t.Logf("%s: %d\n%s", line, got.ExitCode, got.Stdout)
	for _, secret := range world(t).Secrets() {
		require.NotContains(t, got.Stdout, secret, "a secret is shown")
	}
	require.Equal(t, exitCode, got.ExitCode)
	require.NoError(t, next.Shown(got.Stdout, typed))
	return got
}

// requireAtEnd: every command of the runbook was run.
func (b *book) requireAtEnd(t *testing.T) {
	t.Helper()
	require.NoError(t, b.End())
}

// TestPVCLost is docs/runbooks/pvc-lost.md: what the volume held is gone, and other files stand there.
func TestPVCLost(t *testing.T) {
	a := attempt(t, restoreworld.Replace)
	book := openRunbook(t, "pvc-lost.md", a.Operator)
	book.step(t, "drctl pvc snapshots notes/data", "", 0)
	book.step(t, "drctl pvc restore notes/data --dry-run", "", 0)
	require.Empty(t, world(t).Proxy.Mutations())
	book.step(t, "drctl pvc restore notes/data", "data", 0)
	require.NoError(t, a.Done(t.Context()))
	book.step(t, "drctl pvc snapshots notes/data", "", 0)
	book.step(t, "drctl plans", "", 0)
	book.requireAtEnd(t)
}

// TestPVCWrongData is docs/runbooks/pvc-wrong-data.md: the newest backup has the damage in it.
func TestPVCWrongData(t *testing.T) {
	w, a := world(t), attempt(t, restoreworld.InPlace)
	_, err := w.Backup(t.Context(), restoreworld.Namespace, restoreworld.Claim)
	require.NoError(t, err)
	begun, err := time.Parse(time.RFC3339Nano, a.Backup.StartTime)
	require.NoError(t, err)
	book := openRunbook(t, "pvc-wrong-data.md", a.Operator, "2026-11-24T10:53:00Z", begun.Add(time.Millisecond).UTC().Format(time.RFC3339Nano))
	const moment = " --as-of 2026-11-24T10:53:00Z"
	book.step(t, "drctl pvc snapshots notes/data", "", 0)
	book.step(t, "drctl pvc files notes/data"+moment, "", 0)
	book.step(t, "drctl pvc extract notes/data plain.txt"+moment+" --output-dir rescue", "", 0)
	require.Empty(t, w.Proxy.Mutations())
	book.step(t, "drctl pvc restore notes/data"+moment+" --new-name "+restoreworld.Copy, "data", 0)
	hash, err := w.ClaimHash(t.Context(), restoreworld.Namespace, restoreworld.Copy)
	require.NoError(t, err)
	require.Equal(t, a.Hash, hash)
	requireSameFile(t, w, filepath.Join(a.Home, "rescue", "plain.txt"), "plain.txt")
	deleteCopy(t)
	book.step(t, "drctl pvc restore notes/data"+moment+" --mode in-place", "data", 0)
	require.NoError(t, a.Done(t.Context()))
	book.step(t, "drctl plans", "", 0)
	book.requireAtEnd(t)
}

// requireSameFile: what was extracted is what the copy holds.
func requireSameFile(t *testing.T, w *restoreworld.World, path, name string) {
	t.Helper()
	folder, err := w.WaitBound(t.Context(), restoreworld.Namespace, restoreworld.Copy)
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join(folder, name))
	require.NoError(t, err)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// deleteCopy is the runbook's kubectl delete.
func deleteCopy(t *testing.T) {
	t.Helper()
	claims := client(t).CoreV1().PersistentVolumeClaims(restoreworld.Namespace)
	require.NoError(t, claims.Delete(t.Context(), restoreworld.Copy, metav1.DeleteOptions{}))
}

// protectOnly takes the backup label off the claims of all other namespaces: what other tests of this world made
// is not meant by "all that are protected".
func protectOnly(t *testing.T, namespaces ...string) {
	t.Helper()
	all, err := client(t).CoreV1().PersistentVolumeClaims("").List(t.Context(), metav1.ListOptions{LabelSelector: "backup"})
	require.NoError(t, err)
	for _, claim := range all.Items {
		if slices.Contains(namespaces, claim.Namespace) {
			continue
		}
		_, err := client(t).CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(t.Context(), claim.Name, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"backup":null}}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
}

// TestManyPVCsLost is docs/runbooks/many-pvcs-lost.md: three applications, and a mover that hangs.
func TestManyPVCsLost(t *testing.T) {
	w, a := world(t), attempt(t, restoreworld.Replace)
	hashes := map[string]string{}
	for _, name := range []string{"photos", "wiki"} {
		hash, err := w.AddApplication(t.Context(), name)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, w.RemoveApplication(context.WithoutCancel(t.Context()), name)) })
		require.NoError(t, w.Spoil(t.Context(), name))
		hashes[name] = hash
	}
	protectOnly(t, restoreworld.Namespace, "photos", "wiki")
	obey(t, w, "photos", lab.OrderHang)
	t.Cleanup(func() { obey(t, w, "photos", "") })
	book := openRunbook(t, "many-pvcs-lost.md", a.Operator, "--timeout 1h", "--timeout 2m") // a busy machine's movers take their time
	book.step(t, "drctl pvc list", "", 0)
	book.step(t, "drctl pvc restore -A --dry-run", "", 0)
	require.Empty(t, w.Proxy.Mutations())
	book.step(t, "drctl pvc restore -A --parallel 20 --timeout 1h", fmt.Sprintf("restore-%d", 1+len(hashes)), 4)
	obey(t, w, "photos", "")
	plans := book.step(t, "drctl plans", "", 0)
	require.Contains(t, plans.Stdout, "photos/data")
	require.NotContains(t, plans.Stdout, "wiki/data", "the others were not held up")
	book.step(t, "drctl resume", "", 0)
	book.step(t, "drctl plans", "", 0)
	book.requireAtEnd(t)
	require.NoError(t, a.Done(t.Context()))
	for name, want := range hashes {
		hash, err := w.ClaimHash(t.Context(), name, restoreworld.Claim)
		require.NoError(t, err)
		require.Equal(t, want, hash, name)
	}
}

// obey gives the movers that restore in a namespace an order.
func obey(t *testing.T, w *restoreworld.World, namespace string, order lab.Order) {
	t.Helper()
	require.NoError(t, w.VolSync.Order("ReplicationDestination", namespace, lab.AnyName, order))
}
