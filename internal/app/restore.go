package app

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/argocd"
	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/kube/storage"
	"github.com/drctl/drctl/internal/launch"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/volsync/live"
)

// Restore gives the use case of restores, over one watch per kind of the given namespaces, or of all of
// them for none. The watches last until ctx ends.
func (a *App) Restore(ctx context.Context, watch []string) (*restore.Restore, error) {
	client, err := a.cluster()
	if err != nil {
		return nil, err
	}
	launch.LongRun()
	looks := kube.NewWatches(ctx, client, watch)
	use := &restore.Restore{
		Cluster: restoreCluster{storage.New(client, looks), client}, Movers: restoreMovers{live.New(ctx, client, looks)},
		Repository: &sharedRepository{from: lazyRepository{a}}, Inventory: liveInventory{client}, Now: now,
		Fence: restoreFence{client, fence.NewProver(client, fenceHold)}, Argo: restoreArgo{argoLooks{argoAPI{client}, looks}},
	}
	found, err := a.tree()
	if err != nil {
		return nil, err
	}
	if found.tree != nil {
		use.Tree = restoreTree{found.tree}
	}
	return use, nil
}

// restoreCluster is the live cluster.
type restoreCluster struct {
	*storage.API
	client *kube.Client
}

// Identity says which cluster it is.
func (c restoreCluster) Identity(ctx context.Context) (restore.Identity, error) {
	uid, err := c.client.ClusterUID(ctx)
	return restore.Identity{ClusterUID: uid, Server: c.client.Server(), Context: c.client.ContextName()}, err
}

// restoreTree finds manifests in the GitOps tree.
type restoreTree struct{ tree *gitops.Tree }

// Claim is a claim as the tree has it, nil when the tree has none. What names no namespace gets that of its
// Application.
func (t restoreTree) Claim(ctx context.Context, namespace, name string) (*recovery.LiveClaim, error) {
	for _, in := range []string{namespace, "default"} {
		objects, _, err := t.tree.List(ctx, claimsResource(), in)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return nil, err
		}
		for i := range objects {
			if objects[i].GetName() != name {
				continue
			}
			object := objects[i].DeepCopy()
			unstructured.RemoveNestedField(object.Object, "metadata", "annotations", recovery.DirectoryAnnotation)
			object.SetNamespace(namespace)
			return storage.ClaimOf(object)
		}
	}
	return nil, nil
}

func claimsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
}

// argoLooks reads Applications from the watch, and changes them as ever: many claims ask for few
// Applications, again and again.
type argoLooks struct {
	argoAPI
	looks *kube.Watches
}

// Get is a look.
func (a argoLooks) Get(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := a.looks.Get(ctx, gvr, namespace, name)
	if err == nil && object == nil {
		err = &recovery.Problem{What: "read " + gvr.Resource + " " + namespace + "/" + name, Err: recovery.ErrNotFound}
	}
	return object, err
}

// List is a look.
func (a argoLooks) List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	objects, err := a.looks.List(ctx, gvr, namespace)
	if errors.Is(err, recovery.ErrDenied) {
		return a.argoAPI.List(ctx, gvr, namespace) // perhaps some of them may be read
	}
	items := make([]unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		items = append(items, *object)
	}
	return items, nil, err
}

// restoreArgo is Argo CD.
type restoreArgo struct{ api argoLooks }

// Owner is the Application that owns the claim. One that is gone is looked for by its name.
func (r restoreArgo) Owner(ctx context.Context, namespace, claim string) (*recovery.Application, error) {
	object := argocd.Object{Kind: "PersistentVolumeClaim", Namespace: namespace, Name: claim}
	live, err := r.api.looks.Get(ctx, claimsResource(), namespace, claim)
	if err != nil {
		return nil, err
	}
	if live != nil {
		object.Annotations, object.Labels = live.GetAnnotations(), live.GetLabels()
	}
	app, err := argocd.Owning(ctx, r.api, object)
	if err != nil || app == nil {
		return nil, err
	}
	return &recovery.Application{
		Namespace: app.Namespace, Name: app.Name, RepoURL: app.RepoURL, Path: app.Path, Revision: app.TargetRevision, AutoSync: app.AutoSync,
	}, nil
}

// Settled reports whether the Application is at rest.
func (r restoreArgo) Settled(ctx context.Context, app recovery.Application) (done, stuck bool, why string, err error) {
	_, stuck, why, err = argocd.Settled(ctx, r.api, app.Namespace, app.Name)
	return why == "" && err == nil, stuck, why, err
}

// Sync asks for the commit that the Application compares with, as it stands on the server.
func (r restoreArgo) Sync(ctx context.Context, app recovery.Application) error {
	now, err := argocd.Read(ctx, r.api.argoAPI, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	return argocd.Sync(ctx, r.api.argoAPI, now, now.SyncRevision, "drctl hands a restored claim back")
}
