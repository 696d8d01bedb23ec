package lab_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab"
)

// TestArgoCDWaves plays a root Application from the moment on at which Argo CD is installed.
func TestArgoCDWaves(t *testing.T) {
	f := startWaves(t)
	t.Run("nothing acts before the controller runs", func(t *testing.T) { sleepsUntilInstalled(t, f) })
	t.Run("without a health of Applications all waves start at once", func(t *testing.T) { noWaves(t, f) })
	t.Run("a wave waits for the one before", func(t *testing.T) { wavesWait(t, f) })
	t.Run("hooks run ahead and behind", func(t *testing.T) { hooksRun(t, f) })
	t.Run("a set owns its Applications", func(t *testing.T) { setOwns(t, f) })
	t.Run("a failed hook fails the sync", func(t *testing.T) { failedHook(t, f) })
	t.Run("what is denied is said so", func(t *testing.T) { deniedObject(t, f) })
	t.Run("an unknown kind fails, and works once it is defined", func(t *testing.T) { unknownKind(t, f) })
	t.Run("it sleeps when it is uninstalled", func(t *testing.T) { sleepsAgain(t, f) })
}

func sleepsUntilInstalled(t *testing.T, f *wavesFixture) {
	// There is neither a namespace nor a definition yet, which is no trouble.
	time.Sleep(500 * time.Millisecond)
	require.Empty(t, f.argo.Events())
	f.define(t)
	f.apply(t, object("v1", "Namespace", "", "argocd", nil))
	require.NoError(t, f.argo.Track(t.Context(), "root", "apps", ""))
	time.Sleep(time.Second)
	require.Empty(t, f.argo.Events(), "no controller runs")
	f.install(t)
	f.waitFor(t, "root", func(s lab.ArgoState) bool { return s.Sync != "" })
}

func noWaves(t *testing.T, f *wavesFixture) {
	f.argo.ChartHealth("network", "Progressing", "on its way")
	f.waitFor(t, "root", func(s lab.ArgoState) bool { return s.Phase == "Succeeded" && s.Sync == "Synced" })
	require.Equal(t, "Progressing", f.waitFor(t, "network", func(s lab.ArgoState) bool { return s.Health != "" }).Health)
	f.waitFor(t, "one", func(s lab.ArgoState) bool { return s.Sync == "Synced" })
	f.removeAll(t)
}

func wavesWait(t *testing.T, f *wavesFixture) {
	const script = "hs = {}\nhs.status = obj.status.health.status\nreturn hs\n"
	f.apply(t, object("v1", "ConfigMap", "argocd", "argocd-cm", map[string]any{
		"data": map[string]any{"resource.customizations.health.argoproj.io_Application": script},
	}))
	time.Sleep(time.Second) // until it is read
	require.NoError(t, f.argo.Track(t.Context(), "root", "apps", ""))
	state := f.waitFor(t, "root", func(s lab.ArgoState) bool {
		return strings.HasPrefix(s.Message, "waiting for healthy state of argoproj.io/Application/network")
	})
	require.Equal(t, "Running", state.Phase)
	time.Sleep(time.Second)
	require.Equal(t, []string{"network", "root"}, f.names(t), "the waves behind did not start")
	f.argo.ChartHealth("network", "", "")
	f.waitFor(t, "root", func(s lab.ArgoState) bool {
		return strings.HasPrefix(s.Message, "waiting for healthy state of argoproj.io/Application/storage")
	})
	f.waitFor(t, "root", func(s lab.ArgoState) bool {
		return s.Phase == "Succeeded" && s.Sync == "Synced" && s.Health == "Healthy"
	})
	f.waitFor(t, "one", func(s lab.ArgoState) bool { return s.Phase == "Succeeded" && s.Sync == "Synced" })
	network, storage, one := f.app(t, "network").GetCreationTimestamp(), f.app(t, "storage").GetCreationTimestamp(), f.app(t, "one").GetCreationTimestamp()
	require.False(t, storage.Before(&network))
	require.False(t, one.Before(&storage))
	settled := len(f.argo.EventsOf(lab.ArgoStarted))
	time.Sleep(4 * healInterval)
	require.Len(t, f.argo.EventsOf(lab.ArgoStarted), settled, "what is synced is left alone, hooks included")
}

func hooksRun(t *testing.T, f *wavesFixture) {
	jobs := f.client.BatchV1().Jobs("one")
	before, err := jobs.Get(t.Context(), "before", metav1.GetOptions{})
	require.NoError(t, err)
	after, err := jobs.Get(t.Context(), "after", metav1.GetOptions{})
	require.NoError(t, err)
	config, err := f.client.CoreV1().ConfigMaps("one").Get(t.Context(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(before.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == batchv1.JobComplete }))
	require.False(t, config.CreationTimestamp.Before(before.Status.CompletionTime), "the PreSync hook ended first")
	require.False(t, after.CreationTimestamp.Before(&config.CreationTimestamp), "the PostSync hook began last")
	results, _, err := unstructured.NestedSlice(f.app(t, "one").Object, "status", "operationState", "syncResult", "resources")
	require.NoError(t, err)
	hooks := map[string]any{}
	for _, each := range results {
		result := each.(map[string]any)
		hooks[result["name"].(string)] = result["hookType"]
	}
	require.Equal(t, map[string]any{"before": "PreSync", "settings": nil, "server": nil, "one": "PreSync", "after": "PostSync"}, hooks)
}

func setOwns(t *testing.T, f *wavesFixture) {
	owner := metav1.GetControllerOf(f.app(t, "one"))
	require.NotNil(t, owner)
	require.Equal(t, "ApplicationSet my-apps", owner.Kind+" "+owner.Name)
	path, _, err := unstructured.NestedString(f.app(t, "one").Object, "spec", "source", "path")
	require.NoError(t, err)
	require.Equal(t, "my-apps/media/one", path)
	f.commit(t, "Two", map[string]string{"my-apps/media/two/kustomization.yaml": "resources: [settings.yaml]\n", "my-apps/media/two/settings.yaml": settings("two")})
	f.waitFor(t, "two", func(s lab.ArgoState) bool { return s.Sync == "Synced" })
	f.remove(t, "my-apps/media/two")
	require.Eventually(t, func() bool { return !slices.Contains(f.names(t), "two") }, time.Minute, 50*time.Millisecond)
}

func failedHook(t *testing.T, f *wavesFixture) {
	f.commit(t, "A hook that fails", map[string]string{
		"my-apps/media/three/kustomization.yaml": "resources: [settings.yaml, hook.yaml]\n",
		"my-apps/media/three/settings.yaml":      settings("three"), "my-apps/media/three/hook.yaml": failingHook,
	})
	state := f.waitFor(t, "three", func(s lab.ArgoState) bool { return s.Phase == "Failed" })
	require.Contains(t, state.Message, "one or more synchronization tasks completed unsuccessfully")
	_, err := f.client.CoreV1().ConfigMaps("one").Get(t.Context(), "three", metav1.GetOptions{})
	require.Error(t, err, "nothing behind the hook was applied")
	require.Contains(t, f.results(t, "three"), "Job was active longer than specified deadline")
}

func deniedObject(t *testing.T, f *wavesFixture) {
	f.deny(t)
	f.commit(t, "What is denied", map[string]string{
		"my-apps/media/four/kustomization.yaml": "resources: [settings.yaml]\n", "my-apps/media/four/settings.yaml": settings("denied"),
	})
	f.waitFor(t, "four", func(s lab.ArgoState) bool {
		return s.Phase == "Failed" && strings.Contains(s.Message, "denied request: the lab denies this")
	})
	require.Contains(t, f.results(t, "four"), "denied request: the lab denies this")
}

func unknownKind(t *testing.T, f *wavesFixture) {
	f.commit(t, "An unknown kind", map[string]string{
		"my-apps/media/five/kustomization.yaml": "resources: [project.yaml]\n",
		"my-apps/media/five/project.yaml":       "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: five, namespace: argocd}\nspec: {}\n",
	})
	state := f.waitFor(t, "five", func(s lab.ArgoState) bool { return s.Phase == "Failed" })
	require.Contains(t, state.Message, "one or more synchronization tasks are not valid")
	require.Contains(t, f.results(t, "five"), `Make sure the "AppProject" CRD is installed`)
	f.defineOnly(t, "appprojects.argoproj.io")
	f.commit(t, "Try again", map[string]string{"README.md": "again\n"})
	f.waitFor(t, "five", func(s lab.ArgoState) bool { return s.Sync == "Synced" && s.Phase == "Succeeded" })
}

func sleepsAgain(t *testing.T, f *wavesFixture) {
	require.NoError(t, f.client.AppsV1().StatefulSets("argocd").Delete(t.Context(), "argocd-application-controller", metav1.DeleteOptions{}))
	time.Sleep(time.Second)
	events := len(f.argo.Events())
	require.NoError(t, f.argo.Track(t.Context(), "late", "my-apps/media/one", ""))
	time.Sleep(time.Second)
	require.Len(t, f.argo.Events(), events)
	require.Empty(t, f.waitFor(t, "late", func(lab.ArgoState) bool { return true }).Sync)
}
