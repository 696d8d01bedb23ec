package helm_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/helm"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// TestOneChartFromEverywhere loads the same chart from a folder, a file, a repository and a registry.
func TestOneChartFromEverywhere(t *testing.T) {
	stack, cache := lab.ForTest(t), t.TempDir()
	first, err := lab.ArgoChart(t.Context(), t.TempDir(), lab.ArgoChartFirst)
	require.NoError(t, err)
	next, err := lab.ArgoChart(t.Context(), t.TempDir(), lab.ArgoChartNext)
	require.NoError(t, err)
	file, err := lab.PackChart(first, t.TempDir())
	require.NoError(t, err)
	repository, err := stack.ChartRepository(t.Context(), first, next)
	require.NoError(t, err)
	registry, err := stack.ChartRegistry(t.Context(), first, next)
	require.NoError(t, err)
	client, err := helm.New(helm.Options{CacheDir: cache})
	require.NoError(t, err)

	sources := []recovery.ChartSource{
		{Location: first},
		{Location: first, Version: "v" + lab.ArgoChartFirst},
		{Location: file},
		{Location: "argo-cd", Repository: repository.URL, Version: lab.ArgoChartFirst},
		{Location: "argo-cd", Repository: repository.URL + "/", Version: lab.ArgoChartFirst},
		{Location: registry.Location + "/argo-cd", Version: lab.ArgoChartFirst},
		{Location: registry.Location + "/argo-cd:" + lab.ArgoChartFirst},
		{Location: "argo-cd", Repository: registry.Location, Version: lab.ArgoChartFirst},
	}
	want, err := client.Load(t.Context(), sources[0])
	require.NoError(t, err)
	require.Equal(t, []string{"argo-cd", "9.1.0", "v3.1.0"}, []string{want.Name, want.Version, want.AppVersion})
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", want.Digest)
	for _, source := range sources {
		got, err := client.Load(t.Context(), source)
		require.NoError(t, err, "%+v", source)
		want.Source = source
		require.Equal(t, want, got)
	}
	other, err := client.Load(t.Context(), recovery.ChartSource{Location: next})
	require.NoError(t, err)
	require.NotEqual(t, want.Digest, other.Digest)
	require.NoError(t, os.WriteFile(filepath.Join(first, "README.md"), []byte("changed"), 0o600))
	changed, err := client.Load(t.Context(), sources[0])
	require.NoError(t, err)
	require.NotEqual(t, want.Digest, changed.Digest)

	// The archive comes from the cache the second time, and the index anew.
	before := repository.Requests()
	_, err = client.Load(t.Context(), sources[3])
	require.NoError(t, err)
	require.Equal(t, int64(1), repository.Requests()-before)
}

// TestLoadSaysWhatToType has what goes wrong with charts, and what is said then.
func TestLoadSaysWhatToType(t *testing.T) {
	stack := lab.ForTest(t)
	first, err := lab.ArgoChart(t.Context(), t.TempDir(), lab.ArgoChartFirst)
	require.NoError(t, err)
	next, err := lab.ArgoChart(t.Context(), t.TempDir(), lab.ArgoChartNext)
	require.NoError(t, err)
	repository, err := stack.ChartRepository(t.Context(), first, next)
	require.NoError(t, err)
	registry, err := stack.ChartRegistry(t.Context(), first, next)
	require.NoError(t, err)
	refuses := serve(t, http.StatusUnauthorized, "")
	damaged := serve(t, http.StatusOK, "entries: {argo-cd: [")
	swapped := serve(t, http.StatusOK, "apiVersion: v1\nentries: {argo-cd: [{apiVersion: v2, name: argo-cd, version: 9.1.0, digest: 0000, urls: [index.yaml]}]}")
	noChart := filepath.Join(t.TempDir(), "chart.tgz")
	require.NoError(t, os.WriteFile(noChart, []byte("not a chart"), 0o600))
	for _, c := range []struct {
		source    recovery.ChartSource
		kind      error
		why, next string
	}{
		{recovery.ChartSource{Location: "argo-cd", Repository: repository.URL, Version: "8.0.0"}, recovery.ErrNotFound, "its newest are 9.2.0, 9.1.0", "--chart-version 9.2.0"},
		{recovery.ChartSource{Location: "argo-cd", Repository: repository.URL}, recovery.ErrUsage, "no version", "--chart-version 9.2.0"},
		{recovery.ChartSource{Location: "argo", Repository: repository.URL, Version: "9.1.0"}, recovery.ErrNotFound, "no chart of that name", "--chart-repo"},
		{recovery.ChartSource{Location: "argo-cd", Repository: repository.URL + "/nowhere", Version: "9.1.0"}, recovery.ErrNotFound, "404", "--chart FILE.tgz"},
		{recovery.ChartSource{Location: "argo-cd", Repository: "http://user:hunter2hunter2@127.0.0.1:1", Version: "9.1.0"}, recovery.ErrUnreachable, "connection refused", "--chart FILE.tgz"},
		{recovery.ChartSource{Location: "argo-cd", Repository: refuses, Version: "9.1.0"}, recovery.ErrDenied, "401", "password in its URL"},
		{recovery.ChartSource{Location: "argo-cd", Repository: damaged, Version: "9.1.0"}, recovery.ErrDamaged, "index.yaml can't be read", "--chart FILE.tgz"},
		{recovery.ChartSource{Location: "argo-cd", Repository: swapped, Version: "9.1.0"}, recovery.ErrDamaged, "digest is", "--chart FILE.tgz"},
		{recovery.ChartSource{Location: registry.Location + "/argo-cd", Version: "8.0.0"}, recovery.ErrNotFound, "its newest are 9.2.0, 9.1.0", "--chart-version 9.2.0"},
		{recovery.ChartSource{Location: registry.Location + "/argo-cd"}, recovery.ErrUsage, "no version", "--chart-version"},
		{recovery.ChartSource{Location: "oci://127.0.0.1:1/charts/argo-cd", Version: "9.1.0"}, recovery.ErrUnreachable, "connection refused", "--chart FILE.tgz"},
		{recovery.ChartSource{Location: first, Version: "9.2.0"}, recovery.ErrConflict, "it is version 9.1.0, and 9.2.0 is asked for", "pin"},
		{recovery.ChartSource{Location: filepath.Join(first, "nowhere")}, recovery.ErrNotFound, "no such file or folder", "oci://HOST"},
		{recovery.ChartSource{Location: noChart}, recovery.ErrDamaged, "", "--chart FILE.tgz"},
		{recovery.ChartSource{Location: libraryChart(t)}, recovery.ErrInvalid, "type library", "application chart"},
	} {
		client, err := helm.New(helm.Options{})
		require.NoError(t, err)
		_, err = client.Load(t.Context(), c.source)
		var problem *recovery.Problem
		require.ErrorAs(t, err, &problem, "%+v", c.source)
		require.ErrorIs(t, err, c.kind, "%+v", c.source)
		require.Contains(t, problem.Why, c.why)
		require.Contains(t, problem.Next, c.next, "%+v", c.source)
		require.NotContains(t, err.Error(), "hunter2hunter2")
	}
}

func serve(t *testing.T, status int, body string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func libraryChart(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "common")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte("{apiVersion: v2, name: common, version: 1.0.0, type: library}"), 0o600))
	return dir
}
