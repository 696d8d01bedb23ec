package argocd

import (
	"context"
	"os"
	"path/filepath"
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

// client is the real client, with the options that it is wired with.
type client struct{ *kube.Client }

func (c client) PatchJSON(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error) {
	return c.Client.PatchJSON(ctx, gvr, namespace, name, body, kube.WriteOptions{})
}

func (c client) PatchMerge(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error) {
	return c.Client.PatchMerge(ctx, gvr, namespace, name, body, kube.WriteOptions{})
}

// followed is an Application of one ConfigMap that Argo CD follows in Git.
type followed struct {
	*testing.T
	api    client
	remote *lab.GitRemote
}

// settings is the ConfigMap with a value. It can't be changed, only made anew: a commit that changes it
// fails, as the apply of initdb over a recovery does.
func settings(value string) []byte {
	return []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: default}\nimmutable: true\ndata: {value: " + value + "}\n")
}

func follow(t *testing.T) *followed {
	stack := lab.ForTest(t)
	kubernetes, err := stack.ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	require.NoError(t, kubernetes.ApplyCRDs(t.Context()))
	seed := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(seed, "app"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(seed, "app", "kustomization.yaml"), []byte("resources: [settings.yaml]\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(seed, "app", "settings.yaml"), settings("one"), 0o600))
	remote, err := stack.GitRemote(t.Context(), seed)
	require.NoError(t, err)
	// The pause before a retry is longer than the test: what is in flight stays in flight.
	argo, err := stack.ArgoCD(t.Context(), kubernetes, remote, lab.ArgoOptions{
		Interval: 200 * time.Millisecond, Retry: lab.ArgoRetry{Limit: 5, Backoff: time.Hour, Factor: 1, MaxBackoff: time.Hour},
	})
	require.NoError(t, err)
	require.NoError(t, argo.Track(t.Context(), "settings", "app", ""))
	api, err := kube.New(kube.Options{REST: kubernetes.RESTConfig()})
	require.NoError(t, err)
	return &followed{T: t, api: client{api}, remote: remote}
}

func (f *followed) head() string {
	head, err := f.remote.Head(f.Context())
	require.NoError(f, err)
	return head
}

func (f *followed) read() *Application {
	app, err := Read(f.Context(), f.api, lab.ArgoNamespace, "settings")
	require.NoError(f, err)
	return app
}

func (f *followed) until(what string, holds func(app *Application) bool) {
	require.Eventually(f, func() bool { return holds(f.read()) }, time.Minute, 50*time.Millisecond, what)
}

func (f *followed) untilArrived(revision string) {
	f.until("arrived at "+revision, func(*Application) bool {
		_, done, _, err := Observe(f.Context(), f.api, lab.ArgoNamespace, "settings", revision)
		require.NoError(f, err)
		return done
	})
}

func configMaps() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

func (f *followed) value() string {
	live, err := f.api.Get(f.Context(), configMaps(), "default", "settings")
	require.NoError(f, err)
	value, _, err := unstructured.NestedString(live.Object, "data", "value")
	require.NoError(f, err)
	return value
}

// TestAgainstArgoCD steers an Application of the real definition, which the lab's Argo CD acts on.
func TestAgainstArgoCD(t *testing.T) {
	f := follow(t)
	f.untilArrived(f.head())
	f.isFoundAsTheOwner()

	blocked, err := f.remote.Commit(t.Context(), "A change that can't be applied", func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "app", "settings.yaml"), settings("two"), 0o600)
	})
	require.NoError(t, err)
	require.NoError(t, Refresh(t.Context(), f.api, f.read()))
	f.until("the sync fails and waits for its retry", func(app *Application) bool {
		return app.Operation != nil && app.Operation.Running && app.Operation.Revision == blocked && app.Operation.Retries == 1
	})
	f.keepsItsRevision(blocked)

	// Ended, and the obstacle gone: that alone does not bring Argo CD back.
	require.NoError(t, f.api.Delete(t.Context(), configMaps(), "default", "settings", kube.Preconditions{}, metav1.DeletePropagationBackground))
	require.NoError(t, Terminate(t.Context(), f.api, f.read()))
	f.until("the operation has ended", func(app *Application) bool { return app.Operation != nil && !app.Operation.Running })
	f.until("Argo CD gave up", GaveUp)
	require.NoError(t, Terminate(t.Context(), f.api, f.read()), "nothing runs any more")

	require.NoError(t, Sync(t.Context(), f.api, f.read(), f.head(), "drctl plan x"))
	f.untilArrived(f.head())
	require.Equal(t, "two", f.value())
	require.Equal(t, "drctl", f.read().Operation.Username)
}

// isFoundAsTheOwner: by the annotation that Argo CD set, and without it, as when the object is gone.
func (f *followed) isFoundAsTheOwner() {
	live, err := f.api.Get(f.Context(), configMaps(), "default", "settings")
	require.NoError(f, err)
	object := Object{Kind: "ConfigMap", Namespace: "default", Name: "settings", Annotations: live.GetAnnotations()}
	name, tracked := trackedBy(object)
	require.True(f, tracked, "Argo CD tracks by annotation: %v", object.Annotations)
	require.Equal(f, "settings", name)
	for _, annotations := range []map[string]string{object.Annotations, nil} {
		object.Annotations = annotations
		app, err := Owning(f.Context(), f.api, object)
		require.NoError(f, err)
		require.NotNil(f, app)
		require.Equal(f, "settings", app.Name)
	}
	object.Name = "another"
	app, err := Owning(f.Context(), f.api, object)
	require.NoError(f, err)
	require.Nil(f, app)
}

// keepsItsRevision: while one operation is in flight no other commit can be synced.
func (f *followed) keepsItsRevision(blocked string) {
	const another = "5f1d3c2b4a59687706152433425160798897a6b5"
	require.ErrorIs(f, Sync(f.Context(), f.api, f.read(), another, ""), recovery.ErrConflict)
	require.NoError(f, Sync(f.Context(), f.api, f.read(), blocked, ""), "this one runs already")
	_, done, why, err := Observe(f.Context(), f.api, lab.ArgoNamespace, "settings", another)
	require.NoError(f, err)
	require.False(f, done)
	require.Contains(f, why, "an operation runs: Running, sync of "+blocked)
	app := f.read()
	require.Equal(f, blocked, app.Operation.Revision)
	require.True(f, app.Operation.Running)
}
