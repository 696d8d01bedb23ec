package app

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"

	"github.com/drctl/drctl/internal/argocd"
	"github.com/drctl/drctl/internal/cloudnativepg/live"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// flipCluster is the live cluster.
type flipCluster struct {
	live.API
}

// Identity says which cluster it is.
func (c flipCluster) Identity(ctx context.Context) (flip.Identity, error) {
	uid, err := c.Client.ClusterUID(ctx)
	return flip.Identity{ClusterUID: uid, Server: c.Client.Server(), Context: c.Client.ContextName()}, err
}

// fenceHold is how long the fence must have refused without a hole: two API servers became effective
// 0.6 s apart.
const fenceHold = 5 * time.Second

// flipFence holds creation of a Cluster back.
type flipFence struct{ client *kube.Client }

func fenceSpec(planID, namespace, name string, expires time.Time) fence.Spec {
	return fence.Spec{
		PlanID: planID, Expires: expires, GVR: apiv1.SchemeGroupVersion.WithResource("clusters"), Kind: apiv1.ClusterKind, Namespace: namespace, Name: name,
	}
}

// Up builds the fence, or moves its end.
func (f flipFence) Up(ctx context.Context, planID, namespace, name string, expires time.Time) error {
	return fence.Up(ctx, f.client, fenceSpec(planID, namespace, name, expires))
}

// Prove returns once the fence has held for five seconds.
func (f flipFence) Prove(ctx context.Context, planID, namespace, name string, sample json.RawMessage) error {
	object, err := decodeManifest(sample)
	if err != nil {
		return err
	}
	return fence.Prove(ctx, f.client, fenceSpec(planID, namespace, name, time.Now().Add(fenceHold)), object, fenceHold)
}

// Standing reports whether the fence is there.
func (f flipFence) Standing(ctx context.Context, planID, namespace, name string) (bool, error) {
	return fence.Standing(ctx, f.client, fenceSpec(planID, namespace, name, time.Now().Add(fenceHold)))
}

// Left reports whether any part of the plan's fence is there.
func (f flipFence) Left(ctx context.Context, planID string) (bool, error) {
	found, err := fence.Leftovers(ctx, f.client)
	return slices.ContainsFunc(found, func(left fence.Leftover) bool { return left.PlanID == planID }), err
}

// Down takes it away.
func (f flipFence) Down(ctx context.Context, planID, namespace, name string) error {
	return fence.Down(ctx, f.client, fenceSpec(planID, namespace, name, time.Now().Add(fenceHold)))
}

// argoAPI is the client as the adapter of Argo CD wants it.
type argoAPI struct{ *kube.Client }

// PatchJSON applies a JSON patch.
func (a argoAPI) PatchJSON(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error) {
	return a.Client.PatchJSON(ctx, gvr, namespace, name, body, kube.WriteOptions{})
}

// PatchMerge applies a merge patch.
func (a argoAPI) PatchMerge(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error) {
	return a.Client.PatchMerge(ctx, gvr, namespace, name, body, kube.WriteOptions{})
}

// flipArgo is Argo CD.
type flipArgo struct{ api argoAPI }

// Owner is the Application that owns the Cluster.
func (f flipArgo) Owner(ctx context.Context, namespace, name string) (*recovery.Application, error) {
	object := argocd.Object{Group: apiv1.SchemeGroupVersion.Group, Kind: apiv1.ClusterKind, Namespace: namespace, Name: name}
	live, err := f.api.Get(ctx, apiv1.SchemeGroupVersion.WithResource("clusters"), namespace, name)
	if err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		object.Annotations, object.Labels = live.GetAnnotations(), live.GetLabels()
	}
	app, err := argocd.Owning(ctx, f.api, object)
	if err != nil || app == nil {
		return nil, err
	}
	return &recovery.Application{
		Namespace: app.Namespace, Name: app.Name, RepoURL: app.RepoURL, Path: app.Path, Revision: app.TargetRevision, AutoSync: app.AutoSync,
	}, nil
}

// Busy says that Argo CD is at another revision: with an operation, or with what it compares with, which
// it would apply next.
func (f flipArgo) Busy(ctx context.Context, app recovery.Application, revision string) (bool, error) {
	now, err := argocd.Read(ctx, f.api, app.Namespace, app.Name)
	if err != nil {
		return false, err
	}
	return runsElsewhere(now, revision) || now.SyncRevision != revision, nil
}

func runsElsewhere(app *argocd.Application, revision string) bool {
	return app.Operation != nil && app.Operation.Running && app.Operation.Revision != revision
}

// Terminate ends such an operation, and has Argo CD look at the branch again.
func (f flipArgo) Terminate(ctx context.Context, app recovery.Application, revision string) error {
	now, err := argocd.Read(ctx, f.api, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	if runsElsewhere(now, revision) {
		if err := argocd.Terminate(ctx, f.api, now); err != nil {
			return err
		}
	}
	return argocd.Refresh(ctx, f.api, now)
}

// Sync asks for one commit.
func (f flipArgo) Sync(ctx context.Context, app recovery.Application, revision string) error {
	now, err := argocd.Read(ctx, f.api, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	return argocd.Sync(ctx, f.api, now, revision, "drctl hands a recovered database back")
}

// Synced reports whether the Application is Synced and Healthy at the revision.
func (f flipArgo) Synced(ctx context.Context, app recovery.Application, revision string) (done, asked bool, why string, err error) {
	now, done, why, err := argocd.Observe(ctx, f.api, app.Namespace, app.Name, revision)
	if err != nil {
		return false, false, "", err
	}
	operation := now.Operation
	asked = operation != nil && operation.Revision == revision && (operation.Running || operation.Phase == "Succeeded")
	return done, asked, why, nil
}
