package lab

import (
	"context"
	"errors"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// replication is a ReplicationSource or ReplicationDestination. (VolSync's own types do not know the Kopia
// block.)
type replication struct{ *unstructured.Unstructured }

func (r *replication) isSource() bool { return r.GetKind() == sourceKind }

// spec gives a text of the spec, empty where it is not set; kopia one of its Kopia block.
func (r *replication) spec(path ...string) string {
	text, _, _ := unstructured.NestedString(r.Object, append([]string{"spec"}, path...)...)
	return text
}

func (r *replication) kopia(path ...string) string {
	return r.spec(append([]string{"kopia"}, path...)...)
}

func (r *replication) kopiaFlag(name string) bool {
	flag, _, _ := unstructured.NestedBool(r.Object, "spec", "kopia", name)
	return flag
}

func (r *replication) status(path ...string) string {
	text, _, _ := unstructured.NestedString(r.Object, append([]string{"status"}, path...)...)
	return text
}

// set writes a field of the status; nil removes it.
func (r *replication) set(value any, path ...string) {
	path = append([]string{"status"}, path...)
	if value == nil {
		unstructured.RemoveNestedField(r.Object, path...)
		return
	}
	// A status that is not a map is the only error, and the server refuses that.
	_ = unstructured.SetNestedField(r.Object, value, path...)
}

// The reasons of the condition Synchronizing.
// Source: backube/volsync api/v1alpha1/common_types.go.
const (
	reasonSync     = "SyncInProgress"
	reasonSchedule = "WaitingForSchedule"
	reasonManual   = "WaitingForManual"
	reasonCleanup  = "CleaningUp"
	reasonError    = "Error"
)

// condition sets the condition Synchronizing.
// Source: backube/volsync internal/controller/statemachine/conditions.go.
func (r *replication) condition(status metav1.ConditionStatus, reason, message string) {
	condition := map[string]any{
		"type": "Synchronizing", "status": string(status), "reason": reason, "message": message,
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}
	all, _, _ := unstructured.NestedSlice(r.Object, "status", "conditions")
	for i, old := range all {
		if was, ok := old.(map[string]any); ok && was["type"] == condition["type"] {
			if was["status"] == condition["status"] {
				condition["lastTransitionTime"] = was["lastTransitionTime"]
			}
			all[i] = condition
			r.set(all, "conditions")
			return
		}
	}
	r.set(append(all, condition), "conditions")
}

// advance takes a replication one state further: it begins when it never ran, then it synchronizes, and when
// that is complete it is cleaned up and waits. What the state is, the status alone says, so that a restart
// changes nothing.
// Source: backube/volsync internal/controller/statemachine/machine.go.
func (v *VolSync) advance(ctx context.Context, r *replication) error {
	before := r.DeepCopy()
	err := v.step(ctx, r)
	if err != nil && !errors.Is(err, errTooEarly) {
		r.condition(metav1.ConditionFalse, reasonError, err.Error())
	}
	if reflect.DeepEqual(before.Object["status"], r.Object["status"]) {
		return err
	}
	_, written := v.dynamic.Resource(volsyncResource(r.GetKind())).Namespace(r.GetNamespace()).UpdateStatus(ctx, r.Unstructured, metav1.UpdateOptions{})
	return errors.Join(err, written)
}

func (v *VolSync) step(ctx context.Context, r *replication) error {
	if _, ours, _ := unstructured.NestedMap(r.Object, "spec", "kopia"); !ours {
		return errors.New("a replication method must be specified")
	}
	started, ended := r.status("lastSyncStartTime"), r.status("lastSyncTime")
	switch {
	case started == "" && ended == "":
		r.begin()
		return nil
	case started != "":
		done, err := v.synchronize(ctx, r)
		if err != nil {
			return err
		}
		if !done {
			r.condition(metav1.ConditionTrue, reasonSync, "Synchronization in-progress")
			return nil
		}
		return r.finish()
	}
	if err := v.cleanUp(ctx, r); err != nil {
		return err
	}
	manual := r.spec("trigger", "manual")
	switch {
	case manual == "" && r.spec("trigger", "schedule") != "":
		r.condition(metav1.ConditionFalse, reasonSchedule, "Waiting for next scheduled synchronization")
	case manual == "", manual != r.status("lastManualSync"):
		r.begin()
	default:
		r.condition(metav1.ConditionFalse, reasonManual, "Waiting for manual trigger")
	}
	return nil
}

func (r *replication) begin() {
	r.set(time.Now().UTC().Format(time.RFC3339), "lastSyncStartTime")
	r.condition(metav1.ConditionTrue, reasonSync, "Synchronization in-progress")
}

// finish records the end. It copies the trigger that stands in the spec now, not the one that the run began
// with: a trigger that was set meanwhile is swallowed.
func (r *replication) finish() error {
	started, err := time.Parse(time.RFC3339, r.status("lastSyncStartTime"))
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	r.set(now.Format(time.RFC3339), "lastSyncTime")
	r.set(now.Sub(started).String(), "lastSyncDuration")
	r.set(nil, "lastManualSync")
	if manual := r.spec("trigger", "manual"); manual != "" {
		r.set(manual, "lastManualSync")
	}
	r.set(nil, "lastSyncStartTime")
	r.condition(metav1.ConditionFalse, reasonCleanup, "Cleaning up")
	return nil
}
