package app

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// nfsCarriers are the kinds in which the platform names its NFS export: Kyverno's policy that injects
// the volume into movers, in the old API and the new, and the plumber's Deployment.
func nfsCarriers() []struct {
	gvr  schema.GroupVersionResource
	name string
} {
	return []struct {
		gvr  schema.GroupVersionResource
		name string
	}{
		{schema.GroupVersionResource{Group: "kyverno.io", Version: "v1", Resource: "clusterpolicies"}, "volsync-nfs-inject"},
		{schema.GroupVersionResource{Group: "policies.kyverno.io", Version: "v1", Resource: "mutatingpolicies"}, "volsync-nfs-inject"},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "pvc-plumber"},
	}
}

// discoverRepository finds the platform's NFS export in the cluster or the GitOps tree.
func (a *App) discoverRepository(ctx context.Context) (string, error) {
	objects, _, err := a.objects()
	if err != nil {
		return "", err
	}
	var lister interface {
		List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error)
	}
	switch {
	case objects.live != nil:
		lister = objects.live
	case objects.tree != nil:
		lister = objects.tree
	}
	var unread error
	if lister != nil {
		for _, carrier := range nfsCarriers() {
			list, _, err := lister.List(ctx, carrier.gvr, "")
			if errors.Is(err, recovery.ErrUnreachable) {
				return "", err
			}
			if err != nil && !errors.Is(err, recovery.ErrNotFound) {
				unread = errors.Join(unread, err)
			}
			for _, object := range list {
				if object.GetName() != carrier.name {
					continue
				}
				if address := nfsAddress(object.Object); address != "" {
					return address, nil
				}
			}
		}
	}
	return "", &recovery.Problem{
		What: "no Kopia repository is known",
		Why:  "no flag, variable or configuration names one, and neither the Kyverno policy volsync-nfs-inject nor the Deployment pvc-plumber was found with an NFS volume",
		Next: "give --repo (PATH, nfs://HOST/EXPORT or s3://BUCKET/PREFIX), or set DRCTL_REPO",
		Err:  errors.Join(recovery.ErrNotFound, unread),
	}
}

// nfsAddress is the first NFS volume anywhere in an object, as a --repo address.
func nfsAddress(node any) string {
	switch value := node.(type) {
	case map[string]any:
		if volume, ok := value["nfs"].(map[string]any); ok {
			server, _ := volume["server"].(string)
			path, _ := volume["path"].(string)
			if server != "" && path != "" {
				return "nfs://" + server + path
			}
		}
		for _, child := range value {
			if address := nfsAddress(child); address != "" {
				return address
			}
		}
	case []any:
		for _, child := range value {
			if address := nfsAddress(child); address != "" {
				return address
			}
		}
	}
	return ""
}
