package argocd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// kinds serves each kind from a fake of its own and counts the listings.
type kinds struct {
	fake
	sets  []*unstructured.Unstructured
	lists []string
}

func (k *kinds) List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	k.lists = append(k.lists, gvr.Resource)
	if gvr.Resource == "applicationsets" {
		return (&fake{apps: k.sets}).List(ctx, gvr, namespace)
	}
	return k.fake.List(ctx, gvr, namespace)
}

const blockedApp = `
metadata: {creationTimestamp: "2026-11-24T10:00:00Z", ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: my-apps, uid: u}]}
spec:
  project: default
  source: {repoURL: https://git.example.invalid/platform.git, path: my-apps/media/immich, targetRevision: main}
  destination: {server: https://kubernetes.default.svc, namespace: immich}
  syncPolicy: {automated: {selfHeal: true}}
status:
  sync: {status: OutOfSync, revision: abc}
  health: {status: Missing}
  conditions:
    - {type: SyncError, message: "Failed sync attempt to abc: one or more objects failed to apply"}
    - {type: OrphanedResourceWarning, message: "there are orphans"}
  resources:
    - {kind: Namespace, name: immich, status: Synced}
    - {kind: PersistentVolumeClaim, namespace: immich, name: library, status: OutOfSync, health: {status: Missing}}
    - {group: apps, kind: Deployment, namespace: immich, name: server, status: Synced, health: {status: Progressing, message: "Waiting for rollout to finish"}}
    - {group: apps, kind: Deployment, namespace: cache, name: redis, status: Synced, health: {status: Degraded, message: "exceeded its\n  progress deadline"}}
  operationState:
    phase: Failed
    message: "one or more objects failed to apply, reason: admission webhook denied the request"
    retryCount: 5
    operation: {sync: {revision: abc}}
    syncResult:
      revision: abc
      resources:
        - {kind: Namespace, name: immich, status: Synced, message: serverside-applied, hookPhase: Running}
        - {kind: PersistentVolumeClaim, namespace: immich, name: library, status: SyncFailed, hookPhase: Failed, message: "PVC Plumber is not available"}
        - {group: batch, kind: Job, namespace: immich, name: migrate, hookType: PreSync, hookPhase: Failed, message: "Job has reached the specified backoff limit"}
`

func TestManaged(t *testing.T) {
	well := application(t, "longhorn", `
metadata: {annotations: {argocd.argoproj.io/sync-wave: "1", argocd.argoproj.io/tracking-id: "root:argoproj.io/Application:argocd/longhorn"}}
spec: {sources: [{repoURL: https://charts.example.invalid, targetRevision: 1.2.3}], destination: {namespace: longhorn-system}}
status: {sync: {status: Synced, revisions: [1.2.3, abc]}, health: {status: Healthy, message: nothing to say}, operationState: {phase: Succeeded, message: successfully synced}}`)
	fresh := application(t, "zero", `{spec: {source: {repoURL: r, path: p}}}`)
	odd := application(t, "early", `{metadata: {annotations: {argocd.argoproj.io/sync-wave: "-5"}}, spec: {source: {repoURL: r}}, operation: {sync: {revision: x}}}`)
	set := application(t, "my-apps", `{metadata: {annotations: {argocd.argoproj.io/sync-wave: "6", argocd.argoproj.io/tracking-id: "root:argoproj.io/ApplicationSet:argocd/my-apps"}}}`)
	set.SetKind("ApplicationSet")
	api := &kinds{fake: fake{apps: []*unstructured.Unstructured{application(t, "immich", blockedApp), well, fresh, odd}}, sets: []*unstructured.Unstructured{set}}

	apps, err := Managed(t.Context(), api)

	require.NoError(t, err)
	require.Equal(t, []string{"applications", "applicationsets"}, api.lists)
	require.Len(t, apps, 4)
	require.Equal(t, "early", apps[0].Name)
	require.Equal(t, PhaseRequested, apps[0].Operation)
	require.Equal(t, "zero", apps[1].Name)
	require.Empty(t, apps[1].Sync+apps[1].Health+apps[1].Operation, "Argo CD has not looked yet")
	require.True(t, apps[2].AtRest())
	require.Empty(t, apps[2].Message)
	require.Equal(t, "1.2.3", apps[2].SyncRevision)
	require.Equal(t, "root", apps[2].Parent)
	require.Empty(t, apps[1].Parent)
	require.Equal(t, []string{"longhorn-system"}, apps[2].Namespaces)
	require.Equal(t, recovery.ManagedApplication{
		Namespace: "argocd", Name: "immich", Wave: 6, Set: "my-apps", Parent: "root",
		RepoURL: "https://git.example.invalid/platform.git", Path: "my-apps/media/immich", Revision: "main", SyncRevision: "abc",
		Sync: "OutOfSync", Health: "Missing", Operation: "Failed", GaveUp: true,
		Message: "one or more objects failed to apply, reason: admission webhook denied the request",
		Failed: []recovery.ManagedObject{
			{Kind: "PersistentVolumeClaim", Namespace: "immich", Name: "library", Message: "PVC Plumber is not available"},
			{Kind: "Job", Namespace: "immich", Name: "migrate", Hook: true, Message: "Job has reached the specified backoff limit"},
			{Kind: "Deployment", Namespace: "cache", Name: "redis", Message: "Degraded: exceeded its progress deadline"},
			{Kind: "Deployment", Namespace: "immich", Name: "server", Message: "Progressing: Waiting for rollout to finish"},
		},
		Namespaces: []string{"cache", "immich"}, CreatedAt: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
	}, apps[3])
}

func TestManagedSaysWhatArgoCDSays(t *testing.T) {
	for text, want := range map[string]string{
		`{status: {sync: {status: Unknown}, conditions: [{type: ComparisonError, message: "repository not found"}]}}`:                                                    "ComparisonError: repository not found",
		`{status: {sync: {status: Synced}, health: {status: Degraded, message: "two are degraded"}}}`:                                                                    "two are degraded",
		`{status: {sync: {status: Synced}, health: {status: Progressing}, operationState: {phase: Running, message: "waiting for healthy state of apps/Deployment/x"}}}`: "waiting for healthy state of apps/Deployment/x",
	} {
		apps, err := Managed(t.Context(), &kinds{fake: fake{apps: []*unstructured.Unstructured{application(t, "a", text)}}})
		require.NoError(t, err)
		require.Equal(t, want, apps[0].Message)
	}
}

func TestManagedIsWholeOrAnError(t *testing.T) {
	api := &kinds{fake: fake{listErr: fmt.Errorf("list: %w", recovery.ErrNotFound)}}
	apps, err := Managed(t.Context(), api)
	require.NoError(t, err)
	require.Empty(t, apps)
	require.Equal(t, []string{"applications"}, api.lists)

	_, err = Managed(t.Context(), &kinds{fake: fake{listErr: recovery.ErrDenied}})
	require.ErrorIs(t, err, recovery.ErrDenied)
	_, err = Managed(t.Context(), &kinds{fake: fake{apps: []*unstructured.Unstructured{application(t, "a", "{}")}, gaps: recovery.Gaps{&recovery.Problem{What: "a page is missing"}}}})
	require.ErrorContains(t, err, "a page is missing")
	_, err = Managed(t.Context(), &kinds{fake: fake{apps: []*unstructured.Unstructured{application(t, "a", "{status: {resources: none}}")}}})
	require.ErrorIs(t, err, recovery.ErrDamaged)
}

// TestManagedOnAnAPIServer: without Argo CD's definitions there are none, and with them they are read as stored.
func TestManagedOnAnAPIServer(t *testing.T) {
	stack := lab.ForTest(t)
	kubernetes, err := stack.ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	connection, err := kube.New(kube.Options{REST: kubernetes.RESTConfig()})
	require.NoError(t, err)
	api := client{connection}
	apps, err := Managed(t.Context(), api)
	require.NoError(t, err)
	require.Empty(t, apps)

	require.NoError(t, kubernetes.ApplyCRDs(t.Context()))
	app := application(t, "immich", blockedApp)
	app.SetNamespace("default")
	unstructured.RemoveNestedField(app.Object, "status")
	app.SetOwnerReferences(nil)
	require.Eventually(t, func() bool {
		_, err = connection.Create(t.Context(), applicationsResource(), app, kube.WriteOptions{FieldManager: "somebody"})
		return err == nil
	}, time.Minute, 50*time.Millisecond, "%v", err)
	apps, err = Managed(t.Context(), api)
	require.NoError(t, err)
	require.Len(t, apps, 1)
	require.Equal(t, "my-apps/media/immich", apps[0].Path)
	require.Less(t, time.Since(apps[0].CreatedAt), time.Hour)
	require.NoError(t, connection.Delete(t.Context(), applicationsResource(), "default", "immich", kube.Preconditions{}, metav1.DeletePropagationBackground))
}
