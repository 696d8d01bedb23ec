package lab_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
)

// TestTheHandProcedureFailsTwice runs the recovery flip as it is documented for people:
//
//	kubectl delete cluster immich-database -n cloudnative-pg --wait=false; sleep 15; kubectl create -f recovery.yaml
//
// The first part loses the race against self-heal, and its last step (Argo CD takes over again) is
// refused. Both are why drctl exists; the second is also what protects a recovered database.
func TestTheHandProcedureFailsTwice(t *testing.T) {
	f := startArgo(t)
	f.waitSynced(t)
	t.Run("the race is lost", func(t *testing.T) { raceIsLost(t, f) })
	t.Run("Argo CD is refused", func(t *testing.T) { argoIsRefused(t, f) })
}

func raceIsLost(t *testing.T, f *argoFixture) {
	old := f.cluster(t)
	recovery := recoveryOf(t, old)
	background := metav1.DeletePropagationBackground
	begin := time.Now()
	require.NoError(t, f.clusters.Delete(t.Context(), immichApp, metav1.DeleteOptions{PropagationPolicy: &background}))
	// The documented 15 s are for the old Cluster to go. As long as Argo CD needs is enough to lose.
	require.Eventually(t, func() bool {
		live, err := f.clusters.Get(t.Context(), immichApp, metav1.GetOptions{})
		return err == nil && live.GetUID() != old.GetUID()
	}, 15*time.Second, 10*time.Millisecond)
	t.Logf("the race was lost after %s of the documented 15 s", time.Since(begin).Round(time.Millisecond))
	_, err := f.clusters.Create(t.Context(), recovery, metav1.CreateOptions{FieldManager: "kubectl-create"})
	require.True(t, apierrors.IsAlreadyExists(err), "%v", err)
	live := f.cluster(t)
	bootstrap := bootstrapOf(t, live)
	require.Contains(t, bootstrap, "initdb", "an empty database is made")
	require.NotContains(t, bootstrap, "recovery")
}

func argoIsRefused(t *testing.T, f *argoFixture) {
	f.waitSynced(t)
	f.replaceByRecovery(t)
	state := f.waitFor(t, func(s lab.ArgoState) bool { return s.Phase == "Failed" })
	require.Contains(t, state.Message, "Only one bootstrap method can be specified at a time")
	live := f.cluster(t)
	bootstrap := bootstrapOf(t, live)
	require.Contains(t, bootstrap, "recovery")
	require.NotContains(t, bootstrap, "initdb")
	require.Len(t, live.GetManagedFields(), 1)
	require.Equal(t, "kubectl-create", live.GetManagedFields()[0].Manager, "nothing of Git's manifest arrived, the old server name neither")
	require.NotEmpty(t, f.argo.EventsOf(lab.ArgoAttemptFailed))
}
