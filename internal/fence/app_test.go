package fence_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/crds"
)

var (
	claims       = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	replicaSets  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	statefulSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	daemonSets   = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	jobs         = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
)

// application is testdata/app on a whole control plane, with a node that runs its Pods and Argo CD's
// stand-in, which heals it all the time.
type application struct {
	*cluster
	argo *lab.ArgoCD
}

// mounting are the applications whose Pods mount the claim, and how many of each are at work.
func mounting() map[string]int { return map[string]int{"web": 2, "db": 2, "agent": 1, "once": 1} }

func startApplication(t *testing.T) *application {
	t.Helper()
	s := lab.ForTest(t)
	k, err := s.ControlPlane(t.Context(), lab.ControlPlaneOptions{ControllerManager: true, Scheduler: true})
	require.NoError(t, err)
	api, err := kube.New(kube.Options{REST: k.RESTConfig(), Context: "lab"})
	require.NoError(t, err)
	a := &application{cluster: &cluster{Kubernetes: k, api: api}}
	applyDefinitionOfApplications(t, k)
	a.create(t, namespaces, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "app"},
	}})
	a.create(t, schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": map[string]any{"name": "longhorn"}, "provisioner": "driver.longhorn.io",
	}})
	volumes, err := s.Provisioner(t.Context(), k)
	require.NoError(t, err)
	_, err = s.Node(t.Context(), k, volumes, lab.NodeOptions{Scheduled: true})
	require.NoError(t, err)
	remote, err := s.GitRemote(t.Context(), "testdata")
	require.NoError(t, err)
	a.argo, err = s.ArgoCD(t.Context(), k, remote, lab.ArgoOptions{
		Interval: 500 * time.Millisecond, Retry: lab.ArgoRetry{Limit: 1000, Backoff: 500 * time.Millisecond, Factor: 1, MaxBackoff: time.Second},
	})
	require.NoError(t, err)
	require.NoError(t, a.argo.Track(t.Context(), "app", "app", ""))
	_, err = a.argo.WaitFor(t.Context(), "app", func(s lab.ArgoState) bool { return s.Sync == "Synced" })
	require.NoError(t, err)
	return a
}

func applyDefinitionOfApplications(t *testing.T, k *lab.Kubernetes) {
	t.Helper()
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	modules, err := crds.Fetch(t.Context(), filepath.Join(root, "internal", "lab", "parts", "manifests"))
	require.NoError(t, err)
	all, err := modules.All()
	require.NoError(t, err)
	applier, err := k.Applier()
	require.NoError(t, err)
	require.NoError(t, applier.Apply(t.Context(), slices.DeleteFunc(all, func(definition *unstructured.Unstructured) bool {
		return definition.GetName() != "applications.argoproj.io"
	})...))
}

// podsOf are the Pods of an application that are not about to end.
func (a *application) podsOf(t *testing.T, app string) []unstructured.Unstructured {
	t.Helper()
	items, err := a.api.ListWhere(t.Context(), pods, "app", "app="+app)
	require.NoError(t, err)
	return slices.DeleteFunc(items, func(p unstructured.Unstructured) bool { return p.GetDeletionTimestamp() != nil })
}

// mountingPods are all Pods that mount the claim, ended ones included.
func (a *application) mountingPods(t *testing.T, claim string) []unstructured.Unstructured {
	t.Helper()
	items, err := a.api.ListWhere(t.Context(), pods, "app", "")
	require.NoError(t, err)
	return slices.DeleteFunc(items, func(p unstructured.Unstructured) bool {
		volumes, _, _ := unstructured.NestedSlice(p.Object, "spec", "volumes")
		return !slices.ContainsFunc(volumes, func(v any) bool {
			name, _, _ := unstructured.NestedString(v.(map[string]any), "persistentVolumeClaim", "claimName")
			return name == claim
		})
	})
}

// returned says whether an application's Pods are all at work: those of "once" can only wait.
func (a *application) returned(t *testing.T, app string, wanted int) bool {
	t.Helper()
	ready := 0
	for _, p := range a.podsOf(t, app) {
		phase, _, _ := unstructured.NestedString(p.Object, "status", "phase")
		if phase == "Running" || (app == "once" && phase == "Pending") {
			ready++
		}
	}
	return ready == wanted
}

func (a *application) waitAtWork(t *testing.T) {
	t.Helper()
	for app, wanted := range mounting() {
		require.Eventually(t, func() bool { return a.returned(t, app, wanted) }, 2*within, 100*time.Millisecond, app)
	}
	for _, app := range []string{"beside", "free"} {
		require.Eventually(t, func() bool { return a.returned(t, app, 1) }, 2*within, 100*time.Millisecond, app)
	}
}

// stop deletes every Pod that mounts the claim, and waits until they are gone.
func (a *application) stop(t *testing.T, claim string) {
	t.Helper()
	for _, p := range a.mountingPods(t, claim) {
		err := a.api.Delete(t.Context(), pods, "app", p.GetName(), kube.Preconditions{UID: string(p.GetUID())}, metav1.DeletePropagationBackground)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(a.mountingPods(t, claim)) == 0 }, within, 50*time.Millisecond)
}

// fenceUp holds back and proves; the fence falls with the test at the latest.
func (a *application) fenceUp(t *testing.T, spec fence.Spec, sample *unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, fence.Up(ctx, a.api, spec))
	require.NoError(t, fence.Prove(ctx, a.api, spec, sample, time.Second))
}

// scales are the replicas and the generations of what Argo CD would heal.
func (a *application) scales(t *testing.T) map[string][2]int64 {
	t.Helper()
	scales := map[string][2]int64{}
	for name, gvr := range map[string]schema.GroupVersionResource{"web": deployments, "db": statefulSets, "agent": daemonSets} {
		live, err := a.api.Get(t.Context(), gvr, "app", name)
		require.NoError(t, err)
		replicas, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
		scales[name] = [2]int64{replicas, live.GetGeneration()}
	}
	return scales
}

// controllers are those that make Pods which mount the claim.
func (a *application) controllers(t *testing.T) map[schema.GroupVersionResource][]string {
	t.Helper()
	names := map[schema.GroupVersionResource][]string{}
	for _, gvr := range []schema.GroupVersionResource{replicaSets, statefulSets, daemonSets, jobs} {
		items, err := a.api.ListWhere(t.Context(), gvr, "app", "")
		require.NoError(t, err)
		for i := range items {
			names[gvr] = append(names[gvr], items[i].GetName())
		}
	}
	return names
}
