package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
)

// TestWorkloads restores claims that are mounted by every kind of workload, with Argo CD healing all the while. A
// Job's Pod that is done holds the claim, too.
func TestWorkloads(t *testing.T) {
	for _, kind := range []string{"StatefulSet", "DaemonSet", "CronJob"} {
		t.Run(kind, func(t *testing.T) {
			c := inGit(t, kind)
			for _, mode := range []string{"replace", "in-place"} {
				t.Run(mode, func(t *testing.T) { c.restore(t, mode) })
			}
		})
	}
}

// inGit makes an Application of that kind with a claim, and a Job that is done with it.
func inGit(t *testing.T, kind string) *loneClaim {
	t.Helper()
	w := world(t)
	name := strings.ToLower(kind)
	c := &loneClaim{namespace: name, app: lab.RestoreApp{Kind: kind, Namespace: name, Name: "app", Claim: loneName}}
	require.NoError(t, w.AddNamespace(t.Context(), name))
	manifest, err := c.app.Manifest()
	require.NoError(t, err)
	workload, err := yaml.Marshal(manifest.Object)
	require.NoError(t, err)
	path := filepath.Join("my-apps", "media", name)
	_, err = w.Remote.Commit(t.Context(), "add "+name, func(dir string) error {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			return err
		}
		for file, content := range map[string]string{
			"kustomization.yaml": "resources: [pvc.yaml, workload.yaml]\n", "workload.yaml": string(workload),
			"pvc.yaml": fmt.Sprintf(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: %s, name: %s, labels: {backup: daily}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: %s
  resources: {requests: {storage: 1Gi}}
`, name, loneName, lab.RestoreClass),
		} {
			if err := os.WriteFile(filepath.Join(dir, path, file), []byte(content), 0o600); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, w.Argo.Track(t.Context(), name, path, ""))
	c.settled(t)
	c.runJob(t)
	return c
}

// settled waits until the Application is at rest.
func (c *loneClaim) settled(t *testing.T) {
	t.Helper()
	w := world(t)
	head, err := w.Remote.Head(t.Context())
	require.NoError(t, err)
	_, err = w.Argo.WaitFor(t.Context(), c.namespace, func(s lab.ArgoState) bool {
		return s.Sync == "Synced" && s.Revision == head && s.Health == "Healthy" && s.Phase != "Running"
	})
	require.NoError(t, err)
	if c.app.Kind != "CronJob" {
		require.NoError(t, w.WaitReady(t.Context(), c.app))
	}
}

// runJob runs a Job with the claim by hand, whose Pod stays.
func (c *loneClaim) runJob(t *testing.T) {
	t.Helper()
	job := c.job("migrate")
	jobs := client(t).BatchV1().Jobs(c.namespace)
	background := metav1.DeletePropagationBackground
	_ = jobs.Delete(t.Context(), job.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	require.Eventually(t, func() bool {
		_, err := jobs.Create(t.Context(), job, metav1.CreateOptions{})
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	c.waitJob(t, "job-name=migrate", time.Time{})
}

func (c *loneClaim) job(name string) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	job.Spec.Template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "job", Image: "none.invalid/job:1", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: loneName},
		}}},
	}
	return job
}

// waitJob waits for a Pod that has ended well and was made behind a moment.
func (c *loneClaim) waitJob(t *testing.T, selector string, since time.Time) {
	t.Helper()
	require.Eventually(t, func() bool {
		pods, err := client(t).CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return false
		}
		for _, pod := range pods.Items {
			if pod.Status.Phase == corev1.PodSucceeded && pod.CreationTimestamp.After(since) {
				return true
			}
		}
		return false
	}, 3*time.Minute, 200*time.Millisecond)
}

func (c *loneClaim) restore(t *testing.T, mode string) {
	w, o := world(t), operator(t)
	t.Cleanup(func() { endPlans(t, o) })
	c.backUp(t)
	c.runJob(t)
	if c.app.Kind == "CronJob" {
		c.waitJob(t, "app="+c.app.Name, time.Time{})
	}
	c.settled(t)
	uid, before := c.live(t, loneName).UID, c.workload(t)

	got := run(t, o, "pvc", "restore", c.name(), "--mode", mode, "--yes")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "is done and holds the claim: it is deleted")
	require.Contains(t, got.Stdout, c.backup.ID)
	c.settled(t)
	c.requireHeld(t, loneName, c.hash)
	if mode == "replace" {
		require.NotEqual(t, uid, c.live(t, loneName).UID)
		c.requireOldKept(t)
	} else {
		require.Equal(t, uid, c.live(t, loneName).UID)
	}
	require.Equal(t, before, c.workload(t), "the workload is as it was")
	if c.app.Kind == "CronJob" {
		c.waitJob(t, "app="+c.app.Name, time.Now())
	}
	state, err := w.Argo.State(t.Context(), c.namespace)
	require.NoError(t, err)
	require.Equal(t, []string{"Synced", "Healthy"}, []string{state.Sync, state.Health})
}

// workload is what somebody wants of it, and its annotations: replicas must not have been touched.
func (c *loneClaim) workload(t *testing.T) map[string]any {
	t.Helper()
	group, resource := "apps", strings.ToLower(c.app.Kind)+"s"
	if c.app.Kind == "CronJob" {
		group = "batch"
	}
	live, err := untyped(t).Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}).
		Namespace(c.namespace).Get(t.Context(), c.app.Name, metav1.GetOptions{})
	require.NoError(t, err)
	spec, _, err := unstructured.NestedMap(live.Object, "spec")
	require.NoError(t, err)
	return map[string]any{"spec": spec, "annotations": live.GetAnnotations(), "generation": live.GetGeneration()}
}
