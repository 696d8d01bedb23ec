package lab_test

import (
	"bufio"
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/drctl/drctl/internal/lab"
)

// execAnswers runs psql as kubectl exec does, over WebSocket and over SPDY.
func (r recoveries) execAnswers(t *testing.T) {
	pod, err := r.Primary(t.Context(), lab.RecoveryCluster)
	require.NoError(t, err)
	run := func(t *testing.T, spdy bool, command ...string) (string, error) {
		request := r.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Container: "postgres", Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
		executor, err := remotecommand.NewWebSocketExecutor(r.Kubernetes.RESTConfig(), "GET", request.URL().String())
		if spdy {
			executor, err = remotecommand.NewSPDYExecutor(r.Kubernetes.RESTConfig(), "POST", request.URL())
		}
		require.NoError(t, err)
		var out, errOut bytes.Buffer
		err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errOut})
		return strings.TrimSpace(out.String()) + strings.TrimSpace(errOut.String()), err
	}
	for name, spdy := range map[string]bool{"WebSocket": false, "SPDY": true} {
		t.Run(name, func(t *testing.T) {
			out, err := run(t, spdy, "psql", "-tAXc", "select count(*) from item", "immich")
			require.NoError(t, err)
			require.Equal(t, "157", out)
			out, err = run(t, spdy, "psql", "-tAXc", "select no_such_column", "immich")
			require.ErrorContains(t, err, "exit code 1")
			require.Contains(t, out, "no_such_column")
		})
	}
}

// otherPodsPretend: what is not CloudNativePG's has no image here, and is said to run all the same.
func (r recoveries) otherPodsPretend(t *testing.T) {
	spec := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "app", Image: "none.invalid/app"}}}
	pods := r.client.CoreV1().Pods("default")
	_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "app"}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	jobs := r.client.BatchV1().Jobs("default")
	_, err = jobs.Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "work"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the Pod is ready", func() bool {
		pod, err := pods.Get(t.Context(), "app", metav1.GetOptions{})
		require.NoError(t, err)
		return pod.Status.Phase == corev1.PodRunning && pod.Status.ContainerStatuses[0].Ready
	})
	eventually(t, "the Job is complete", func() bool {
		job, err := jobs.Get(t.Context(), "work", metav1.GetOptions{})
		require.NoError(t, err)
		return job.Status.Succeeded == 1
	})
	require.NoError(t, pods.Delete(t.Context(), "app", metav1.DeleteOptions{}))
	eventually(t, "the Pod is gone", func() bool {
		_, err := pods.Get(t.Context(), "app", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// logsAreServed reads the instance manager's log as kubectl logs does.
func (r recoveries) logsAreServed(t *testing.T) {
	pod, err := r.Primary(t.Context(), lab.RecoveryCluster)
	require.NoError(t, err)
	two := int64(2)
	text, err := r.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "postgres", TailLines: &two}).DoRaw(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(text), "\n"), "%s", text)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := r.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "postgres", Follow: true, TailLines: &two}).Stream(ctx)
	require.NoError(t, err)
	defer func() { _ = stream.Close() }()
	_, err = r.SQL(t.Context(), "do $$ begin raise warning 'heard in the log'; end $$")
	require.NoError(t, err)
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "heard in the log") {
			return
		}
	}
	require.Fail(t, "the log ended", "%v", lines.Err())
}
