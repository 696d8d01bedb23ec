// Package bootstrap runs the real drctl against an empty cluster on the lab: the API server with controllers, scheduler
// and a node, charts and Git over HTTP, and an Argo CD that comes to life when its chart is installed.
package bootstrap

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/helm"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
	"github.com/drctl/drctl/internal/recovery"
)

// TestByHand does what the platform's script does, step by step and without the use case: so the world and its oracle
// are judged by something else than the command that they judge.
func TestByHand(t *testing.T) {
	w, err := bootstrapworld.Up(t.Context(), lab.ForTest(t), bootstrapworld.Options{Interval: 500 * time.Millisecond})
	require.NoError(t, err)
	for range 2 {
		begin := time.Now()
		a, err := w.Attempt(t.Context())
		require.NoError(t, err)
		t.Logf("an empty cluster after %s", time.Since(begin).Round(time.Millisecond))
		require.NoError(t, a.Untouched(t.Context()))
		require.ErrorContains(t, a.Done(t.Context()), "the root Application: absent")

		begin = time.Now()
		byHand(t, w, a)
		require.ErrorContains(t, a.Untouched(t.Context()), "the release is left")
		require.Eventually(t, func() bool {
			err = a.Done(t.Context())
			return err == nil
		}, 2*time.Minute, 100*time.Millisecond, "%v", err)
		t.Logf("every wave healthy after %s", time.Since(begin).Round(time.Millisecond))
	}
}

func byHand(t *testing.T, w *bootstrapworld.World, a *bootstrapworld.Attempt) {
	t.Helper()
	applier, err := w.Kubernetes.Applier()
	require.NoError(t, err)
	secrets, err := filepath.Glob(filepath.Join(a.Secrets, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, secrets)
	for _, file := range secrets {
		secret := manifest(t, file)
		namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": secret.GetNamespace()}}}
		require.NoError(t, applier.Apply(t.Context(), namespace))
		require.NoError(t, applier.Apply(t.Context(), secret))
	}
	client, err := helm.New(helm.Options{REST: w.Kubernetes.RESTConfig()})
	require.NoError(t, err)
	chart, err := client.Load(t.Context(), recovery.ChartSource{Location: lab.ArgoChartName, Repository: w.Charts.URL, Version: bootstrapworld.ChartVersion})
	require.NoError(t, err)
	argo := filepath.Join(a.Tree, "infrastructure", "controllers", "argocd")
	chart.Values, err = os.ReadFile(filepath.Join(argo, "values.yaml"))
	require.NoError(t, err)
	target := helm.Target{Namespace: lab.ArgoNamespace, Name: "argocd", Chart: chart}
	_, err = client.ApplyDefinitions(t.Context(), target)
	require.NoError(t, err)
	require.NoError(t, client.Deploy(t.Context(), target, "by-hand"))
	root := manifest(t, filepath.Join(argo, "root.yaml"))
	require.Eventually(t, func() bool { return applyFresh(t.Context(), w, root) == nil }, time.Minute, 200*time.Millisecond)
}

// applyFresh applies with an applier that knows the kinds of now.
func applyFresh(ctx context.Context, w *bootstrapworld.World, object *unstructured.Unstructured) error {
	applier, err := w.Kubernetes.Applier()
	if err != nil {
		return err
	}
	return applier.Apply(ctx, object)
}

func manifest(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	object := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal(content, &object.Object))
	return object
}
