package helm_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/helm"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// over is Helm with a connection of which the n-th request is answered by the function, where that says something.
func (w *world) over(answer func(n int64, request *http.Request) error) *helm.Client {
	config := w.plane.RESTConfig()
	var requests atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return transport(func(request *http.Request) (*http.Response, error) {
			if err := answer(requests.Add(1), request); err != nil {
				return nil, err
			}
			return next.RoundTrip(request)
		})
	})
	client, err := helm.New(helm.Options{REST: config})
	require.NoError(w, err)
	return client
}

// losesRequests rolls back and uninstalls over a connection that loses a request now and then: what returns without an error
// has done all of it, whatever was lost. Helm alone passes over objects that it could not read.
func losesRequests(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	w.deploy(first, "plan-1")
	w.ready()
	w.deploy(w.target(lab.ArgoChartBroken, ""), "plan-2")
	// The first reads of this ConfigMap, which only the broken version has, and of this Deployment fail.
	var lost atomic.Int64
	client := w.over(func(_ int64, request *http.Request) error {
		path := request.URL.Path
		if request.Method == http.MethodGet && (strings.HasSuffix(path, "/argocd-notes-9-3-0") || strings.HasSuffix(path, "/deployments/argocd-server")) && lost.Add(1) <= 5 {
			return errors.New("lost")
		}
		return nil
	})
	failures := 0
	for client.Rollback(w.Context(), namespace, releaseName, 1) != nil {
		failures++
		require.Less(w, failures, 20)
	}
	require.Positive(w, failures)
	_, err := w.api.CoreV1().ConfigMaps(namespace).Get(w.Context(), "argocd-notes-9-3-0", metav1.GetOptions{})
	require.True(w, apierrors.IsNotFound(err), "%v", err)
	w.ready()
	require.Empty(w, w.difference(first))

	failures = 0
	lost.Store(0)
	for client.Uninstall(w.Context(), namespace, releaseName) != nil {
		failures++
		require.Less(w, failures, 20)
	}
	require.Positive(w, failures)
	deployments, err := w.api.AppsV1().Deployments(namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	require.Empty(w, deployments.Items)
	require.Nil(w, w.release())
}

// rollsBackInPieces is cut off before each write of a rollback in turn, and goes on.
func rollsBackInPieces(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	w.deploy(first, "plan-1")
	w.deploy(w.target(lab.ArgoChartBroken, ""), "plan-2")
	cuts := 0
	for allowed := int64(1); ; allowed += 2 {
		ctx, cancel := context.WithCancel(w.Context())
		err := w.cutOff(allowed, cancel).Rollback(ctx, namespace, releaseName, 1)
		cancel()
		if err == nil {
			break
		}
		require.ErrorIs(w, err, context.Canceled)
		cuts++
	}
	require.Greater(w, cuts, 5)
	w.Logf("cut off %d times", cuts)
	w.ready()
	require.Empty(w, w.difference(first))
	require.Equal(w, "deployed", w.release().Status)
	_, err := w.api.CoreV1().ConfigMaps(namespace).Get(w.Context(), "argocd-notes-9-3-0", metav1.GetOptions{})
	require.True(w, apierrors.IsNotFound(err), "%v", err)
}

// losesNoDefinition upgrades to values without definitions and rolls back: neither deletes them, nor do records lose them.
func losesNoDefinition(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	w.deploy(first, "plan-1")
	w.deploy(w.target(lab.ArgoChartFirst, "crds: {install: false}"), "plan-2")
	require.Positive(w, w.size("applicationsets.argoproj.io"))
	w.deploy(first, "plan-3")
	require.NoError(w, w.helm.Rollback(w.Context(), namespace, releaseName, 2))
	require.Positive(w, w.size("applicationsets.argoproj.io"))
	require.NoError(w, w.helm.Rollback(w.Context(), namespace, releaseName, 1))
	require.Empty(w, w.difference(first), "the first revision's record has its definitions")
}

// costsLittle counts the requests of looking at what needs nothing.
func costsLittle(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	w.deploy(first, "plan-1")
	w.ready()
	var reads, writes, dry atomic.Int64
	client := w.over(func(_ int64, request *http.Request) error {
		switch {
		case request.Method == http.MethodGet:
			reads.Add(1)
		case request.URL.Query().Get("dryRun") == "All":
			dry.Add(1)
		default:
			writes.Add(1)
		}
		return nil
	})
	_, err := client.Load(w.Context(), first.Chart.Source)
	require.NoError(w, err)
	lines, err := client.Difference(w.Context(), first)
	require.NoError(w, err)
	require.Empty(w, lines)
	const objects = 18
	require.Equal(w, []int64{objects, 0}, []int64{dry.Load(), writes.Load()})
	// Beside one for each object: the release, what the cluster knows (twice: for Helm and for the comparison), and what the
	// templates look up.
	require.LessOrEqual(w, reads.Load(), int64(objects+12))
	reads.Store(0)
	_, err = client.Readiness(w.Context(), namespace, releaseName)
	require.NoError(w, err)
	require.LessOrEqual(w, reads.Load(), int64(8))
}

// makesUp has a chart that makes a password up each time that it is rendered: that is no difference, its absence is one.
func makesUp(w *world) {
	dir := filepath.Join(w.TempDir(), "made-up")
	require.NoError(w, os.MkdirAll(filepath.Join(dir, "templates"), 0o700))
	for name, text := range map[string]string{
		"Chart.yaml": "{apiVersion: v2, name: made-up, version: 1.0.0}",
		"templates/all.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: made-up}\nstringData: {password: {{ randAlphaNum 16 }}}\n" +
			"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: said}\ndata: {text: {{ .Values.text | default \"one\" }}}\n",
	} {
		require.NoError(w, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600))
	}
	chart, err := w.helm.Load(w.Context(), recovery.ChartSource{Location: dir})
	require.NoError(w, err)
	target := helm.Target{Namespace: namespace, Name: releaseName, Chart: chart}
	target.Chart.Values = []byte("text: two")
	require.NoError(w, w.helm.Deploy(w.Context(), target, "plan-1"))
	require.Empty(w, w.difference(target))
	require.NoError(w, w.api.CoreV1().Secrets(namespace).Delete(w.Context(), "made-up", metav1.DeleteOptions{}))
	require.Equal(w, []string{"Secret argocd/made-up: is missing"}, w.difference(target))
	// No values mean the chart's own, and not those of the release before.
	target.Chart.Values = nil
	require.Equal(w, []string{"Secret argocd/made-up: is missing", "ConfigMap argocd/said: differs in data.text"}, w.difference(target))
	require.NoError(w, w.helm.Deploy(w.Context(), target, "plan-2"))
	require.Empty(w, w.difference(target))
	states, err := w.helm.Readiness(w.Context(), namespace, releaseName)
	require.NoError(w, err)
	require.Empty(w, states)
}
