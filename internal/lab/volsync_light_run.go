package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// lightLook is how often an order is looked at.
	lightLook = 50 * time.Millisecond
	// lightTries is how often a write is tried.
	lightTries = 5
)

// run is one run of a ReplicationDestination, from the start that its status tells of to the Job's end.
// Source: backube/volsync internal/controller/statemachine/machine.go.
func (v *LightVolSync) run(ctx context.Context, r *replication) error {
	began := time.Now()
	as := recovery.KopiaSource{Username: r.kopia("username"), Hostname: r.kopia("hostname"), Path: "/data"}
	r.begin()
	if err := v.writeStatus(ctx, r, "lastSyncStartTime", "conditions"); err != nil {
		return err
	}
	pod, err := v.mover(ctx, r)
	if err != nil {
		return err
	}
	// However it ends, the Pod goes: with its Job, or, where the destination is gone, by the garbage collector
	// and a kubelet.
	defer func() { v.endPod(context.WithoutCancel(ctx), pod) }()
	selected, found := selectSnapshot(v.options.Snapshots[as], r.kopia("restoreAsOf"), number64(r, "previous"))
	v.logs.say(pod, "INFO: === Starting restore operation ===")
	if found {
		v.logs.say(pod, "Selected snapshot with id: "+selected.ID)
	}
	if err := v.obey(ctx, r, as, pod); err != nil {
		return err
	}
	if found {
		v.logs.say(pod, fmt.Sprintf("Restored %d files, 1 directories and 0 symbolic links (1 KB).", selected.Files), "INFO: Snapshot restore completed successfully")
	} else {
		v.logs.say(pod, "No eligible snapshots found", "=== No data will be restored ===")
	}
	v.logs.end(pod)
	if err := v.podPhase(ctx, pod, corev1.PodSucceeded); err != nil {
		return err
	}
	image, err := v.image(ctx, r)
	if err != nil {
		return err
	}
	r.set("Successful", "latestMoverStatus", "result")
	r.set("", "latestMoverStatus", "logs")
	r.set(map[string]any{"apiGroup": snapshotGroup, "kind": snapshotKind, "name": image}, "latestImage")
	if err := r.finish(); err != nil {
		return err
	}
	r.set(time.Since(began).String(), "lastSyncDuration")
	return v.writeStatus(ctx, r, "lastSyncStartTime", "lastSyncTime", "lastSyncDuration", "lastManualSync", "latestMoverStatus", "latestImage", "conditions")
}

// obey works for its time, or as was ordered. A mover that failed is made again by VolSync; here it is said to
// have failed until the order is taken back.
func (v *LightVolSync) obey(ctx context.Context, r *replication, as recovery.KopiaSource, pod *corev1.Pod) error {
	if v.options.Duration != nil {
		if err := lightWait(ctx, v.options.Duration(as)); err != nil {
			return err
		}
	}
	failed := false
	for order := v.ordered(as); order == OrderHang || order.fails(); order = v.ordered(as) {
		if order.fails() && !failed {
			failed = true
			const why = "ERROR: Failed to restore snapshot: a test ordered it"
			v.logs.say(pod, why)
			r.set("Failed", "latestMoverStatus", "result")
			r.set(why, "latestMoverStatus", "logs")
			if err := v.writeStatus(ctx, r, "latestMoverStatus"); err != nil {
				return err
			}
		}
		if err := lightWait(ctx, lightLook); err != nil {
			return err
		}
	}
	return nil
}

func lightWait(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func number64(r *replication, field string) int {
	value, _, _ := unstructured.NestedInt64(r.Object, "spec", "kopia", field)
	return int(value)
}

// writeStatus writes these fields of the status; one that is not set is removed.
func (v *LightVolSync) writeStatus(ctx context.Context, r *replication, fields ...string) error {
	status, _, _ := unstructured.NestedMap(r.Object, "status")
	picked := map[string]any{}
	for _, field := range fields {
		picked[field] = status[field]
	}
	body, err := json.Marshal(map[string]any{"status": picked})
	if err != nil {
		return err
	}
	return lightRetry(ctx, func() error {
		_, err := v.dynamic.Resource(volsyncResource(destinationKind)).Namespace(r.GetNamespace()).
			Patch(ctx, r.GetName(), types.MergePatchType, body, metav1.PatchOptions{}, "status")
		return err
	})
}

// lightRetry tries again what failed for a moment; what is there already is no error.
func lightRetry(ctx context.Context, do func() error) (err error) {
	for range lightTries {
		if err = do(); err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		if apierrors.IsNotFound(err) {
			return err
		}
		if waited := lightWait(ctx, 200*time.Millisecond); waited != nil {
			return waited
		}
	}
	return err
}

// mover makes the Pod, running on the node that serves its log.
func (v *LightVolSync) mover(ctx context.Context, r *replication) (*corev1.Pod, error) {
	job := jobName(r)
	pod := &corev1.Pod{
		ObjectMeta: r.owned(fmt.Sprintf("%s-%d", job, time.Now().UnixNano()%1e6), false),
		Spec: corev1.PodSpec{
			NodeName: NodeName, RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{Name: "kopia", Image: "ghcr.io/perfectra1n/volsync"}},
		},
	}
	pod.Labels["batch.kubernetes.io/job-name"], pod.Labels["job-name"] = job, job
	v.logs.open(pod)
	if err := lightRetry(ctx, func() error {
		_, err := v.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		return err
	}); err != nil {
		return nil, err
	}
	return pod, v.podPhase(ctx, pod, corev1.PodRunning)
}

func (v *LightVolSync) podPhase(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase) error {
	body, err := json.Marshal(map[string]any{"status": map[string]any{"phase": phase}})
	if err != nil {
		return err
	}
	return lightRetry(ctx, func() error {
		_, err := v.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
		return err
	})
}

// endPod removes the Pod as a kubelet does.
func (v *LightVolSync) endPod(ctx context.Context, pod *corev1.Pod) {
	v.logs.end(pod)
	now := int64(0)
	err := v.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if ignoreNotFound(err) != nil {
		v.stack.Logf("light VolSync: remove Pod %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// image makes the VolumeSnapshot that a claim is populated from.
func (v *LightVolSync) image(ctx context.Context, r *replication) (string, error) {
	name := "volsync-" + r.GetName() + "-dest-" + time.Now().UTC().Format("20060102150405")
	snapshots := v.dynamic.Resource(snapshotResource("volumesnapshots")).Namespace(r.GetNamespace())
	snapshot := reference(snapshotGroup+"/v1", snapshotKind, r.GetNamespace(), name)
	owned := r.owned(name, false)
	snapshot.SetOwnerReferences(owned.OwnerReferences)
	snapshot.SetLabels(owned.Labels)
	snapshot.Object["spec"] = map[string]any{"source": map[string]any{"persistentVolumeClaimName": "volsync-" + r.GetName() + "-dest"}}
	if err := lightRetry(ctx, func() error {
		_, err := snapshots.Create(ctx, snapshot, metav1.CreateOptions{})
		return err
	}); err != nil {
		return "", err
	}
	body := []byte(`{"status":{"readyToUse":true,"restoreSize":"10Gi"}}`)
	return name, lightRetry(ctx, func() error {
		_, err := snapshots.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
		return err
	})
}
