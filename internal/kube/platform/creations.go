package platform

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// creating are the kinds that make Pods, and where an object of one says how many it wants and has. A Deployment
// makes none itself.
type creating struct {
	kind            gvr
	wanted, present []string
}

func creatingKinds() map[string]creating {
	return map[string]creating{
		"ReplicaSet":  {apps("replicasets"), []string{"spec", "replicas"}, []string{"status", "replicas"}},
		"StatefulSet": {apps("statefulsets"), []string{"spec", "replicas"}, []string{"status", "replicas"}},
		"DaemonSet":   {apps("daemonsets"), []string{"status", "desiredNumberScheduled"}, []string{"status", "currentNumberScheduled"}},
		"Job":         {gvr{Group: "batch", Version: "v1", Resource: "jobs"}, nil, nil},
	}
}

// creations finds controllers that may not create their Pods: quota, admission. Only their events say so (the
// ReplicaSet's condition says the same), and an event stays for an hour, so the object itself is asked whether its
// Pods are missing still.
func (a *API) creations(ctx context.Context, s *situation) error {
	for key, events := range s.events {
		kind, name, _ := strings.Cut(key, " ")
		controller, creates := creatingKinds()[kind]
		failure := newest(events, "FailedCreate")
		if failure == nil || !creates || failure.Type != corev1.EventTypeWarning {
			continue
		}
		namespace, name, _ := strings.Cut(name, "/")
		live, err := a.client.Get(ctx, controller.kind, namespace, name)
		if err != nil {
			if absent(err) != nil {
				return err
			}
			continue
		}
		sameObject := failure.InvolvedObject.UID == "" || failure.InvolvedObject.UID == live.GetUID()
		if sameObject && live.GetDeletionTimestamp() == nil && controller.lacks(live) {
			s.add(recovery.TroubleCreation, key, said(failure.Reason, failure.Message), "")
		}
	}
	return nil
}

// lacks reports whether Pods of the controller are missing. A Job lacks one as long as it has made none.
func (c *creating) lacks(live *unstructured.Unstructured) bool {
	count := func(path []string) int64 {
		n, _, _ := unstructured.NestedInt64(live.Object, path...)
		return n
	}
	if c.wanted == nil {
		return count([]string{"status", "active"})+count([]string{"status", "succeeded"})+count([]string{"status", "failed"}) == 0
	}
	return count(c.present) < count(c.wanted)
}
