package platform

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// later gives the cluster's troubles as they would look after a while.
func (c *cluster) later() *API {
	return &API{client: c.kube, now: func() time.Time { return time.Now().Add(2 * patience) }}
}

func (c *cluster) troubles(api *API, namespaces ...string) []recovery.Trouble {
	c.Helper()
	found, err := api.Troubles(c.Context(), namespaces)
	require.NoError(c, err)
	return found
}

// pod makes a Pod that stands on a node and writes its status as the kubelet would.
func (c *cluster) pod(namespace, name, status string) string {
	c.Helper()
	made := c.create(core("pods"), fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {namespace: %s, name: %s},
		spec: {nodeName: node-a, automountServiceAccountToken: false, containers: [{name: main, image: "none.invalid/app:1"}]}}`, namespace, name))
	c.status(core("pods"), namespace, name, status)
	return string(made.GetUID())
}

// event writes one as a controller or the kubelet does. It is older by the given time.
func (c *cluster) event(kind, namespace, name, uid, level, reason, message string, age time.Duration) {
	c.Helper()
	at := time.Now().Add(-age).UTC().Format(time.RFC3339)
	c.create(core("events"), fmt.Sprintf(`{apiVersion: v1, kind: Event, metadata: {namespace: %[1]s, generateName: e-}, type: %[2]s, reason: %[3]s, message: %[4]q,
		involvedObject: {kind: %[5]s, namespace: %[1]s, name: %[6]s, uid: %[7]q}, firstTimestamp: %[8]q, lastTimestamp: %[8]q}`, namespace, level, reason, message, kind, name, uid, at))
}

func waiting(reason, message string) string {
	return fmt.Sprintf(`{phase: Pending, containerStatuses: [{name: main, image: "none.invalid/app:1", imageID: "", ready: false, restartCount: 0, state: {waiting: {reason: %s, message: %q}}}]}`, reason, message)
}

func findsTroublesOfPods(c *cluster) {
	c.pod("pods", "a-pulling", waiting("ImagePullBackOff", `Back-off pulling image "none.invalid/app:1"`))
	c.event("Pod", "pods", "a-pulling", "", "Warning", "Failed", `Failed to pull image "none.invalid/app:1": no such host`, 0)
	c.pod("pods", "b-configmap", waiting("CreateContainerConfigError", `configmap "settings" not found`))
	c.pod("pods", "c-secret", waiting("CreateContainerConfigError", `secret "karakeep-secret" not found`))
	c.pod("pods", "d-key", waiting("CreateContainerConfigError", `couldn't find key NEXTAUTH_SECRET in Secret pods/karakeep-secret`))
	c.pod("pods", "e-root", waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))
	c.pod("pods", "f-crash", `{phase: Running, containerStatuses: [{name: main, image: i, imageID: "", ready: false, restartCount: 4,
		state: {waiting: {reason: CrashLoopBackOff, message: "back-off 1m20s restarting failed container"}},
		lastState: {terminated: {exitCode: 2, reason: Error, message: "panic: password=CANARY-4711"}}}]}`)
	c.pod("pods", "g-ended", `{phase: Running, initContainerStatuses: [{name: init, image: i, imageID: "", ready: false, restartCount: 1, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]}`)
	mounting := c.pod("pods", "h-mount", waiting("ContainerCreating", ""))
	c.event("Pod", "pods", "h-mount", mounting, "Warning", "FailedMount", `MountVolume.SetUp failed for volume "tls" : secret "wildcard-tls" not found`, 0)
	c.event("Pod", "pods", "h-mount", mounting, "Warning", "FailedMount", `MountVolume.SetUp failed for volume "older" : timed out`, time.Minute)
	attaching := c.pod("pods", "i-attach", waiting("ContainerCreating", ""))
	c.event("Pod", "pods", "i-attach", attaching, "Warning", "FailedAttachVolume", `Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node`, 0)
	replaced := c.pod("pods", "j-replaced", waiting("ContainerCreating", ""))
	c.event("Pod", "pods", "j-replaced", replaced+"0", "Warning", "FailedMount", "of a former Pod of that name", 0)
	c.pod("pods", "k-ready", `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: main, image: i, imageID: "", ready: true, restartCount: 3,
		state: {running: {}}, lastState: {terminated: {exitCode: 1}}}]}`)
	c.pod("pods", "l-slow", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: "False", reason: ContainersNotReady, message: "containers with unready status: [main]", lastTransitionTime: %q}],
		containerStatuses: [{name: main, image: i, imageID: "", ready: false, restartCount: 0, state: {running: {}}}]}`, time.Now().UTC().Format(time.RFC3339)))
	c.event("Pod", "pods", "l-slow", "", "Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 0)
	c.pod("pods", "m-done", `{phase: Succeeded}`)
	c.pod("pods", "n-failed", `{phase: Failed, reason: Evicted, containerStatuses: [{name: main, image: i, imageID: "", ready: false, restartCount: 0, state: {terminated: {exitCode: 1}}}]}`)
	c.create(core("pods"), `{apiVersion: v1, kind: Pod, metadata: {namespace: pods, name: o-unscheduled}, spec: {automountServiceAccountToken: false, nodeSelector: {disk: fast}, containers: [{name: main, image: i}]}}`)

	const slow, unscheduled = "Pod pods/l-slow", "Pod pods/o-unscheduled"
	var found []recovery.Trouble
	require.Eventually(c, func() bool {
		found = c.troubles(c.API, "pods")
		return len(found) > 0 && found[len(found)-1].Object == unscheduled
	}, patient, 50*time.Millisecond, "the scheduler says why it takes it nowhere")
	last := len(found) - 1
	require.Equal(c, recovery.TroubleUnscheduled, found[last].Kind)
	require.Contains(c, found[last].Message, "Unschedulable: 0/")
	require.Equal(c, []recovery.Trouble{
		{Kind: recovery.TroubleImage, Object: "Pod pods/a-pulling", Message: `container main: ImagePullBackOff: Failed to pull image "none.invalid/app:1": no such host`, Missing: "none.invalid/app:1"},
		{Kind: recovery.TroubleConfigMap, Object: "Pod pods/b-configmap", Message: `container main: CreateContainerConfigError: configmap "settings" not found`, Missing: "settings"},
		{Kind: recovery.TroubleSecret, Object: "Pod pods/c-secret", Message: `container main: CreateContainerConfigError: secret "karakeep-secret" not found`, Missing: "karakeep-secret"},
		{Kind: recovery.TroubleSecret, Object: "Pod pods/d-key", Message: `container main: CreateContainerConfigError: couldn't find key NEXTAUTH_SECRET in Secret pods/karakeep-secret`, Missing: "karakeep-secret"},
		{Kind: recovery.TroubleNotReady, Object: "Pod pods/e-root", Message: "container main: CreateContainerConfigError: container has runAsNonRoot and image will run as root"},
		{Kind: recovery.TroubleCrash, Object: "Pod pods/f-crash", Message: "container main: CrashLoopBackOff: back-off 1m20s restarting failed container; it ended with exit code 2 (Error)"},
		{Kind: recovery.TroubleCrash, Object: "Pod pods/g-ended", Message: "container init ended with exit code 137 (OOMKilled)"},
		{Kind: recovery.TroubleSecret, Object: "Pod pods/h-mount", Message: `FailedMount: MountVolume.SetUp failed for volume "tls" : secret "wildcard-tls" not found`, Missing: "wildcard-tls"},
		{Kind: recovery.TroubleVolume, Object: "Pod pods/i-attach", Message: `FailedAttachVolume: Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node`},
		{Kind: recovery.TroubleCrash, Object: "Pod pods/n-failed", Message: "Evicted: the Pod has failed: container main ended with exit code 1"},
	}, found[:last])
	for _, trouble := range c.troubles(c.later(), "pods") {
		if trouble.Object == slow {
			require.Equal(c, recovery.Trouble{Kind: recovery.TroubleNotReady, Object: slow,
				Message: "ContainersNotReady: containers with unready status: [main]; Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503"}, trouble)
			return
		}
	}
	require.Fail(c, "a Pod that stays unready is told")
}

func findsPendingClaims(c *cluster) {
	c.claim("pending", "unknown-class", "labels: {a: b}", "")
	var found []recovery.Trouble
	require.Eventually(c, func() bool {
		found = c.troubles(c.API, "pending")
		return len(found) == 1
	}, patient, 50*time.Millisecond, "the volume controller complains")
	require.Equal(c, recovery.TroublePending, found[0].Kind)
	require.Equal(c, "PersistentVolumeClaim pending/unknown-class", found[0].Object)
	require.Contains(c, found[0].Message, `storageclass.storage.k8s.io "none" not found`)

	classes := gvr{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	c.create(classes, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: late}, provisioner: p.example.invalid, volumeBindingMode: WaitForFirstConsumer}`)
	c.create(classes, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: prompt}, provisioner: p.example.invalid}`)
	for _, class := range []string{"late", "prompt"} {
		c.create(core("persistentvolumeclaims"), `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: pending, name: `+class+`},
			spec: {storageClassName: `+class+`, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)
	}
	require.Eventually(c, func() bool {
		events, err := c.kube.Warnings(c.Context(), "pending", "PersistentVolumeClaim", "late")
		require.NoError(c, err)
		list, err := c.kube.ListWhere(c.Context(), core("events"), "pending", "")
		require.NoError(c, err)
		said := map[string]bool{}
		for i := range list {
			said[list[i].Object["reason"].(string)] = true
		}
		return len(events) == 0 && said["WaitForFirstConsumer"] && said["ExternalProvisioning"]
	}, patient, 50*time.Millisecond)
	require.Len(c, c.troubles(c.API, "pending"), 1, "two are on their way")
	later := c.troubles(c.later(), "pending")
	require.Len(c, later, 2, "and one of them for long; the other waits for a Pod, as it should")
	require.Equal(c, "PersistentVolumeClaim pending/prompt", later[0].Object)
	require.Contains(c, later[0].Message, "ExternalProvisioning: ")
}

func findsFailedJobs(c *cluster) {
	jobs := gvr{Group: "batch", Version: "v1", Resource: "jobs"}
	c.create(jobs, `{apiVersion: batch/v1, kind: Job, metadata: {namespace: jobs, name: migrate}, spec: {backoffLimit: 0, template: {spec: {
		restartPolicy: Never, nodeName: node-a, automountServiceAccountToken: false, containers: [{name: main, image: i}]}}}}`)
	var pod string
	require.Eventually(c, func() bool {
		pods, err := c.kube.ListWhere(c.Context(), core("pods"), "jobs", "")
		require.NoError(c, err)
		if len(pods) == 1 {
			pod = pods[0].GetName()
		}
		return len(pods) == 1
	}, patient, 50*time.Millisecond)
	require.Empty(c, c.troubles(c.API, "jobs"))
	c.status(core("pods"), "jobs", pod, `{phase: Failed, containerStatuses: [{name: main, image: i, imageID: "", ready: false, restartCount: 0, state: {terminated: {exitCode: 1, finishedAt: "2026-11-24T10:00:00Z"}}}]}`)
	require.Eventually(c, func() bool { return len(c.troubles(c.API, "jobs")) == 1 }, patient, 50*time.Millisecond)
	require.Equal(c, []recovery.Trouble{{Kind: recovery.TroubleJob, Object: "Job jobs/migrate", Message: "BackoffLimitExceeded: Job has reached the specified backoff limit"}}, c.troubles(c.API, "jobs"))
}

func findsForbiddenCreations(c *cluster) {
	c.create(core("resourcequotas"), `{apiVersion: v1, kind: ResourceQuota, metadata: {namespace: creation, name: none}, spec: {hard: {pods: "0"}}}`)
	c.status(core("resourcequotas"), "creation", "none", `{hard: {pods: "0"}, used: {pods: "0"}}`)
	template := `selector: {matchLabels: {app: %[1]s}}, template: {metadata: {labels: {app: %[1]s}}, spec: {automountServiceAccountToken: false, containers: [{name: main, image: i}]}}}}`
	c.create(apps("deployments"), `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: creation, name: web}, spec: {`+fmt.Sprintf(template, "web"))
	c.create(apps("statefulsets"), `{apiVersion: apps/v1, kind: StatefulSet, metadata: {namespace: creation, name: db}, spec: {serviceName: db, `+fmt.Sprintf(template, "db"))
	c.create(gvr{Group: "batch", Version: "v1", Resource: "jobs"}, `{apiVersion: batch/v1, kind: Job, metadata: {namespace: creation, name: once}, spec: {template: {spec: {
		restartPolicy: Never, automountServiceAccountToken: false, containers: [{name: main, image: i}]}}}}`)
	kinds := func() []string {
		found := []string{}
		for _, trouble := range c.troubles(c.API, "creation") {
			require.Equal(c, recovery.TroubleCreation, trouble.Kind)
			require.Contains(c, trouble.Message, "exceeded quota: none")
			kind, _, _ := strings.Cut(trouble.Object, " ")
			found = append(found, kind)
		}
		return found
	}
	require.Eventually(c, func() bool { return len(kinds()) == 3 }, patient, 100*time.Millisecond)
	require.Equal(c, []string{"Job", "ReplicaSet", "StatefulSet"}, kinds())

	// The event stays for an hour; the StatefulSet has what it wants.
	body := []byte(`{"spec":{"replicas":0}}`)
	_, err := c.kube.PatchMerge(c.Context(), apps("statefulsets"), "creation", "db", body, writeAs("somebody"))
	require.NoError(c, err)
	require.Equal(c, []string{"Job", "ReplicaSet"}, kinds())
}

// looksAtManyNamespaces: above two namespaces each kind is listed once for the whole cluster, and filtered.
func looksAtManyNamespaces(c *cluster) {
	before := c.kube.Requests()
	found := c.troubles(c.API, "pods", "jobs", "many", "jobs")
	require.EqualValues(c, 4, c.kube.Requests()-before)
	namespaces := map[string]bool{}
	for _, trouble := range found {
		_, name, _ := strings.Cut(trouble.Object, " ")
		namespace, _, _ := strings.Cut(name, "/")
		namespaces[namespace] = true
	}
	require.Equal(c, map[string]bool{"pods": true, "jobs": true}, namespaces)
}

func TestMissingReference(t *testing.T) {
	for message, want := range map[string]string{
		`secret "a-b" not found`:                             "secret a-b",
		`secrets "a" not found`:                              "secret a",
		`references non-existent secret key: password`:       "secret ",
		`couldn't find key k in ConfigMap ns/settings`:       "configmap settings",
		`object "ns"/"x" not registered`:                     "not-ready ",
		`MountVolume.SetUp failed : configmap "c" not found`: "configmap c",
	} {
		kind, name := missingReference(message)
		require.Equal(t, want, string(kind)+" "+name, message)
	}
}
