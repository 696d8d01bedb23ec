package recover

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// TestWithoutPush: the recovery goes as far as it can, and a second operator and another cluster are kept
// out meanwhile. What it printed to run is run, and the plan ends.
func TestWithoutPush(t *testing.T) {
	w, o, before := begin(t)
	done := make(chan lab.ProxiedRun)
	go func() {
		got, err := o.Run(context.WithoutCancel(t.Context()), "cnpg", "recover", "immich", "--yes")
		if err != nil {
			got.Stderr = err.Error()
		}
		done <- got
	}()
	id := waitLocked(t, w)
	requireSecondRefused(t, id)
	got := <-done
	t.Logf("%s%s", got.Stderr, got.Stdout)
	require.Equal(t, 4, got.ExitCode, got.Stderr)
	require.Equal(t, id, onlyPlan(t, o))
	push := regexp.MustCompile(`cd \S+ && git push \S+ \S+`).FindString(got.Stderr)
	require.NotEmpty(t, push, "it names the command to run")
	requireArgoRefused(t, w, before)

	other := otherCluster(t)
	refused := run(t, o.With("KUBECONFIG="+other), "resume")
	require.Equal(t, 1, refused.ExitCode)
	require.Contains(t, refused.Stderr, "--context")
	again := run(t, o, "resume")
	require.Equal(t, 4, again.ExitCode, "nothing was pushed yet")

	byHand := exec.CommandContext(t.Context(), "sh", "-c", push)
	out, err := byHand.CombinedOutput()
	require.NoError(t, err, string(out))
	resumed := run(t, o, "resume", id)
	require.Zero(t, resumed.ExitCode)
	requireRecovered(t, o, before)
	requireAtItsEnd(t, o)
}

// waitLocked waits until a plan has taken the lock and put its copy into the cluster, and gives its ID.
func waitLocked(t *testing.T, w *flipworld.World) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	id := ""
	require.Eventually(t, func() bool {
		copies, err := client.CoreV1().ConfigMaps(lab.RecoveryNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "drctl.dev/plan"})
		if err == nil && len(copies.Items) == 1 {
			id = copies.Items[0].Labels["drctl.dev/plan"]
		}
		return id != ""
	}, 2*time.Minute, 20*time.Millisecond)
	return id
}

// requireSecondRefused: another operator can begin no plan for the same database and go on with none by
// accident, and learns whose it is.
func requireSecondRefused(t *testing.T, id string) {
	t.Helper()
	second := operator(t)
	got := meanwhile(t, second, flipworld.Recover()...)
	require.NotZero(t, got.ExitCode)
	require.Contains(t, got.Stderr, id)
	require.Contains(t, got.Stderr, "by root@")
	require.Contains(t, got.Stderr, "--takeover")
	got = meanwhile(t, second, "resume", id)
	require.NotZero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "it may still be at work there")
	plans, err := second.Plans()
	require.NoError(t, err)
	require.Empty(t, plans)
}

// requireArgoRefused: Git on the remote names the old server, and CloudNativePG itself keeps Argo CD from
// bringing it back while the live object has bootstrap.recovery.
func requireArgoRefused(t *testing.T, w *flipworld.World, before *flipworld.State) {
	t.Helper()
	now := look(t, nil)
	require.Equal(t, "recovery", now.Bootstrap)
	require.Equal(t, nextServer(t, before.Server), now.Server)
	require.Equal(t, before.Rows, now.Rows, "applications have their rows already")
	require.Equal(t, before.Remote, now.Remote)
	path, err := filepath.Rel(w.GitOpsTree, filepath.Join(w.DatabaseFolder(), "cluster.yaml"))
	require.NoError(t, err)
	text, err := w.Remote.File(t.Context(), now.Remote, path)
	require.NoError(t, err)
	manifest := rendered(t, text)
	manifest.SetNamespace(lab.RecoveryNamespace)
	clusters, err := w.Clusters()
	require.NoError(t, err)
	_, err = clusters.Apply(t.Context(), lab.RecoveryCluster, manifest,
		metav1.ApplyOptions{FieldManager: lab.ArgoManager, Force: true, DryRun: []string{metav1.DryRunAll}})
	require.ErrorContains(t, err, "Only one bootstrap method can be specified at a time")
}

// otherCluster is the kubeconfig of a cluster that is not the world's.
func otherCluster(t *testing.T) string {
	t.Helper()
	other, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	return other.Kubeconfig
}
