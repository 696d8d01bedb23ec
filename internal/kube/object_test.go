package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	unserved    = schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}
)

// realCluster is a real API server, and clients of an administrator and of a user without rights.
type realCluster struct {
	*lab.Kubernetes
	admin, nobody *Client
}

func newRealCluster(t *testing.T) *realCluster {
	t.Helper()
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{Users: []string{"nobody"}})
	require.NoError(t, err)
	admin, err := New(Options{REST: k.RESTConfig(), Context: "lab"})
	require.NoError(t, err)
	config, err := k.RESTConfigFor("nobody")
	require.NoError(t, err)
	nobody, err := New(Options{REST: config})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := admin.Get(t.Context(), namespacesResource(), "", "default")
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	return &realCluster{Kubernetes: k, admin: admin, nobody: nobody}
}

func TestOnTheRealAPIServer(t *testing.T) {
	c := newRealCluster(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *realCluster)
	}{
		{"create", creates}, {"patch", patches}, {"apply", applies}, {"delete", deletes}, {"read", reads},
		{"rights and kinds", rightsAndKinds}, {"mirror", mirrors}, {"lock", locks}, {"fresh", freshConnections},
		{"the server is gone", serverGone},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}

func configMapNamed(name string) *unstructured.Unstructured {
	return object("ConfigMap", "default", name, map[string]any{"data": map[string]any{"key": "value"}})
}

// mustCreate creates a ConfigMap in namespace default.
func (c *realCluster) mustCreate(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	created, err := c.admin.Create(t.Context(), configMapsResource(), configMapNamed(name), WriteOptions{})
	require.NoError(t, err)
	return created
}

func creates(t *testing.T, c *realCluster) {
	_, err := c.admin.Create(t.Context(), configMapsResource(), configMapNamed("made"), WriteOptions{DryRun: true})
	require.NoError(t, err)
	_, err = c.admin.Get(t.Context(), configMapsResource(), "default", "made")
	require.ErrorIs(t, err, recovery.ErrNotFound, "a dry run stores nothing")
	made := c.mustCreate(t, "made")
	require.Equal(t, FieldManager, made.GetManagedFields()[0].Manager)

	elsewhere := configMapNamed("x")
	elsewhere.SetNamespace("nowhere")
	deployment := object("Deployment", "default", "odd", map[string]any{"spec": map[string]any{"replicas": "two"}})
	deployment.SetAPIVersion("apps/v1")
	refusals := map[string]struct {
		client *Client
		gvr    schema.GroupVersionResource
		object *unstructured.Unstructured
		want   error
		text   []string
	}{
		"exists":             {c.admin, configMapsResource(), configMapNamed("made"), recovery.ErrExists, []string{"create configmaps default/made", "already"}},
		"unknown field":      {c.admin, configMapsResource(), object("ConfigMap", "default", "y", map[string]any{"dat": map[string]any{}}), recovery.ErrInvalid, []string{`unknown field "dat"`}},
		"wrong type":         {c.admin, deployments, deployment, recovery.ErrInvalid, []string{"replicas"}},
		"invalid name":       {c.admin, configMapsResource(), configMapNamed("UPPER"), recovery.ErrInvalid, []string{"RFC 1123"}},
		"missing namespace":  {c.admin, configMapsResource(), elsewhere, recovery.ErrNotFound, []string{`namespaces "nowhere" not found`}},
		"unknown kind":       {c.admin, unserved, configMapNamed("z"), recovery.ErrNotFound, []string{"CloudNativePG is not installed"}},
		"without the right":  {c.nobody, configMapsResource(), configMapNamed("z"), recovery.ErrDenied, []string{"docs/rbac-recover.yaml", "cannot create"}},
		"wrong kind for URL": {c.admin, deployments, configMapNamed("z"), recovery.ErrInvalid, []string{"ConfigMap"}},
	}
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			_, err := test.client.Create(t.Context(), test.gvr, test.object, WriteOptions{})
			require.ErrorIs(t, err, test.want)
			require.False(t, Retryable(err))
			var problem *recovery.Problem
			require.ErrorAs(t, err, &problem)
			require.NotEmpty(t, problem.Next)
			for _, text := range test.text {
				require.Contains(t, err.Error(), text)
			}
		})
	}
}

func patches(t *testing.T, c *realCluster) {
	live := c.mustCreate(t, "patched")
	gvr := configMapsResource()
	uid := string(live.GetUID())

	patched, err := c.admin.PatchJSON(t.Context(), gvr, "default", "patched", fmt.Appendf(nil,
		`[{"op":"test","path":"/metadata/uid","value":%q},{"op":"replace","path":"/data/key","value":"new"}]`, uid), WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"key": "new"}, patched.Object["data"])
	tests := map[string]struct {
		body string
		json bool
		want error
	}{
		"a test fails":           {`[{"op":"test","path":"/metadata/uid","value":"another"},{"op":"remove","path":"/data"}]`, true, recovery.ErrConflict},
		"a path is not there":    {`[{"op":"remove","path":"/data/none"}]`, true, recovery.ErrConflict},
		"the result is invalid":  {`[{"op":"replace","path":"/data","value":{"a b":"c"}}]`, true, recovery.ErrInvalid},
		"no patch at all":        {`{"op":"remove"}`, true, recovery.ErrInvalid},
		"old resource version":   {fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"key":"x"}}`, live.GetResourceVersion()), false, recovery.ErrConflict},
		"another object's UID":   {`{"metadata":{"uid":"another"},"data":{"key":"x"}}`, false, recovery.ErrConflict},
		"an unknown field merge": {`{"dat":{"key":"x"}}`, false, recovery.ErrInvalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			patch := c.admin.PatchMerge
			if test.json {
				patch = c.admin.PatchJSON
			}
			_, err := patch(t.Context(), gvr, "default", "patched", []byte(test.body), WriteOptions{})
			require.ErrorIs(t, err, test.want)
			for _, other := range []error{recovery.ErrConflict, recovery.ErrInvalid} {
				require.Equal(t, other == test.want, errors.Is(err, other), "%v", err) //nolint:errorlint // The kinds themselves are compared.
			}
		})
	}
	after, err := c.admin.Get(t.Context(), gvr, "default", "patched")
	require.NoError(t, err)
	require.Equal(t, patched.GetResourceVersion(), after.GetResourceVersion(), "nothing was changed")
	_, err = c.admin.PatchMerge(t.Context(), gvr, "default", "patched", []byte(`{"data":{"key":"dry"}}`), WriteOptions{DryRun: true, FieldManager: "argocd-controller"})
	require.NoError(t, err)
	_, err = c.admin.PatchJSON(t.Context(), gvr, "default", "none", []byte(`[]`), WriteOptions{})
	require.ErrorIs(t, err, recovery.ErrNotFound)
}

func applies(t *testing.T, c *realCluster) {
	gvr := configMapsResource()
	_, err := c.admin.Apply(t.Context(), gvr, configMapNamed("applied"), WriteOptions{FieldManager: "argocd-controller"})
	require.NoError(t, err)
	ours := configMapNamed("applied")
	require.NoError(t, unstructured.SetNestedField(ours.Object, "ours", "data", "key"))

	_, err = c.admin.Apply(t.Context(), gvr, ours, WriteOptions{})
	require.ErrorIs(t, err, recovery.ErrConflict)
	require.Contains(t, err.Error(), "argocd-controller")
	applied, err := c.admin.Apply(t.Context(), gvr, ours, WriteOptions{Force: true})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"key": "ours"}, applied.Object["data"])
}

func deletes(t *testing.T, c *realCluster) {
	gvr := configMapsResource()
	old := c.mustCreate(t, "deleted")
	require.NoError(t, c.admin.Delete(t.Context(), gvr, "default", "deleted", Preconditions{UID: string(old.GetUID()), ResourceVersion: old.GetResourceVersion()}, metav1.DeletePropagationBackground))
	replacement := c.mustCreate(t, "deleted")

	err := c.admin.Delete(t.Context(), gvr, "default", "deleted", Preconditions{UID: string(old.GetUID())}, metav1.DeletePropagationBackground)
	require.ErrorIs(t, err, recovery.ErrConflict, "the replacement is not the one that was meant")
	err = c.admin.Delete(t.Context(), gvr, "default", "deleted", Preconditions{ResourceVersion: old.GetResourceVersion()}, metav1.DeletePropagationBackground)
	require.ErrorIs(t, err, recovery.ErrConflict)
	after, err := c.admin.Get(t.Context(), gvr, "default", "deleted")
	require.NoError(t, err)
	require.Equal(t, replacement.GetUID(), after.GetUID())

	require.ErrorIs(t, c.nobody.Delete(t.Context(), gvr, "default", "deleted", Preconditions{}, metav1.DeletePropagationBackground), recovery.ErrDenied)
	require.NoError(t, c.admin.Delete(t.Context(), gvr, "default", "deleted", Preconditions{}, metav1.DeletePropagationBackground))
	require.ErrorIs(t, c.admin.Delete(t.Context(), gvr, "default", "deleted", Preconditions{}, metav1.DeletePropagationBackground), recovery.ErrNotFound)
}

func reads(t *testing.T, c *realCluster) {
	labelled := configMapNamed("labelled")
	labelled.SetLabels(map[string]string{"pick": "me"})
	_, err := c.admin.Create(t.Context(), configMapsResource(), labelled, WriteOptions{})
	require.NoError(t, err)
	for _, namespace := range []string{"", "default"} {
		items, err := c.admin.ListWhere(t.Context(), configMapsResource(), namespace, "pick=me")
		require.NoError(t, err)
		require.Len(t, items, 1)
		require.Equal(t, "labelled", items[0].GetName())
	}
	_, err = c.nobody.ListWhere(t.Context(), configMapsResource(), "", "pick=me")
	require.ErrorIs(t, err, recovery.ErrDenied)
	_, err = c.nobody.Get(t.Context(), configMapsResource(), "default", "labelled")
	require.ErrorIs(t, err, recovery.ErrDenied)
	_, err = c.admin.Get(t.Context(), unserved, "default", "immich-database")
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.Contains(t, err.Error(), "CloudNativePG is not installed")
}

func rightsAndKinds(t *testing.T, c *realCluster) {
	exec := schema.GroupVersionResource{Version: "v1", Resource: "pods/exec"}
	for _, gvr := range []schema.GroupVersionResource{configMapsResource(), exec, unserved} {
		may, err := c.admin.Can(t.Context(), "default", "create", gvr, "")
		require.NoError(t, err)
		require.True(t, may, "%s", gvr)
		may, err = c.nobody.Can(t.Context(), "default", "create", gvr, "any")
		require.NoError(t, err)
		require.False(t, may, "%s", gvr)
	}
	execNeedsCreateAlone(t, c)
	kinds := map[schema.GroupVersionResource]bool{
		configMapsResource(): true,
		deployments:          true,
		unserved:             false,
		{Group: "apps", Version: "v1", Resource: "clusters"}:                                                    false,
		{Group: "apps", Version: "v9", Resource: "deployments"}:                                                 false,
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}:         true,
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies/nothing"}: false,
	}
	for gvr, want := range kinds {
		served, err := c.admin.Served(t.Context(), gvr)
		require.NoError(t, err)
		require.Equal(t, want, served, "%s", gvr)
	}
}

// execNeedsCreateAlone: where a WebSocket is refused for want of "get", SPDY goes through.
func execNeedsCreateAlone(t *testing.T, c *realCluster) {
	exec := func() error {
		_, err := c.nobody.Exec(t.Context(), "default", "no-such-pod", "postgres", nil, "psql")
		return err
	}
	require.ErrorIs(t, exec(), recovery.ErrDenied)
	group := "rbac.authorization.k8s.io"
	for resource, manifest := range map[string]*unstructured.Unstructured{
		"roles": object("Role", "default", "exec", map[string]any{"rules": []any{map[string]any{
			"apiGroups": []any{""}, "resources": []any{"pods/exec"}, "verbs": []any{"create"},
		}}}),
		"rolebindings": object("RoleBinding", "default", "exec", map[string]any{
			"roleRef":  map[string]any{"apiGroup": group, "kind": "Role", "name": "exec"},
			"subjects": []any{map[string]any{"apiGroup": group, "kind": "User", "name": "nobody"}},
		}),
	} {
		manifest.SetAPIVersion(group + "/v1")
		_, err := c.admin.Create(t.Context(), schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, manifest, WriteOptions{})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return errors.Is(exec(), recovery.ErrNotFound) }, time.Minute, 50*time.Millisecond, "the Pod is looked for")
}

// freshConnections: a connection of its own is opened, and closed by the function.
func freshConnections(t *testing.T, c *realCluster) {
	before := c.admin.Requests()
	fresh, closeConnections, err := c.admin.Fresh()
	require.NoError(t, err)
	_, err = fresh.ClusterUID(t.Context())
	require.NoError(t, err)
	require.Equal(t, before+1, c.admin.Requests())
	closeConnections()
	_, err = fresh.ClusterUID(t.Context())
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	_, err = c.admin.ClusterUID(t.Context())
	require.NoError(t, err)
}

func serverGone(t *testing.T, c *realCluster) {
	require.NoError(t, c.Stop())
	_, err := c.admin.Create(t.Context(), configMapsResource(), configMapNamed("late"), WriteOptions{})
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.True(t, Retryable(err))
	_, err = c.admin.Served(t.Context(), deployments)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	_, err = c.admin.Can(t.Context(), "default", "create", deployments, "")
	require.ErrorIs(t, err, recovery.ErrUnreachable)
}

// mustJSON is for manifests in tests.
func mustJSON(t *testing.T, value any) []byte {
	t.Helper()
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	return encoded
}
