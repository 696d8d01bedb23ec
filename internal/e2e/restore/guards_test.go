package restore

import (
	"context"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

// TestCtrlC leaves a plan, which is gone on with.
func TestCtrlC(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	order(t, destinationKind, restoreworld.Namespace, lab.OrderHang)
	r := launch(t, a.Operator, a.Operation()...)
	r.says(t, "] restore snapshot")
	require.NoError(t, r.cmd.Process.Signal(os.Interrupt))
	got := r.end(t)
	require.Equal(t, 4, got.ExitCode)
	id := onlyPlan(t, a.Operator)
	require.Contains(t, got.Stderr, "drctl resume "+id+", or drctl abort "+id)
	behave(t, destinationKind, restoreworld.Namespace)
	got = run(t, a, "resume")
	require.Zero(t, got.ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// TestAbort takes a restore back whose claim was about to be deleted.
func TestAbort(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	killedBefore(t, a.Operator, a.Operation(), http.MethodDelete, "/persistentvolumeclaims/"+restoreworld.Claim)
	got := run(t, a, "abort")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, "everything is as it was")
	require.NoError(t, a.Untouched(t.Context()))
}

// TestTakeOver: the computer that began is gone, another one goes on from the copy in the cluster.
func TestTakeOver(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	killedBefore(t, a.Operator, a.Operation(), http.MethodDelete, "/persistentvolumeclaims/"+restoreworld.Claim)
	id := onlyPlan(t, a.Operator)
	second := operator(t)
	t.Cleanup(func() { endPlans(t, second) })
	got := run(t, second, "plans")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, id)
	require.Contains(t, got.Stdout, "elsewhere")
	got = run(t, second, "resume", id)
	require.NotZero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "drctl resume "+id+" --takeover")
	got = run(t, second, "resume", id, "--takeover")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, a.Backup.ID)
	require.NoError(t, a.Done(t.Context()))
	got = run(t, a, "resume")
	require.NotZero(t, got.ExitCode, "it cannot know by itself how the other one ended")
	require.NoError(t, a.Done(t.Context()))
}

// TestSecondOperator is refused while the first one is at the claim, whatever he wants to do with it.
func TestSecondOperator(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	order(t, destinationKind, restoreworld.Namespace, lab.OrderHang)
	first := launch(t, a.Operator, a.Operation()...)
	first.says(t, "] restore snapshot")
	id := onlyPlan(t, a.Operator)
	second := operator(t)
	for _, mode := range []restoreworld.Mode{restoreworld.Replace, restoreworld.InPlace} {
		got := meanwhile(t, second, mode.Args()...)
		require.Equal(t, 4, got.ExitCode, "there is an unfinished plan")
		require.Contains(t, got.Stderr, id)
		require.Contains(t, got.Stderr, "drctl resume "+id+" --takeover")
	}
	plans, err := second.Plans()
	require.NoError(t, err)
	require.Empty(t, plans)
	behave(t, destinationKind, restoreworld.Namespace)
	require.Zero(t, first.end(t).ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// TestPlumberDown: the platform admits no claim, so nothing is begun.
func TestPlumberDown(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	w := world(t)
	require.NoError(t, w.Plumber.Stop())
	t.Cleanup(func() { require.NoError(t, w.Plumber.Start(context.WithoutCancel(t.Context()))) })
	got := run(t, a, a.Operation()...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "PVC Plumber does not answer")
	require.Contains(t, got.Stderr, "bring PVC Plumber back first")
	require.NoError(t, w.Plumber.Start(t.Context()))
	require.NoError(t, a.Untouched(t.Context()))
}

// TestDryRun of each mode shows the plan and changes no object, not even for a moment.
func TestDryRun(t *testing.T) {
	a := prepare(t, restoreworld.Replace)
	before := versions(t)
	for _, mode := range restoreworld.Modes() {
		got := run(t, a, mode.Args("--dry-run")...)
		require.Zero(t, got.ExitCode)
		require.Contains(t, got.Stdout, "Nothing was changed")
		require.Contains(t, got.Stdout, a.Backup.ID)
		require.Empty(t, world(t).Proxy.Mutations())
	}
	got := run(t, a, "pvc", "backup", target, "--dry-run")
	require.Zero(t, got.ExitCode)
	require.Empty(t, world(t).Proxy.Mutations())
	require.Equal(t, before, versions(t))
	plans, err := a.Plans()
	require.NoError(t, err)
	require.Empty(t, plans)
	require.NoError(t, a.Untouched(t.Context()))
}

// versions are the versions of all objects that a restore might touch.
func versions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for group, resources := range map[schema.GroupVersion][]string{
		{Version: "v1"}:                                   {"persistentvolumeclaims", "pods", "secrets", "configmaps"},
		{Group: "apps", Version: "v1"}:                    {"deployments", "replicasets"},
		{Group: "batch", Version: "v1"}:                   {"jobs"},
		{Group: "volsync.backube", Version: "v1alpha1"}:   {"replicationdestinations", "replicationsources"},
		{Group: "snapshot.storage.k8s.io", Version: "v1"}: {"volumesnapshots"},
		{Group: "coordination.k8s.io", Version: "v1"}:     {"leases"},
	} {
		for _, resource := range resources {
			list, err := untyped(t).Resource(group.WithResource(resource)).Namespace(restoreworld.Namespace).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			for _, object := range list.Items {
				found[resource+" "+object.GetName()] = string(object.GetUID()) + " " + object.GetResourceVersion()
			}
		}
	}
	volumes, err := client(t).CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, volume := range volumes.Items {
		found["volume "+volume.Name] = volume.ResourceVersion
	}
	return found
}
