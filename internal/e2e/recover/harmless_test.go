package recover

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// TestDryRunChangesNothing: it prints the plan, the manifest and the change of the tree, and no request that
// would change anything leaves it.
func TestDryRunChangesNothing(t *testing.T) {
	w, o, before := begin(t)
	got := run(t, o, flipworld.Recover("--dry-run")...)
	require.Zero(t, got.ExitCode)
	require.Empty(t, w.Proxy.Mutations())
	next := nextServer(t, before.Server)
	for _, text := range []string{
		"Plan cnpg-recover-", "no way back but through the old volumes", "The change of the GitOps tree:", "The Cluster that is created:",
		"-      serverName: " + before.Server, "+      serverName: " + next, "Nothing was changed (--dry-run).",
	} {
		require.Contains(t, got.Stdout, text)
	}
	got = run(t, o, flipworld.Recover("--dry-run", "-o", "json")...)
	require.Zero(t, got.ExitCode)
	plan := decode[struct {
		Kind     string
		Plan     struct{ Steps []struct{ ID string } }
		Manifest unstructured.Unstructured
		Diff     string
	}](t, got.Stdout)
	require.Equal(t, "RecoveryPlan", plan.Kind)
	require.Greater(t, len(plan.Plan.Steps), 15)
	require.Contains(t, plan.Diff, next)
	requireRecovers(t, &plan.Manifest, before.Server, next)
	requireNothingChanged(t, o, before)
}

// TestKeysThatOnlyTheOperatorHas: drctl reads S3 with the keys of the operator's shell. Those in the cluster's Secret do
// not work, so the recovery Job could not read a byte: this must be known while the old database is still there.
func TestKeysThatOnlyTheOperatorHas(t *testing.T) {
	w, o, before := begin(t)
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	secrets := client.CoreV1().Secrets("cloudnative-pg")
	const name, key = "cnpg-s3-credentials", "AWS_SECRET_ACCESS_KEY"
	set := func(ctx context.Context, value []byte) {
		patch, err := json.Marshal(map[string]any{"data": map[string][]byte{key: value}})
		require.NoError(t, err)
		_, err = secrets.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
	}
	secret, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	set(t.Context(), []byte("of-another-store"))
	t.Cleanup(func() { set(context.WithoutCancel(t.Context()), secret.Data[key]) })
	got := run(t, o, flipworld.Recover()...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "cloudnative-pg/"+name)
	require.Contains(t, got.Stderr, "the secret key does not belong to the access key")
	require.Contains(t, got.Stderr, "correct the keys in Secret")
	require.Empty(t, w.Proxy.Mutations())
	requireNothingChanged(t, o, before)
}

// requireNothingChanged: the world is as it was, and the operator's computer holds no plan.
func requireNothingChanged(t *testing.T, o *flipworld.Operator, before *flipworld.State) {
	t.Helper()
	require.Equal(t, before, look(t, o))
	plans, err := o.Plans()
	require.NoError(t, err)
	require.Empty(t, plans)
}

// requireRecovers: the manifest recovers from one server and writes to another.
func requireRecovers(t *testing.T, manifest *unstructured.Unstructured, from, to string) {
	t.Helper()
	source, _, err := unstructured.NestedString(manifest.Object, "spec", "bootstrap", "recovery", "source")
	require.NoError(t, err)
	backup, _, err := unstructured.NestedString(manifest.Object, "spec", "bootstrap", "recovery", "recoveryTarget", "backupID")
	require.NoError(t, err)
	require.NotEmpty(t, backup, "the backup is pinned")
	external, _, err := unstructured.NestedSlice(manifest.Object, "spec", "externalClusters")
	require.NoError(t, err)
	require.Len(t, external, 1)
	origin, _ := external[0].(map[string]any)
	require.Equal(t, source, origin["name"])
	server, _, err := unstructured.NestedString(origin, "barmanObjectStore", "serverName")
	require.NoError(t, err)
	require.Equal(t, from, server)
	server, _, err = unstructured.NestedString(manifest.Object, "spec", "backup", "barmanObjectStore", "serverName")
	require.NoError(t, err)
	require.Equal(t, to, server)
}

// TestRenderWithoutACluster: the manifest comes from the GitOps tree and S3 alone, and is what the API
// server takes once it is there again.
func TestRenderWithoutACluster(t *testing.T) {
	w, o, before := begin(t)
	require.NoError(t, w.Kubernetes.Stop())
	restart := func() { require.NoError(t, w.Kubernetes.Restart(context.WithoutCancel(t.Context()))) }
	t.Cleanup(restart)
	got := run(t, o, "cnpg", "render", "immich", "--offline")
	require.Zero(t, got.ExitCode)
	require.Empty(t, got.Stderr)
	online := run(t, o, "cnpg", "render", "immich")
	require.NotZero(t, online.ExitCode, "without --offline a cluster that does not answer is no answer")
	restart()

	manifest := rendered(t, got.Stdout)
	requireRecovers(t, manifest, before.Server, nextServer(t, before.Server))
	clusters, err := w.Clusters()
	require.NoError(t, err)
	manifest.SetName("immich-rendered") // one that is not there: else the answer is AlreadyExists
	_, err = clusters.Create(t.Context(), manifest, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	require.NoError(t, err)
	require.NoError(t, w.WaitHealthy(t.Context(), lab.RecoveryCluster))
}

func rendered(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	manifest := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal([]byte(text), &manifest.Object))
	return manifest
}
