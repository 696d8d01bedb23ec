package restore

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
	"github.com/drctl/drctl/internal/lab/rights"
)

// TestRights: the rights of docs/rbac-restore.yaml are enough for everything that restores and backs up, and all
// of them are needed.
func TestRights(t *testing.T) {
	w := world(t)
	apps := []*loneClaim{lone(t, "rights-late", lab.RestoreLateClass), loneOf(t, "StatefulSet", "rights-set"), loneOf(t, "DaemonSet", "rights-daemon")}
	apps[0].pendingJob(t)
	// Its Job's controller tries 31 and 63 s after the first refusal, the others' about 20 and 40 s after it.
	holds := []time.Duration{40 * time.Second, 20 * time.Second, 20 * time.Second}
	granted, err := rights.Grant(t.Context(), w.Kubernetes, "docs/rbac-restore.yaml", lab.NobodyUser)
	require.NoError(t, err)
	user, err := w.Kubernetes.RESTConfigFor(lab.NobodyUser)
	require.NoError(t, err)
	kubeconfig, err := w.Proxy.Kubeconfig(user)
	require.NoError(t, err)
	as := "KUBECONFIG=" + kubeconfig

	abortedAs(t, as, restoreworld.Replace, http.MethodDelete, "/persistentvolumeclaims/"+restoreworld.Claim)
	abortedAs(t, as, restoreworld.InPlace, http.MethodPost, "/replicationdestinations")
	unheardAs(t, as)
	second := takenOverAs(t, as)
	for _, mode := range []restoreworld.Mode{restoreworld.InPlace, restoreworld.Beside} {
		a := prepare(t, mode)
		require.Zero(t, run(t, a.With(as), a.Operation()...).ExitCode)
		require.NoError(t, a.Done(t.Context()))
	}
	require.NoError(t, w.Tidy(t.Context()))
	require.Zero(t, run(t, second, "pvc", "backup", target).ExitCode)
	require.Zero(t, run(t, second, "pvc", "restore", "-n", restoreworld.Namespace, "--dry-run").ExitCode)
	for i, app := range apps {
		require.Zero(t, app.longBehindFence(t, second, holds[i]).ExitCode)
		app.requireHeld(t, loneName, app.hash)
	}
	require.NoError(t, granted.Least(true))
}

// longBehindFence restores a claim so slowly that the pauses of the controllers have grown, which are held back:
// none of them would come back by itself in time.
func (c *loneClaim) longBehindFence(t *testing.T, o *restoreworld.Operator, hold time.Duration) lab.ProxiedRun {
	t.Helper()
	order(t, destinationKind, c.namespace, lab.OrderNotPopulated)
	r := launch(t, o, "pvc", "restore", c.name(), "--yes")
	r.says(t, "] create the claim")
	time.Sleep(hold)
	behave(t, destinationKind, c.namespace)
	return r.end(t)
}

// abortedAs begins a restore that is killed ahead of its point of no return, and undoes it.
func abortedAs(t *testing.T, as string, mode restoreworld.Mode, method string, path ...string) {
	t.Helper()
	a := prepare(t, mode)
	killedBefore(t, a.With(as), a.Operation(), method, path...)
	require.Zero(t, run(t, a.With(as), "abort").ExitCode)
	require.NoError(t, a.Untouched(t.Context()))
}

// unheardAs kills a drctl while its mover works. Nobody hears what the mover says, so it has to run once more.
func unheardAs(t *testing.T, as string) {
	t.Helper()
	a := prepare(t, restoreworld.Beside)
	order(t, destinationKind, restoreworld.Namespace, lab.OrderHang)
	r := launch(t, a.With(as), a.Operation()...)
	r.says(t, "] restore snapshot")
	require.NoError(t, r.cmd.Process.Kill())
	<-r.ended
	id := onlyPlan(t, a.Operator)
	behave(t, destinationKind, restoreworld.Namespace)
	_, err := world(t).WaitSynchronized(t.Context(), destinationKind, restoreworld.Namespace, id, id)
	require.NoError(t, err)
	require.Zero(t, run(t, a.With(as), "resume").ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// takenOverAs goes on from another computer with a restore whose claim is gone. Argo CD has given up by then, and
// leaves alone what else differs from Git.
func takenOverAs(t *testing.T, as string) *restoreworld.Operator {
	t.Helper()
	a := prepare(t, restoreworld.Replace)
	killedBefore(t, a.With(as), a.Operation(), http.MethodPost, "/namespaces/"+restoreworld.Namespace+"/persistentvolumeclaims")
	_, err := world(t).Argo.WaitFor(t.Context(), restoreworld.Application, func(s lab.ArgoState) bool { return s.Condition != "" })
	require.NoError(t, err)
	_, err = client(t).AppsV1().Deployments(restoreworld.Namespace).Patch(t.Context(), restoreworld.Deployment, types.StrategicMergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"notes","image":"registry.example.org/notes:drifted"}]}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	second := operator(t)
	t.Cleanup(func() { endPlans(t, second) })
	second = second.With(as)
	require.Zero(t, run(t, second, "plans").ExitCode)
	require.Zero(t, run(t, second, "resume", onlyPlan(t, a.Operator), "--takeover").ExitCode)
	require.NoError(t, a.Done(t.Context()))
	return second
}

// pendingJob is a Job whose Pod mounts the claim, and waits for another one that does not come.
func (c *loneClaim) pendingJob(t *testing.T) {
	t.Helper()
	job := c.job("waits")
	pod := &job.Spec.Template.Spec
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "more", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "not-there"},
	}})
	_, err := client(t).BatchV1().Jobs(c.namespace).Create(t.Context(), job, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		pods, err := client(t).CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=waits"})
		return err == nil && len(pods.Items) == 1
	}, time.Minute, 100*time.Millisecond)
}
