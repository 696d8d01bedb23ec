package recover

import (
	"net/http"
	"testing"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// killedAt runs a recovery that is killed before its first request of that kind.
func killedAt(t *testing.T, o *flipworld.Operator, method string, path ...string) {
	t.Helper()
	kill := lab.Kill{N: 1, When: lab.Before, Match: func(r lab.ProxyRequest) bool {
		return r.Mutating && lab.MatchPath(lab.TargetAPI, method, path...)(r)
	}}
	got, err := lab.RunKilled(t.Context(), world(t).Proxy, o.Command(t.Context(), flipworld.Recover()...), kill)
	require.NoError(t, err)
	require.True(t, got.Killed, "it ended with %d:\n%s", got.ExitCode, got.Stderr)
	requireNoSecret(t, o, got.Stdout+got.Stderr)
}

// TestTakeOver: the computer that began is gone; another person goes on from the copy in the cluster. Both
// have the rights of docs/rbac-recover.yaml and nothing else, and need all of them.
func TestTakeOver(t *testing.T) {
	owned(t)
	w, o, before := begin(t)
	rights := grantRecover(t, w)
	first := o.With(rights.environment...)
	killedAt(t, first, http.MethodDelete, "/clusters/"+lab.RecoveryCluster)
	id := onlyPlan(t, o)

	second := operator(t).With(rights.environment...)
	got := run(t, second, "plans")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, id)
	require.Contains(t, got.Stdout, "elsewhere")
	got = run(t, second, "resume", id)
	require.NotZero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "drctl resume "+id+" --takeover")
	got = run(t, second, "resume", id, "--takeover")
	require.Zero(t, got.ExitCode)
	after := requireRecovered(t, second, before)
	requireProvenByPlan(t, second)

	late := run(t, first, "resume")
	require.NotZero(t, late.ExitCode, "it cannot know by itself how the other one ended")
	require.Contains(t, late.Stderr, "finished or aborted on another computer")
	unharmed := look(t, second)
	require.Equal(t, after, unharmed)

	abortedUnder(t, rights)
	rights.requireLeast(t)
}

// owned gives the generated password back to the Cluster: an earlier recovery has taken it out of its
// ownership, and so had nothing left to do for it.
func owned(t *testing.T) {
	t.Helper()
	w := world(t)
	require.NoError(t, w.WaitHealthy(t.Context(), lab.RecoveryCluster))
	cluster, err := w.Cluster(t.Context(), lab.RecoveryCluster)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	secret, err := client.CoreV1().Secrets(lab.RecoveryNamespace).Get(t.Context(), lab.RecoveryCluster+"-superuser", metav1.GetOptions{})
	require.NoError(t, err)
	secret.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cluster, apiv1.SchemeGroupVersion.WithKind(apiv1.ClusterKind))}
	_, err = client.CoreV1().Secrets(lab.RecoveryNamespace).Update(t.Context(), secret, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// abortedUnder begins one more recovery, up to its point of no return, and undoes it.
func abortedUnder(t *testing.T, rights *grantedRights) {
	t.Helper()
	_, o, before := begin(t)
	o = o.With(rights.environment...)
	killedAt(t, o, http.MethodDelete, "/clusters/"+lab.RecoveryCluster)
	got := run(t, o, "abort")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, "everything is as it was")
	require.NoError(t, before.Untouched(look(t, o)))
	got = run(t, o, "cnpg", "revert", "immich", "--yes")
	require.Equal(t, 1, got.ExitCode, "it was handed back by the plan that recovered it")
}
