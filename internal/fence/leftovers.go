package fence

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
)

// Leftover is a fence that stands, wholly or in part.
type Leftover struct {
	// Name is the name of its policy and binding.
	Name   string
	PlanID string
	// Namespace and Target ("Cluster immich-database", "Pods that mount claim data-pvc") are what it holds
	// back.
	Namespace, Target string
	Created           time.Time
	// Expires is zero when it can't be read.
	Expires time.Time
}

// Leftovers lists the fences of all plans, oldest first. Whether a plan still needs its fence is for the
// caller to know.
func Leftovers(ctx context.Context, api *kube.Client) ([]Leftover, error) {
	found := map[string]Leftover{}
	for _, gvr := range []schema.GroupVersionResource{policiesResource(), bindingsResource()} {
		items, err := api.ListWhere(ctx, gvr, "", managedByKey+"="+managedByValue+","+MarkKey)
		if err != nil {
			return nil, err
		}
		for i := range items {
			name := items[i].GetName()
			if _, known := found[name]; !known && strings.HasPrefix(name, namePrefix) {
				found[name] = leftoverOf(&items[i])
			}
		}
	}
	leftovers := make([]Leftover, 0, len(found))
	for _, leftover := range found {
		leftovers = append(leftovers, leftover)
	}
	slices.SortFunc(leftovers, func(a, b Leftover) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	return leftovers, nil
}

// Left reports whether any part of a plan's fences is there.
func Left(ctx context.Context, api *kube.Client, planID string) (bool, error) {
	for _, gvr := range []schema.GroupVersionResource{bindingsResource(), policiesResource()} {
		items, err := api.ListWhere(ctx, gvr, "", Spec{PlanID: planID}.selector())
		if err != nil || slices.ContainsFunc(items, func(item unstructured.Unstructured) bool { return strings.HasPrefix(item.GetName(), namePrefix) }) {
			return err == nil, err
		}
	}
	return false, nil
}

func leftoverOf(live *unstructured.Unstructured) Leftover {
	annotations := live.GetAnnotations()
	return Leftover{
		Name: live.GetName(), PlanID: live.GetLabels()[MarkKey], Namespace: annotations[namespaceKey],
		Target: strings.TrimSpace(annotations[kindKey] + " " + annotations[nameKey]), Created: live.GetCreationTimestamp().UTC(),
		Expires: expiryOf(live),
	}
}

// expiryOf is zero for a fence whose expiry can't be read.
func expiryOf(live *unstructured.Unstructured) time.Time {
	expires, err := time.Parse(time.RFC3339, live.GetAnnotations()[expiresKey])
	if err != nil {
		return time.Time{}
	}
	return expires.UTC()
}
