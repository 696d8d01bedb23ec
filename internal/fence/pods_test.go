package fence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

var pods = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

func podsSpec(planID, claim string) fence.Spec {
	return fence.Spec{PlanID: planID, Expires: time.Now().Add(24 * time.Hour), Namespace: "db", MountsClaim: claim}
}

// pod mounts the claims, none for none.
func pod(namespace, name string, claims ...string) *unstructured.Unstructured {
	volumes := []any{map[string]any{"name": "scratch", "emptyDir": map[string]any{}}}
	for _, claim := range claims {
		volumes = append(volumes, map[string]any{"name": "v-" + claim, "persistentVolumeClaim": map[string]any{"claimName": claim}})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{
			"containers": []any{map[string]any{"name": "app", "image": "app:1"}},
			"volumes":    volumes,
		},
	}}
}

func labelled(object *unstructured.Unstructured, labels map[string]string) *unstructured.Unstructured {
	object.SetLabels(labels)
	return object
}

// ofMover is a Pod of a Job of VolSync's that writes into the claim.
func ofMover(job, claim string) *unstructured.Unstructured {
	return labelled(pod("db", job+"-x7x7x", claim), map[string]string{
		"batch.kubernetes.io/job-name": job, "app.kubernetes.io/created-by": "volsync", "controller-uid": "any",
	})
}

func podsHeldBack(t *testing.T, c *cluster) {
	const plan = "plan-pods"
	spec := podsSpec(plan, "data")
	spec.ExemptJob = "volsync-dst-ours"
	c.up(t, spec, nil)
	generated := pod("db", "", "data")
	unstructured.RemoveNestedField(generated.Object, "metadata", "name")
	generated.SetGenerateName("web-6d5f-")

	for what, object := range map[string]*unstructured.Unstructured{
		"by name":                       pod("db", "web-0", "data"),
		"with a generated name":         generated,
		"among other claims":            pod("db", "web-0", "spare", "data"),
		"with another plan's mark":      marked(pod("db", "web-0", "data"), "plan-other"),
		"of another mover":              ofMover("volsync-src-data-backup", "data"),
		"of a Job of that name":         labelled(pod("db", "x", "data"), map[string]string{"batch.kubernetes.io/job-name": "volsync-dst-ours"}),
		"VolSync's, but of no Job":      labelled(pod("db", "x", "data"), map[string]string{"app.kubernetes.io/created-by": "volsync"}),
		"ready to run on a chosen node": onNode(pod("db", "x", "data"), "lab-node"),
	} {
		_, err := c.api.Create(t.Context(), pods, object, kube.WriteOptions{DryRun: true})
		require.ErrorIs(t, err, recovery.ErrInvalid, what)
		require.True(t, fence.Denied(err, plan), "%s: %v", what, err)
		require.Contains(t, err.Error(), "drctl plan plan-pods holds Pods that mount claim data back: drctl plans", what)
	}
	_, err := c.api.Apply(t.Context(), pods, pod("db", "web-0", "data"), kube.WriteOptions{FieldManager: "argocd-controller", Force: true})
	require.True(t, fence.Denied(err, plan), "an apply that would create: %v", err)

	for what, object := range map[string]*unstructured.Unstructured{
		"no claim":                     pod("db", "free"),
		"another claim":                pod("db", "free", "data-2"),
		"another namespace":            pod("other", "free", "data"),
		"the plan's mark":              marked(pod("db", "free", "data"), plan),
		"the exempt Job's":             ofMover("volsync-dst-ours", "data"),
		"an ephemeral volume":          withEphemeralVolume(pod("db", "free")),
		"a mirror of a static Pod":     mirror(pod("db", "free")),
		"a volume that is called data": withVolumeCalledData(pod("db", "free")),
	} {
		_, err := c.api.Create(t.Context(), pods, object, kube.WriteOptions{DryRun: true})
		require.NoError(t, err, what)
	}
}

// noExemption: without an exempt Job every mover is held back.
func noExemption(t *testing.T, c *cluster) {
	spec := podsSpec("plan-no-exemption", "lonely")
	c.up(t, spec, nil)
	_, err := c.api.Create(t.Context(), pods, ofMover("volsync-dst-any", "lonely"), kube.WriteOptions{DryRun: true})
	require.True(t, fence.Denied(err, spec.PlanID), "%v", err)
}

func onNode(object *unstructured.Unstructured, node string) *unstructured.Unstructured {
	object.Object["spec"].(map[string]any)["nodeName"] = node
	return object
}

// withEphemeralVolume gets a claim of its own, free-data.
func withEphemeralVolume(object *unstructured.Unstructured) *unstructured.Unstructured {
	object.Object["spec"].(map[string]any)["volumes"] = []any{map[string]any{"name": "data", "ephemeral": map[string]any{
		"volumeClaimTemplate": map[string]any{"spec": map[string]any{
			"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}},
		}},
	}}}
	return object
}

func withVolumeCalledData(object *unstructured.Unstructured) *unstructured.Unstructured {
	object.Object["spec"].(map[string]any)["volumes"] = []any{map[string]any{"name": "data", "configMap": map[string]any{"name": "data"}}}
	return object
}

// mirror is what a kubelet shows of a static Pod, which can't mount claims.
func mirror(object *unstructured.Unstructured) *unstructured.Unstructured {
	object.SetAnnotations(map[string]string{"kubernetes.io/config.mirror": "0123456789abcdef"})
	return onNode(object, "lab-node")
}

// livingPods: nothing but a creation is held back, and a Pod's own subresources are none.
func livingPods(t *testing.T, c *cluster) {
	living := pod("db", "living", "mounted")
	living.SetFinalizers([]string{"test.drctl.dev/hold"})
	live := c.create(t, pods, living)
	c.create(t, pods, pod("db", "evicted", "mounted"))
	spec := podsSpec("plan-living", "mounted")
	c.up(t, spec, nil)
	_, err := c.api.Create(t.Context(), pods, pod("db", "living", "mounted"), kube.WriteOptions{DryRun: true})
	require.True(t, fence.Denied(err, spec.PlanID), "the denial comes before AlreadyExists: %v", err)
	clients, err := kubernetes.NewForConfig(c.RESTConfig())
	require.NoError(t, err)
	api := clients.CoreV1().Pods("db")

	require.NoError(t, api.Bind(t.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "living"}, Target: corev1.ObjectReference{Kind: "Node", Name: "lab-node"},
	}, metav1.CreateOptions{}), "the scheduler's binding, a CREATE")
	_, err = api.Patch(t.Context(), "living", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
	require.NoError(t, err, "a patch")
	_, err = api.Patch(t.Context(), "living", types.MergePatchType, []byte(`{"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err, "the kubelet's status")
	_, err = api.Patch(t.Context(), "living", types.StrategicMergePatchType,
		[]byte(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"busybox","targetContainerName":"app"}]}}`), metav1.PatchOptions{}, "ephemeralcontainers")
	require.NoError(t, err, "kubectl debug")
	require.NoError(t, api.EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "evicted"}}), "an eviction, a CREATE")
	require.NoError(t, c.api.Delete(t.Context(), pods, "db", "living", kube.Preconditions{UID: string(live.GetUID())}, metav1.DeletePropagationBackground))
	_, err = api.Patch(t.Context(), "living", types.JSONPatchType, []byte(`[{"op":"remove","path":"/metadata/finalizers"}]`), metav1.PatchOptions{})
	require.NoError(t, err, "the last finalizer")
	zero := int64(0)
	_ = api.Delete(t.Context(), "living", metav1.DeleteOptions{GracePeriodSeconds: &zero})
	_, err = api.Get(t.Context(), "living", metav1.GetOptions{})
	require.Error(t, err)
}

func podsFenceExpires(t *testing.T, c *cluster) {
	spec := podsSpec("plan-pods-expire", "expiring")
	c.up(t, spec, nil)
	spec.Expires = time.Now().Add(2 * time.Second)
	require.NoError(t, fence.Up(t.Context(), c.api, spec))
	require.Eventually(t, func() bool {
		_, err := c.api.Create(t.Context(), pods, pod("db", "web-0", "expiring"), kube.WriteOptions{DryRun: true})
		if err != nil {
			require.True(t, fence.Denied(err, spec.PlanID), "%v", err)
		}
		return err == nil
	}, within, 50*time.Millisecond)
	require.False(t, time.Now().Before(spec.Expires.Truncate(time.Second)), "it must not open before its expiry")
}

// twoFencesOfOnePlan stand, are listed and fall each by itself.
func twoFencesOfOnePlan(t *testing.T, c *cluster) {
	const plan = "plan-with-two-fences-20261124-061502-k3x" // 40 characters
	object, onPods := configMapSpec(plan, "data"), podsSpec(plan, "two")
	require.NotEqual(t, object.PolicyName(), onPods.PolicyName())
	c.up(t, object, configMap("db", "data"))
	c.up(t, onPods, nil)
	refusal := func(gvr schema.GroupVersionResource, sample *unstructured.Unstructured) error {
		_, err := c.api.Create(t.Context(), gvr, sample, kube.WriteOptions{DryRun: true})
		return err
	}
	require.True(t, fence.Denied(refusal(configMaps, configMap("db", "data")), plan))
	require.True(t, fence.Denied(refusal(pods, pod("db", "web-0", "two")), plan))
	targets := map[string]string{}
	for _, left := range leftoversOf(t, c, plan) {
		targets[left.Name] = left.Target
		require.Equal(t, "db", left.Namespace)
	}
	require.Equal(t, map[string]string{object.PolicyName(): "ConfigMap data", onPods.PolicyName(): "Pods that mount claim two"}, targets)

	require.NoError(t, fence.Down(t.Context(), c.api, object))

	standing, err := fence.Standing(t.Context(), c.api, object)
	require.NoError(t, err)
	require.False(t, standing)
	standing, err = fence.Standing(t.Context(), c.api, onPods)
	require.NoError(t, err)
	require.True(t, standing)
	require.Len(t, leftoversOf(t, c, plan), 1)
	require.Eventually(t, func() bool { return refusal(configMaps, configMap("db", "data")) == nil }, within, 20*time.Millisecond)
	require.True(t, fence.Denied(refusal(pods, pod("db", "web-0", "two")), plan))

	require.NoError(t, fence.Down(t.Context(), c.api, onPods))
	require.Empty(t, leftoversOf(t, c, plan))
	require.Eventually(t, func() bool { return refusal(pods, pod("db", "web-0", "two")) == nil }, within, 20*time.Millisecond)
}

// sampleMeetsStandards: a probe that something else refused would prove nothing for ever.
func sampleMeetsStandards(t *testing.T, c *cluster) {
	c.create(t, namespaces, labelled(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "strict"},
	}}, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}))
	c.create(t, schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ResourceQuota", "metadata": map[string]any{"namespace": "strict", "name": "none"},
		"spec": map[string]any{"hard": map[string]any{"pods": "0", "limits.cpu": "0"}},
	}})
	c.create(t, schema.GroupVersionResource{Version: "v1", Resource: "limitranges"}, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "LimitRange", "metadata": map[string]any{"namespace": "strict", "name": "least"},
		"spec": map[string]any{"limits": []any{map[string]any{
			"type": "Container", "min": map[string]any{"cpu": "100m"}, "max": map[string]any{"cpu": "1", "memory": "1Gi"},
			"default": map[string]any{"cpu": "500m"}, "defaultRequest": map[string]any{"cpu": "100m"},
		}}},
	}})
	spec := podsSpec("plan-strict", "data")
	spec.Namespace = "strict"
	c.up(t, spec, nil)
}

func unquotablePods(t *testing.T, c *cluster) {
	tests := map[string]func(*fence.Spec){
		"quote in the claim":          func(s *fence.Spec) { s.MountsClaim = "x' || true || '" },
		"quote in the Job":            func(s *fence.Spec) { s.ExemptJob = "x' || true || '" },
		"no namespace":                func(s *fence.Spec) { s.Namespace = "" },
		"no expiry":                   func(s *fence.Spec) { s.Expires = time.Time{} },
		"an object as well":           func(s *fence.Spec) { s.Name = "data" },
		"a Job exempt from an object": func(s *fence.Spec) { *s = databaseSpec("plan-ok", "any"); s.ExemptJob = "volsync-dst-ours" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			spec := podsSpec("plan-ok", "any")
			change(&spec)
			require.ErrorIs(t, fence.Up(t.Context(), c.api, spec), recovery.ErrUsage)
		})
	}
}
