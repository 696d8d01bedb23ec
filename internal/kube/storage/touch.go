package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// touchedAnnotation is set and taken away again: the change is what counts.
const touchedAnnotation = "drctl.dev/touched"

// Touch changes an annotation of the controller, so that it tries again at once: after a refused Pod it
// waits longer each time. The annotation is taken away in a second request, and with it drctl's ownership.
// A controller that is gone, or another one by now, is no error; one of a kind that Kubernetes itself does
// not have is recovery.ErrUnsupported: it tries again by itself.
func (a *API) Touch(ctx context.Context, namespace string, controller recovery.Controller, planID string) error {
	resource, known := controllerKinds()[controller.Group+"/"+controller.Kind]
	if !known {
		return &recovery.Problem{
			What: fmt.Sprintf("touch %s %s/%s", controller.Kind, namespace, controller.Name), Why: "it is no controller of Kubernetes itself",
			Next: "wait until it tries again", Err: recovery.ErrUnsupported,
		}
	}
	kind := gvr{Group: controller.Group, Version: controller.Version, Resource: resource}
	for _, value := range []any{planID + " " + time.Now().UTC().Format(time.RFC3339Nano), nil} {
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": controller.UID, "annotations": map[string]any{touchedAnnotation: value},
		}})
		if err != nil {
			return fmt.Errorf("encode a patch: %w", err)
		}
		_, err = a.client.PatchMerge(ctx, kind, namespace, controller.Name, body, kube.WriteOptions{})
		if errors.Is(err, recovery.ErrNotFound) || errors.Is(err, recovery.ErrConflict) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// controllerKinds are the resources of the controllers that make Pods, by group and kind.
func controllerKinds() map[string]string {
	return map[string]string{
		"apps/ReplicaSet": "replicasets", "apps/StatefulSet": "statefulsets", "apps/DaemonSet": "daemonsets", "apps/Deployment": "deployments",
		"batch/Job": "jobs", "batch/CronJob": "cronjobs", "/ReplicationController": "replicationcontrollers",
	}
}
