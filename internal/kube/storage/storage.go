// Package storage is what a restore does to and asks of claims, volumes, Pods, VolumeSnapshots and storage
// classes through the Kubernetes API.
//
// It imports kube and recovery, and no use case. A look is answered from a watch; everything else is the
// server's present state.
package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	managedBy = "app.kubernetes.io/managed-by"
	drctl     = "drctl"
)

// API is a cluster. It may be used from several goroutines.
type API struct {
	client *kube.Client
	looks  *kube.Watches

	mu     sync.Mutex
	nodes  map[string]nodeState
	events map[string]toldEvents

	classes      remembered[storageClasses]
	requirements remembered[[]string]
}

// nodeState is what was last seen of a node.
type nodeState struct {
	lost bool
	at   time.Time
}

// New gives a cluster whose looks go through the watches.
func New(client *kube.Client, looks *kube.Watches) *API {
	return &API{client: client, looks: looks, nodes: map[string]nodeState{}, events: map[string]toldEvents{}}
}

// gvr names a kind as the API's paths do.
type gvr = schema.GroupVersionResource

func core(resource string) gvr {
	return gvr{Version: "v1", Resource: resource}
}

func claims() gvr { return core("persistentvolumeclaims") }
func pods() gvr   { return core("pods") }

func volumeSnapshots() gvr {
	return gvr{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
}

func volsyncKind(resource string) gvr {
	return gvr{Group: "volsync.backube", Version: "v1alpha1", Resource: resource}
}

// read decodes an object into a type of Kubernetes' own.
func read(object *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		return &recovery.Problem{
			What: fmt.Sprintf("read %s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()), Why: err.Error(),
			Next: "look at it: kubectl get -o yaml", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return nil
}

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

func patchOf(operations ...operation) ([]byte, error) {
	patch, err := json.Marshal(operations)
	if err != nil {
		return nil, fmt.Errorf("encode a patch: %w", err)
	}
	return patch, nil
}

// marked is the metadata of an object of the plan's own. The annotation lets it through the plan's fence,
// the label finds it.
func marked(namespace, name, planID string) map[string]any {
	return map[string]any{
		"namespace": namespace, "name": name,
		"labels":      map[string]any{managedBy: drctl, recovery.PlanMark: planID},
		"annotations": map[string]any{recovery.PlanMark: planID},
	}
}

// foreign is the error for an object of that name that the plan did not make.
func foreign(what string, object *unstructured.Unstructured, planID string) error {
	return &recovery.Problem{
		What: fmt.Sprintf("%s %s %s/%s", what, object.GetKind(), object.GetNamespace(), object.GetName()),
		Why:  "plan " + planID + " did not make it", Next: "look who did: kubectl get -o yaml --show-managed-fields", Err: recovery.ErrConflict,
	}
}

// absent turns what is not there into no error.
func absent(err error) error {
	if errors.Is(err, recovery.ErrNotFound) {
		return nil
	}
	return err
}
