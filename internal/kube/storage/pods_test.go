package storage

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

func inNamespace(text, namespace string) string { return strings.ReplaceAll(text, "%NS%", namespace) }

const restrictedPod = `{restartPolicy: Never, %EXTRA% automountServiceAccountToken: false,
	securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}},
	containers: [{name: main, image: none, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}],
	volumes: [{name: v, persistentVolumeClaim: {claimName: data}}, {name: e, emptyDir: {}}]}`

func podSpec(extra string) string { return strings.ReplaceAll(restrictedPod, "%EXTRA%", extra) }

func findsPods(c *cluster) {
	deployment := c.create(gvr{Group: "apps", Version: "v1", Resource: "deployments"}, `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: pods, name: app},
		spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: `+strings.Replace(podSpec(""), "restartPolicy: Never, ", "", 1)+`}}}`)
	require.NotEmpty(c, deployment.GetUID())
	c.create(pods(), `{apiVersion: v1, kind: Pod, metadata: {namespace: pods, name: mover, annotations: {drctl.dev/plan: p1},
		labels: {app.kubernetes.io/created-by: volsync, batch.kubernetes.io/job-name: volsync-dst-p1}}, spec: `+podSpec("")+`}`)
	c.create(pods(), `{apiVersion: v1, kind: Pod, metadata: {namespace: pods, name: other}, spec: `+strings.Replace(podSpec(""), "claimName: data", "claimName: data2", 1)+`}`)
	var found []recovery.MountingPod
	require.Eventually(c, func() bool {
		var err error
		found, err = c.Pods(c.Context(), "pods", "data")
		require.NoError(c, err)
		return len(found) == 2
	}, within, 50*time.Millisecond)
	require.Equal(c, "ReplicaSet", found[0].Controller.Kind)
	require.Equal(c, "apps", found[0].Controller.Group)
	require.NotEmpty(c, found[0].Controller.UID)
	mover := found[1]
	require.NotEmpty(c, mover.UID)
	require.Equal(c, recovery.MountingPod{Name: "mover", UID: mover.UID, Phase: "Pending", Mover: true, Job: "volsync-dst-p1", PlanID: "p1"}, mover)
	require.Eventually(c, func() bool {
		looked, err := c.LookPods(c.Context(), "pods", "data")
		require.NoError(c, err)
		return len(looked) == 2 && looked[1].UID == mover.UID
	}, within, time.Millisecond)

	require.NoError(c, c.DeletePod(c.Context(), "pods", recovery.MountingPod{Name: "mover", UID: "its predecessor"}))
	require.Equal(c, mover.UID, string(c.get(pods(), "pods", "mover").GetUID()), "the successor stays")
	require.NoError(c, c.DeletePod(c.Context(), "pods", mover))
	require.NoError(c, c.DeletePod(c.Context(), "pods", mover), "one that is gone")
	none, err := c.Pods(c.Context(), "pods", "data3")
	require.NoError(c, err)
	require.Empty(c, none)
}

func losesNodes(c *cluster) {
	for name, ready := range map[string]string{"well": "True", "silent": "Unknown"} {
		c.create(core("nodes"), `{apiVersion: v1, kind: Node, metadata: {name: `+name+`}}`)
		body := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, ready)
		_, err := c.kube.PatchMerge(c.Context(), core("nodes"), "", name, []byte(body), kube.WriteOptions{}, "status")
		require.NoError(c, err)
		c.create(pods(), `{apiVersion: v1, kind: Pod, metadata: {namespace: nodes, name: on-`+name+`, finalizers: [drctl.dev/test]}, spec: `+podSpec("nodeName: "+name+",")+`}`)
	}
	before, err := c.Pods(c.Context(), "nodes", "data")
	require.NoError(c, err)
	for _, pod := range before {
		require.False(c, pod.NodeLost, "nobody waits for it")
		require.NoError(c, c.DeletePod(c.Context(), "nodes", pod))
	}
	after, err := c.Pods(c.Context(), "nodes", "data")
	require.NoError(c, err)
	require.Len(c, after, 2)
	for _, pod := range after {
		require.True(c, pod.Deleting)
		require.Equal(c, pod.Node == "silent", pod.NodeLost, pod.Node)
		_, err := c.kube.PatchMerge(c.Context(), pods(), "nodes", pod.Name, []byte(`{"metadata":{"finalizers":null}}`), kube.WriteOptions{})
		require.NoError(c, err)
	}
}

func makesConsumers(c *cluster) {
	require.NoError(c, c.CreateConsumer(c.Context(), "consumer", "p1", "data", "p1"), "a namespace that admits restricted Pods only")
	require.NoError(c, c.CreateConsumer(c.Context(), "consumer", "p1", "data", "p1"), "once more")
	require.ErrorIs(c, c.CreateConsumer(c.Context(), "consumer", "p1", "data", "p2"), recovery.ErrExists)
	found, err := c.Pods(c.Context(), "consumer", "data")
	require.NoError(c, err)
	require.Len(c, found, 1)
	require.Equal(c, "p1", found[0].PlanID)
	require.Nil(c, found[0].Controller)
	require.ErrorIs(c, c.RemoveConsumer(c.Context(), "consumer", "p1", "p2"), recovery.ErrConflict)
	require.NoError(c, c.RemoveConsumer(c.Context(), "consumer", "p1", "p1"))
	require.NoError(c, c.RemoveConsumer(c.Context(), "consumer", "p1", "p1"), "one that is gone")
}

func touches(c *cluster) {
	sets := gvr{Group: "apps", Version: "v1", Resource: "statefulsets"}
	made := c.create(sets, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {namespace: touch, name: db}, spec: {replicas: 0, serviceName: db,
		selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: `+strings.Replace(podSpec(""), "restartPolicy: Never, ", "", 1)+`}}}`)
	controller := recovery.Controller{Group: "apps", Version: "v1", Kind: "StatefulSet", Name: "db", UID: string(made.GetUID())}
	require.NoError(c, c.Touch(c.Context(), "touch", controller, "p1"))
	after := c.get(sets, "touch", "db")
	require.NotEqual(c, made.GetResourceVersion(), after.GetResourceVersion(), "the controller hears of it")
	require.NotContains(c, after.GetAnnotations(), touchedAnnotation)
	require.NotContains(c, managers(after), kube.FieldManager)
	require.Equal(c, made.GetGeneration(), after.GetGeneration())

	controller.UID = "another"
	require.NoError(c, c.Touch(c.Context(), "touch", controller, "p1"))
	require.Equal(c, after.GetResourceVersion(), c.get(sets, "touch", "db").GetResourceVersion(), "another one of that name")
	controller.Name = "gone"
	require.NoError(c, c.Touch(c.Context(), "touch", controller, "p1"))
	require.ErrorIs(c, c.Touch(c.Context(), "touch", recovery.Controller{Group: "example.com", Version: "v1", Kind: "Fleet", Name: "f"}, "p1"), recovery.ErrUnsupported)
}
