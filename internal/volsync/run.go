package volsync

import (
	"errors"
	"fmt"
	"hash/crc32"

	volsyncv1alpha1 "github.com/backube/volsync/api/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

// longestJobName is what a label's value may hold.
const longestJobName = 63

// objectStatus is the part of a ReplicationSource or ReplicationDestination that says how a run goes.
type objectStatus struct {
	Spec struct {
		Paused  bool `json:"paused"`
		Trigger struct {
			Manual string `json:"manual"`
		} `json:"trigger"`
	} `json:"spec"`
	Status struct {
		LastManualSync    string             `json:"lastManualSync"`
		LastSyncStartTime metav1.Time        `json:"lastSyncStartTime"`
		LastSyncTime      metav1.Time        `json:"lastSyncTime"`
		Conditions        []metav1.Condition `json:"conditions"`
		LatestMoverStatus struct {
			Result string `json:"result"`
			Logs   string `json:"logs"`
		} `json:"latestMoverStatus"`
		LatestImage struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"latestImage"`
	} `json:"status"`
}

func statusOf(object *unstructured.Unstructured) (objectStatus, error) {
	var read objectStatus
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &read); err != nil {
		return read, &recovery.Problem{
			What: fmt.Sprintf("read %s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()), Why: err.Error(),
			Next: "look at it: kubectl get -o yaml", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return read, nil
}

// RunOf is what a ReplicationSource or ReplicationDestination says of its run.
func RunOf(object *unstructured.Unstructured) (*recovery.MoverRun, error) {
	read, err := statusOf(object)
	if err != nil {
		return nil, err
	}
	status := read.Status
	run := &recovery.MoverRun{
		Name: object.GetName(), UID: string(object.GetUID()), PlanID: object.GetAnnotations()[recovery.PlanMark],
		Trigger: read.Spec.Trigger.Manual, Completed: status.LastManualSync,
		Result: status.LatestMoverStatus.Result, Logs: status.LatestMoverStatus.Logs,
		StartedAt: status.LastSyncStartTime.UTC(), EndedAt: status.LastSyncTime.UTC(),
		Paused: read.Spec.Paused, Job: JobName(object),
	}
	if status.LatestImage.Kind == "VolumeSnapshot" {
		run.Image = status.LatestImage.Name
	}
	if condition := meta.FindStatusCondition(status.Conditions, volsyncv1alpha1.ConditionSynchronizing); condition != nil {
		run.Condition = condition.Reason + ": " + condition.Message
	}
	return run, nil
}

// Synchronizing reports whether a run is under way: the start time is set for as long.
// Source: VolSync internal/controller/statemachine/machine.go, currentState.
func Synchronizing(object *unstructured.Unstructured) (bool, error) {
	read, err := statusOf(object)
	return !read.Status.LastSyncStartTime.IsZero() && !read.Spec.Paused, err
}

// JobName is the mover's Job of an object: shortened by a hash where it would not fit into a label.
// Source: perfectra1n/volsync internal/controller/utils/utils.go, GetJobName.
func JobName(object *unstructured.Unstructured) string {
	prefix := "volsync-dst-"
	if object.GetKind() == "ReplicationSource" {
		prefix = "volsync-src-"
	}
	name := prefix + object.GetName()
	if len(name) > longestJobName {
		return fmt.Sprintf("%s%08x", prefix, crc32.ChecksumIEEE([]byte(object.GetName())))
	}
	return name
}
