package helm_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/helm"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// within bounds what the real controllers need on a busy machine.
const within = 2 * time.Minute

// world is a cluster with the real controllers and a node, and Helm.
type world struct {
	*testing.T
	helm   *helm.Client
	api    kubernetes.Interface
	plane  *lab.Kubernetes
	charts string
}

// TestOnARealCluster has one control plane for all subjects, which come one after another and each take their release
// away.
func TestOnARealCluster(t *testing.T) {
	stack := lab.ForTest(t)
	k, err := stack.ControlPlane(t.Context(), lab.ControlPlaneOptions{ControllerManager: true, Scheduler: true})
	require.NoError(t, err)
	provisioner, err := stack.RootProvisioner(t.Context(), k)
	require.NoError(t, err)
	_, err = stack.Node(t.Context(), k, provisioner, lab.NodeOptions{Scheduled: true})
	require.NoError(t, err)
	charts := t.TempDir()
	for _, version := range []string{lab.ArgoChartFirst, lab.ArgoChartNext, lab.ArgoChartBroken, lab.ArgoChartBrokenHook} {
		_, err := lab.ArgoChart(t.Context(), charts, version)
		require.NoError(t, err)
	}
	api, err := kubernetes.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	for _, subject := range []struct {
		name string
		run  func(w *world)
	}{
		{"life", livesItsLife}, {"rollback", rollsBack}, {"cut", goesOn}, {"hooks", failsInHooks}, {"foreign", asksForOwnership},
		{"secrets", takesConflicts}, {"gone", keepsDefinitions}, {"lost", losesRequests}, {"pieces", rollsBackInPieces}, {"definitions", losesNoDefinition}, {"cost", costsLittle}, {"made-up", makesUp},
	} {
		t.Run(subject.name, func(t *testing.T) {
			client, err := helm.New(helm.Options{REST: k.RESTConfig()})
			require.NoError(t, err)
			w := &world{T: t, helm: client, api: api, plane: k, charts: charts}
			subject.run(w)
			require.NoError(t, client.Uninstall(t.Context(), namespace, releaseName))
		})
	}
}

// Definitions are the whole cluster's and stay when a release goes: all subjects have the same release, so that they are its own.
const (
	releaseName = "argocd"
	namespace   = "argocd"
)

func (w *world) folder(version string) string {
	return fmt.Sprintf("%s/argo-cd-%s/argo-cd", w.charts, version)
}

// target loads a version from its folder.
func (w *world) target(version, values string) helm.Target {
	w.Helper()
	chart, err := w.helm.Load(w.Context(), recovery.ChartSource{Location: w.folder(version)})
	require.NoError(w, err)
	chart.Values = []byte(values)
	return helm.Target{Namespace: namespace, Name: releaseName, Chart: chart}
}

func (w *world) deploy(target helm.Target, plan string) {
	w.Helper()
	_, err := w.helm.ApplyDefinitions(w.Context(), target)
	require.NoError(w, err)
	require.NoError(w, w.helm.Deploy(w.Context(), target, plan))
}

// ready waits until every object is ready.
func (w *world) ready() []recovery.ObjectState {
	w.Helper()
	var states []recovery.ObjectState
	require.Eventually(w, func() bool {
		var err error
		states, err = w.helm.Readiness(w.Context(), namespace, releaseName)
		return err == nil && !slices.ContainsFunc(states, func(s recovery.ObjectState) bool { return !s.Ready })
	}, within, 200*time.Millisecond, "%+v", &states)
	return states
}

func (w *world) difference(target helm.Target) []string {
	w.Helper()
	lines, err := w.helm.Difference(w.Context(), target)
	require.NoError(w, err)
	return lines
}

func (w *world) release() *recovery.Release {
	w.Helper()
	found, err := w.helm.Release(w.Context(), namespace, releaseName)
	require.NoError(w, err)
	return found
}

// size is that of a live definition's spec as JSON.
func (w *world) size(definition string) int {
	w.Helper()
	client, err := dynamic.NewForConfig(w.plane.RESTConfig())
	require.NoError(w, err)
	live, err := client.Resource(definitionsResource()).Get(w.Context(), definition, metav1.GetOptions{})
	require.NoError(w, err)
	encoded, err := json.Marshal(live.Object["spec"])
	require.NoError(w, err)
	return len(encoded)
}

func definitionsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// livesItsLife installs, changes nothing, repairs, upgrades and uninstalls.
func livesItsLife(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	require.Nil(w, w.release())
	require.Equal(w, []string{"release argocd/argocd: is not installed"}, w.difference(first))

	names, err := w.helm.ApplyDefinitions(w.Context(), first)
	require.NoError(w, err)
	require.Equal(w, []string{"applications.argoproj.io"}, names)
	require.NoError(w, w.helm.Deploy(w.Context(), first, "plan-1"))
	var ready []string
	for _, state := range w.ready() {
		ready = append(ready, state.Object)
	}
	require.Equal(w, []string{
		"CustomResourceDefinition applications.argoproj.io", "CustomResourceDefinition applicationsets.argoproj.io", "CustomResourceDefinition appprojects.argoproj.io",
		"Deployment argocd/argocd-repo-server", "Deployment argocd/argocd-server", "StatefulSet argocd/argocd-application-controller",
	}, ready)
	require.Greater(w, w.size("applicationsets.argoproj.io"), 262_144, "larger than what a client-side apply can remember")
	require.Empty(w, w.difference(first))

	require.NoError(w, w.api.AppsV1().Deployments(namespace).Delete(w.Context(), "argocd-server", metav1.DeleteOptions{}))
	require.Equal(w, []string{"Deployment argocd/argocd-server: is missing"}, w.difference(first))
	require.NoError(w, w.helm.Deploy(w.Context(), first, "plan-2"))
	w.ready()
	require.Empty(w, w.difference(first))

	next := w.target(lab.ArgoChartNext, "")
	require.Contains(w, w.difference(next), "chart argo-cd 9.2.0: takes the place of argo-cd 9.1.0")
	require.Contains(w, w.difference(next), "ConfigMap argocd/argocd-notes-9-1-0: is no longer part of the chart")
	require.Contains(w, w.difference(next), "Deployment argocd/argocd-server: differs in metadata.labels.helm.sh/chart, spec.template.spec.containers[0].image")
	w.deploy(next, "plan-3")
	w.ready()
	require.Empty(w, w.difference(next))
}
