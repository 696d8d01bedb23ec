package kube

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/drctl/drctl/internal/recovery"
)

var (
	pvcs    = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

func object(kind, namespace, name string, fields map[string]any) *unstructured.Unstructured {
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	content := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": metadata}
	for key, value := range fields {
		content[key] = value
	}
	return &unstructured.Unstructured{Object: content}
}

// fakeClient is a client over client-go's tracker; forbidden lists refuse (by resource, namespace).
func fakeClient(forbidden func(resource, namespace string) bool, objects ...runtime.Object) (*Client, *fake.FakeDynamicClient) {
	dynamic := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		pvcs: "PersistentVolumeClaimList", secrets: "SecretList", namespacesResource(): "NamespaceList",
	}, objects...)
	dynamic.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		resource := action.GetResource()
		if forbidden(resource.Resource, action.GetNamespace()) {
			return true, nil, apierrors.NewForbidden(resource.GroupResource(), "", errors.New("no rule"))
		}
		return false, nil, nil
	})
	return &Client{dynamic: dynamic, server: "https://api.example:6443", context: "lab"}, dynamic
}

func threeNamespaces() []runtime.Object {
	return []runtime.Object{
		object("Namespace", "", "media", nil), object("Namespace", "", "immich", nil), object("Namespace", "", "secret-lab", nil),
		object("PersistentVolumeClaim", "media", "a", nil),
		object("PersistentVolumeClaim", "immich", "library", nil),
		object("PersistentVolumeClaim", "secret-lab", "x", nil),
	}
}

func TestForbiddenEverywhereAtOnceFallsBackToEachNamespace(t *testing.T) {
	client, dynamic := fakeClient(func(resource, namespace string) bool {
		return resource == "persistentvolumeclaims" && (namespace == "" || namespace == "secret-lab")
	}, threeNamespaces()...)

	claims, gaps, err := Claims(t.Context(), client, "")

	require.NoError(t, err)
	require.Equal(t, []string{"immich/library", "media/a"}, claimNames(claims), "in order of namespace")
	require.Len(t, gaps, 1)
	require.ErrorIs(t, gaps[0], recovery.ErrDenied)
	require.Contains(t, gaps[0].Error(), "in namespace secret-lab")

	before := len(dynamic.Actions())
	_, _, err = Claims(t.Context(), client, "")
	require.NoError(t, err)
	require.Len(t, dynamic.Actions(), before+4, "the namespaces are listed once per client")
}

func claimNames(claims []recovery.Claim) []string {
	names := []string{}
	for _, claim := range claims {
		names = append(names, claim.Namespace+"/"+claim.Name)
	}
	return names
}

func TestForbiddenEverywhere(t *testing.T) {
	tests := map[string]func(resource, namespace string) bool{
		"namespaces can't be listed":  func(_, namespace string) bool { return namespace == "" },
		"each namespace refuses, too": func(resource, _ string) bool { return resource == "persistentvolumeclaims" },
	}
	for name, forbidden := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := fakeClient(forbidden, threeNamespaces()...)

			claims, gaps, err := Claims(t.Context(), client, "")

			require.Nil(t, claims)
			require.Empty(t, gaps)
			require.ErrorIs(t, err, recovery.ErrDenied)
			require.Contains(t, err.Error(), "give -n NAMESPACE")
			require.Contains(t, err.Error(), "docs/rbac-read.yaml")
		})
	}
}

func TestForbiddenInTheNamespaceThatWasAskedFor(t *testing.T) {
	client, dynamic := fakeClient(func(resource, _ string) bool { return resource == "persistentvolumeclaims" }, threeNamespaces()...)

	_, _, err := client.List(t.Context(), pvcs, "media")

	require.ErrorIs(t, err, recovery.ErrDenied)
	require.Len(t, dynamic.Actions(), 1, "no other namespace is tried")
}

func TestClaims(t *testing.T) {
	created := time.Date(2026, 11, 23, 2, 30, 0, 0, time.UTC)
	full := object("PersistentVolumeClaim", "karakeep", "data-pvc", map[string]any{
		"spec":   map[string]any{"storageClassName": "longhorn", "resources": map[string]any{"requests": map[string]any{"storage": "10Gi"}}},
		"status": map[string]any{"phase": "Bound"},
	})
	full.SetLabels(map[string]string{"backup": "hourly", "app": "karakeep"})
	full.SetUID("u-1")
	full.SetCreationTimestamp(metaTime(created))
	database := object("PersistentVolumeClaim", "cloudnative-pg", "immich-database-1", nil)
	database.SetLabels(map[string]string{"cnpg.io/cluster": "immich-database"})
	deleted := metaTime(created)
	database.SetDeletionTimestamp(&deleted)
	broken := object("PersistentVolumeClaim", "karakeep", "odd", map[string]any{"status": "not a map"})
	client, _ := fakeClient(func(string, string) bool { return false }, full, database, broken)

	claims, gaps, err := Claims(t.Context(), client, "")

	require.NoError(t, err)
	require.Equal(t, []recovery.Claim{
		{
			Namespace: "cloudnative-pg", Name: "immich-database-1",
			Labels: map[string]string{"cnpg.io/cluster": "immich-database"}, CNPGCluster: "immich-database", Deleting: true,
		},
		{
			Namespace: "karakeep", Name: "data-pvc", UID: "u-1", Phase: "Bound", CreatedAt: created,
			Labels: map[string]string{"backup": "hourly", "app": "karakeep"}, Backup: "hourly",
		},
	}, claims)
	require.Len(t, gaps, 1)
	require.ErrorIs(t, gaps[0], recovery.ErrDamaged)
	require.Contains(t, gaps[0].Error(), "karakeep/odd")
}

func TestSecret(t *testing.T) {
	const canary = "canary-s3cr3t"
	client, _ := fakeClient(func(resource, namespace string) bool { return resource == "secrets" && namespace == "locked" },
		object("Secret", "volsync-system", "kopia-credentials", map[string]any{"data": map[string]any{"KOPIA_PASSWORD": "Y2FuYXJ5LXMzY3IzdA=="}}),
		object("Secret", "volsync-system", "broken", map[string]any{"data": map[string]any{"KOPIA_PASSWORD": canary}}),
		object("Secret", "volsync-system", "odd", map[string]any{"data": canary}),
	)

	values, err := client.Secret(t.Context(), "volsync-system", "kopia-credentials")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"KOPIA_PASSWORD": []byte(canary)}, values)

	tests := map[string]struct {
		namespace, name string
		want            error
	}{
		"not base64": {"volsync-system", "broken", recovery.ErrDamaged},
		"not a map":  {"volsync-system", "odd", recovery.ErrDamaged},
		"missing":    {"volsync-system", "none", recovery.ErrNotFound},
		"forbidden":  {"locked", "any", recovery.ErrDenied},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := client.Secret(t.Context(), test.namespace, test.name)
			require.ErrorIs(t, err, test.want)
			require.Contains(t, err.Error(), test.namespace+"/"+test.name)
			require.Contains(t, err.Error(), "KOPIA_PASSWORD")
			require.NotContains(t, err.Error(), canary)
		})
	}
}

func TestClusterIdentity(t *testing.T) {
	system := object("Namespace", "", "kube-system", nil)
	system.SetUID("11111111-2222-3333-4444-555555555555")
	client, _ := fakeClient(func(string, string) bool { return false }, system, object("Namespace", "", "apps", nil))

	uid, err := client.ClusterUID(t.Context())
	require.NoError(t, err)
	require.Equal(t, "11111111-2222-3333-4444-555555555555", uid)
	names, err := client.Namespaces(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"apps", "kube-system"}, names)
	require.Equal(t, "lab", client.ContextName())
}

func metaTime(t time.Time) metav1.Time { return metav1.NewTime(t) }
