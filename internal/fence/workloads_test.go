package fence_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
)

// fencedFor is how long the controllers are held back: long enough for their pauses to have grown to tens
// of seconds.
const fencedFor = 25 * time.Second

// TestPodsOfNobodyComeBack: of a Deployment, a StatefulSet, a DaemonSet, a Job and a CronJob, with replicas
// untouched and Argo CD healing; other Pods of the namespace start as ever. Down brings all of them back,
// and a touch at once.
func TestPodsOfNobodyComeBack(t *testing.T) {
	a := startApplication(t)
	a.waitAtWork(t)
	before := a.scales(t)
	spec := podsSpec("plan-app", "data")
	spec.Namespace = "app"

	a.fenceUp(t, spec, nil)
	a.stop(t, "data")
	a.othersStartAndHeal(t)
	a.stayAway(t, time.Now().Add(fencedFor))
	a.waitForTick(t)
	require.Equal(t, before, a.scales(t), "replicas are untouched")
	state, err := a.argo.State(t.Context(), "app")
	require.NoError(t, err)
	require.Equal(t, "Synced", state.Sync, "%s", state)
	require.NoError(t, fence.Down(t.Context(), a.api, spec))
	alone := a.timesOfReturn(t, nil)

	data := a.withoutClaim(t, &spec)
	marked(data, spec.PlanID)
	a.create(t, claims, data)
	require.NoError(t, fence.Down(t.Context(), a.api, claimSpec()))
	require.NoError(t, fence.Down(t.Context(), a.api, spec))
	touched := a.timesOfReturn(t, func() { a.touchAll(t, spec) })

	for app := range mounting() {
		t.Logf("%-6s back %6s after Down alone, %6s with a touch", app, alone[app].Round(100*time.Millisecond), touched[app].Round(100*time.Millisecond))
		require.Less(t, touched[app], 15*time.Second, app)
	}
	require.Equal(t, before, a.scales(t), "replicas are untouched")
}

func claimSpec() fence.Spec {
	return fence.Spec{
		PlanID: "plan-app", Expires: time.Now().Add(time.Hour), Namespace: "app", GVR: claims, Kind: "PersistentVolumeClaim", Name: "data",
	}
}

// othersStartAndHeal: a Pod that mounts another claim comes back, and Argo CD reverts a scaled Deployment.
func (a *application) othersStartAndHeal(t *testing.T) {
	t.Helper()
	beside := a.podsOf(t, "beside")
	require.Len(t, beside, 1)
	require.NoError(t, a.api.Delete(t.Context(), pods, "app", beside[0].GetName(), kube.Preconditions{UID: string(beside[0].GetUID())}, metav1.DeletePropagationBackground))
	_, err := a.api.PatchMerge(t.Context(), deployments, "app", "free", []byte(`{"spec":{"replicas":3}}`), kube.WriteOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now := a.podsOf(t, "beside")
		return a.returned(t, "beside", 1) && now[0].GetUID() != beside[0].GetUID()
	}, within, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		live, err := a.api.Get(t.Context(), deployments, "app", "free")
		require.NoError(t, err)
		replicas, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
		return replicas == 1
	}, within, 50*time.Millisecond, "Argo CD heals while the fence stands")
	_, err = a.argo.WaitFor(t.Context(), "app", func(s lab.ArgoState) bool { return s.Sync == "Synced" && s.Phase == "Succeeded" })
	require.NoError(t, err)
}

// stayAway looks until then that no Pod that mounts the claim is there.
func (a *application) stayAway(t *testing.T, until time.Time) {
	t.Helper()
	for time.Now().Before(until) {
		require.Empty(t, names(a.mountingPods(t, "data")))
		time.Sleep(200 * time.Millisecond)
	}
}

func names(objects []unstructured.Unstructured) []string {
	var all []string
	for i := range objects {
		all = append(all, objects[i].GetName())
	}
	return all
}

// waitForTick waits until the CronJob made a Job that has no Pod.
func (a *application) waitForTick(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		items, err := a.api.ListWhere(t.Context(), jobs, "app", "")
		require.NoError(t, err)
		return slices.ContainsFunc(items, func(job unstructured.Unstructured) bool {
			_, started, _ := unstructured.NestedString(job.Object, "status", "completionTime")
			return strings.HasPrefix(job.GetName(), "tick-") && !started
		})
	}, 90*time.Second, 200*time.Millisecond)
	a.stayAway(t, time.Now().Add(3*time.Second))
}

// timesOfReturn takes the time from now until the Pods of each application are back.
func (a *application) timesOfReturn(t *testing.T, touch func()) map[string]time.Duration {
	t.Helper()
	begin := time.Now()
	if touch != nil {
		touch()
	}
	times := map[string]time.Duration{}
	wanted := mounting()
	require.Eventually(t, func() bool {
		for app, n := range wanted {
			if _, known := times[app]; !known && a.returned(t, app, n) {
				times[app] = time.Since(begin)
			}
		}
		return len(times) == len(wanted)
	}, 3*within, 50*time.Millisecond, "%v", times)
	require.Eventually(t, func() bool { return len(a.podsOf(t, "tick")) > 0 }, 2*within, 100*time.Millisecond, "the CronJob's")
	return times
}

// withoutClaim has the claim deleted behind both fences, after a mover wrote into it, and gives its manifest.
func (a *application) withoutClaim(t *testing.T, spec *fence.Spec) *unstructured.Unstructured {
	t.Helper()
	data, err := a.api.Get(t.Context(), claims, "app", "data")
	require.NoError(t, err)
	sample := claimOf(data)
	spec.ExemptJob = "volsync-dst-ours"
	a.fenceUp(t, *spec, nil)
	a.fenceUp(t, claimSpec(), sample)
	a.stop(t, "data")
	fenced := time.Now()
	a.onlyOurMover(t)

	begin := time.Now()
	require.NoError(t, a.api.Delete(t.Context(), claims, "app", "data", kube.Preconditions{UID: string(data.GetUID())}, metav1.DeletePropagationBackground))
	require.Eventually(t, func() bool {
		_, err := a.api.Get(t.Context(), claims, "app", "data")
		return err != nil
	}, within, 20*time.Millisecond, "nothing holds the claim")
	t.Logf("the claim was gone %s after its deletion", time.Since(begin).Round(10*time.Millisecond))
	a.stayAway(t, fenced.Add(fencedFor))
	_, err = a.api.Get(t.Context(), claims, "app", "data")
	require.Error(t, err, "Argo CD could not create it again")
	return sample
}

// claimOf is what Git has.
func claimOf(live *unstructured.Unstructured) *unstructured.Unstructured {
	spec := maps.Clone(live.Object["spec"].(map[string]any))
	delete(spec, "volumeName")
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec,
		"metadata": map[string]any{"namespace": "app", "name": "data", "labels": toAny(live.GetLabels())},
	}}
}

func toAny(labels map[string]string) map[string]any {
	all := map[string]any{}
	for key, value := range labels {
		all[key] = value
	}
	return all
}

// onlyOurMover: of two Jobs of VolSync's that mount the claim one gets its Pod, and does its work.
func (a *application) onlyOurMover(t *testing.T) {
	t.Helper()
	for _, name := range []string{"volsync-src-data-backup", "volsync-dst-ours"} {
		template := pod("app", "", "data").Object["spec"].(map[string]any)
		template["restartPolicy"] = "Never"
		label := map[string]any{"app.kubernetes.io/created-by": "volsync"}
		a.create(t, jobs, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"namespace": "app", "name": name, "labels": label},
			"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": label}, "spec": template}},
		}})
	}
	require.Eventually(t, func() bool {
		live, err := a.api.Get(t.Context(), jobs, "app", "volsync-dst-ours")
		require.NoError(t, err)
		done, _, _ := unstructured.NestedInt64(live.Object, "status", "succeeded")
		return done == 1
	}, within, 100*time.Millisecond)
	for _, p := range a.mountingPods(t, "data") {
		require.Equal(t, "volsync-dst-ours", p.GetLabels()["batch.kubernetes.io/job-name"])
	}
	for _, name := range []string{"volsync-src-data-backup", "volsync-dst-ours"} {
		require.NoError(t, a.api.Delete(t.Context(), jobs, "app", name, kube.Preconditions{}, metav1.DeletePropagationBackground))
	}
	require.Eventually(t, func() bool { return len(a.mountingPods(t, "data")) == 0 }, within, 50*time.Millisecond)
}

// touchAll annotates every controller once the API server lets Pods through again.
func (a *application) touchAll(t *testing.T, spec fence.Spec) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := a.api.Create(t.Context(), pods, pod("app", "probe", spec.MountsClaim), kube.WriteOptions{DryRun: true})
		return err == nil
	}, within, 20*time.Millisecond)
	for gvr, all := range a.controllers(t) {
		for _, name := range all {
			_, err := a.api.PatchMerge(t.Context(), gvr, "app", name, []byte(`{"metadata":{"annotations":{"drctl.dev/touched":"plan-app"}}}`), kube.WriteOptions{})
			require.NoError(t, err)
		}
	}
}
