package recover

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// TestLost is docs/runbooks/database-lost.md: somebody deleted the Cluster with its volumes, and Argo CD
// made an empty one in its place, which calls itself healthy.
func TestLost(t *testing.T) {
	w, o, before := begin(t)
	deletedAndMadeAnew(t, w)
	requireEmptyIsNotProven(t, w, o)
	book := openRunbook(t, "database-lost.md", o)
	book.step(t, "drctl cnpg backups immich --gitops ~/src/platform", "")
	book.step(t, "drctl cnpg recover immich --gitops ~/src/platform --push --dry-run", "")
	require.Empty(t, w.Proxy.Mutations())
	book.step(t, "drctl cnpg recover immich --gitops ~/src/platform --push", lab.RecoveryCluster)
	book.step(t, "drctl cnpg verify immich", "")
	book.step(t, "drctl plans", "")
	book.requireAtEnd(t)
	requireRecovered(t, o, withoutVolumes(t, before, o))
}

// withoutVolumes is how all was, but for the volumes and the generated password: they went with the
// Cluster before drctl was called.
func withoutVolumes(t *testing.T, before *flipworld.State, o *flipworld.Operator) *flipworld.State {
	t.Helper()
	lost := *before
	lost.Volumes, lost.Password = nil, look(t, o).Password
	return &lost
}

// deletedAndMadeAnew lets Argo CD bring the Cluster back once its volumes are gone. Where it is quicker the
// operator adopts them, and nothing is lost: that is a race which nobody should count on.
func deletedAndMadeAnew(t *testing.T, w *flipworld.World) {
	t.Helper()
	w.Argo.Pause()
	t.Cleanup(w.Argo.Resume)
	deleteCluster(t, w, metav1.DeletePropagationBackground)
	require.NoError(t, w.WaitGone(t.Context(), lab.RecoveryCluster))
	w.Argo.Resume()
	require.Eventually(t, func() bool {
		_, err := w.Cluster(t.Context(), lab.RecoveryCluster)
		return err == nil
	}, 2*time.Minute, 100*time.Millisecond, "Argo CD creates it anew")
}

// requireEmptyIsNotProven: the new Cluster is healthy, holds nothing, and verify does not take it for a
// recovered one.
func requireEmptyIsNotProven(t *testing.T, w *flipworld.World, o *flipworld.Operator) {
	t.Helper()
	require.NoError(t, w.WaitHealthy(t.Context(), lab.RecoveryCluster))
	tables, err := w.SQL(t.Context(), "select count(*) from pg_class where relname = '"+lab.RecoveryTable+"'")
	require.NoError(t, err)
	require.Equal(t, "0", tables)
	got := run(t, o, "cnpg", "verify", "immich")
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "Ready alone proves nothing")
}

func deleteCluster(t *testing.T, w *flipworld.World, propagation metav1.DeletionPropagation) {
	t.Helper()
	clusters, err := w.Clusters()
	require.NoError(t, err)
	require.NoError(t, clusters.Delete(t.Context(), lab.RecoveryCluster, metav1.DeleteOptions{PropagationPolicy: &propagation}))
}

// TestGone: there is no Cluster. While something of it is left nothing is created, since the operator would
// adopt it and recover nothing; then it is recovered from the tree.
func TestGone(t *testing.T) {
	w, o, before := begin(t)
	w.Argo.Pause()
	t.Cleanup(w.Argo.Resume)
	deleteCluster(t, w, metav1.DeletePropagationOrphan)
	require.Eventually(t, func() bool {
		_, err := w.Cluster(t.Context(), lab.RecoveryCluster)
		return apierrors.IsNotFound(err)
	}, time.Minute, 100*time.Millisecond)
	refused := run(t, o, flipworld.Recover()...)
	require.Equal(t, 1, refused.ExitCode)
	for _, left := range []string{"Pod immich-database-1", "PersistentVolumeClaim immich-database-1", "Service immich-database-rw"} {
		require.Contains(t, refused.Stderr, left)
	}
	require.Contains(t, refused.Stderr, "adopt them and recover nothing")
	require.Empty(t, w.Proxy.Mutations())
	deleteOrphans(t, w)

	behind := resumeArgoBehindTheFence(t, w)
	got := run(t, o, flipworld.Recover()...)
	behind()
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "there is no live Cluster")
	requireRecovered(t, o, withoutVolumes(t, before, o))
}

// deleteOrphans is what an operator does who was told what is left.
func deleteOrphans(t *testing.T, w *flipworld.World) {
	t.Helper()
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	labelled := metav1.ListOptions{LabelSelector: "cnpg.io/cluster=" + lab.RecoveryCluster}
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	require.NoError(t, client.CoreV1().Pods(lab.RecoveryNamespace).DeleteCollection(t.Context(), options, labelled))
	require.NoError(t, client.BatchV1().Jobs(lab.RecoveryNamespace).DeleteCollection(t.Context(), options, labelled))
	require.NoError(t, client.CoreV1().PersistentVolumeClaims(lab.RecoveryNamespace).DeleteCollection(t.Context(), options, labelled))
	for _, service := range []string{"-r", "-ro", "-rw"} {
		require.NoError(t, client.CoreV1().Services(lab.RecoveryNamespace).Delete(t.Context(), lab.RecoveryCluster+service, options))
	}
	require.NoError(t, w.WaitGone(t.Context(), lab.RecoveryCluster))
}

// resumeArgoBehindTheFence lets Argo CD act again once the fence stands: until then it would bring the
// Cluster back, empty. What it gives waits for that.
func resumeArgoBehindTheFence(t *testing.T, w *flipworld.World) func() {
	t.Helper()
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			bindings, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{LabelSelector: "drctl.dev/plan"})
			if err == nil && len(bindings.Items) > 0 {
				time.Sleep(2 * time.Second) // until the API server has noticed
				w.Argo.Resume()
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-ended }
}
