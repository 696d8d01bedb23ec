package platform

import (
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const canary = "CANARY-4711"

func appliesSecrets(c *cluster) {
	file := SecretFile{
		Namespace: "secrets-new", Name: "kopia-credentials", Type: "Opaque", Labels: map[string]string{"app": "kopia"},
		Annotations: map[string]string{"note": "n", lastApplied: canary},
		Values:      map[string][]byte{"KOPIA_PASSWORD": []byte(canary), "empty": {}},
	}
	values, err := c.Secret(c.Context(), file.Namespace, file.Name)
	require.NoError(c, err)
	require.Nil(c, values)
	changed, err := c.ApplySecret(c.Context(), file, false)
	require.NoError(c, err)
	require.True(c, changed)
	live := c.get(core("secrets"), file.Namespace, file.Name)
	require.Equal(c, map[string]string{"note": "n"}, live.GetAnnotations())
	require.Equal(c, kube.FieldManager, live.GetManagedFields()[0].Manager)
	changed, err = c.ApplySecret(c.Context(), file, false)
	require.NoError(c, err)
	require.False(c, changed)
	require.Equal(c, live.GetResourceVersion(), c.get(core("secrets"), file.Namespace, file.Name).GetResourceVersion(), "nothing was written")
	values, err = c.Secret(c.Context(), file.Namespace, file.Name)
	require.NoError(c, err)
	require.Equal(c, canary, string(values["KOPIA_PASSWORD"]))

	// Another key is added, and what was there stays.
	more := SecretFile{Namespace: file.Namespace, Name: file.Name, Values: map[string][]byte{"more": []byte("m")}}
	changed, err = c.ApplySecret(c.Context(), more, false)
	require.NoError(c, err)
	require.True(c, changed)
	values, err = c.Secret(c.Context(), file.Namespace, file.Name)
	require.NoError(c, err)
	require.Len(c, values, 3)

	file.Values["KOPIA_PASSWORD"] = []byte("another " + canary)
	c.refused(file, "KOPIA_PASSWORD")
	changed, err = c.ApplySecret(c.Context(), file, true)
	require.NoError(c, err)
	require.True(c, changed)
	values, err = c.Secret(c.Context(), file.Namespace, file.Name)
	require.NoError(c, err)
	require.Equal(c, "another "+canary, string(values["KOPIA_PASSWORD"]))
	file.Type = "kubernetes.io/basic-auth"
	c.refused(file, "type")
}

// refused: the file is refused for that reason, no value is told, and nothing is written.
func (c *cluster) refused(file SecretFile, why string) {
	c.Helper()
	before := c.get(core("secrets"), file.Namespace, file.Name)
	changed, err := c.ApplySecret(c.Context(), file, false)
	require.ErrorIs(c, err, recovery.ErrConflict)
	require.False(c, changed)
	require.ErrorContains(c, err, why)
	require.NotContains(c, err.Error(), canary)
	require.Equal(c, before.GetResourceVersion(), c.get(core("secrets"), file.Namespace, file.Name).GetResourceVersion())
}

func keepsWhatOthersApplied(c *cluster) {
	c.create(core("secrets"), `{apiVersion: v1, kind: Secret, metadata: {namespace: secrets-owned, name: s, labels: {app: theirs}}, stringData: {a: one, b: two}}`)
	file := SecretFile{Namespace: "secrets-owned", Name: "s", Values: map[string][]byte{"a": []byte("one")}}
	changed, err := c.ApplySecret(c.Context(), file, false)
	require.NoError(c, err)
	require.False(c, changed, "it has all that the file says")
	file.Values["c"] = []byte("three")
	changed, err = c.ApplySecret(c.Context(), file, false)
	require.NoError(c, err)
	require.True(c, changed)
	file.Labels = map[string]string{"app": "ours"}
	c.refused(file, "labels")
	file.Labels, file.Values["b"] = nil, []byte("2")
	c.refused(file, "under b")
	changed, err = c.ApplySecret(c.Context(), file, true)
	require.NoError(c, err)
	require.True(c, changed)
	values, err := c.Secret(c.Context(), "secrets-owned", "s")
	require.NoError(c, err)
	require.Equal(c, map[string][]byte{"a": []byte("one"), "b": []byte("2"), "c": []byte("three")}, values)

	c.create(core("secrets"), `{apiVersion: v1, kind: Secret, metadata: {namespace: secrets-owned, name: fixed}, immutable: true, stringData: {a: one}}`)
	c.refused(SecretFile{Namespace: "secrets-owned", Name: "fixed", Values: map[string][]byte{"a": []byte(canary)}}, "immutable")

	c.create(core("namespaces"), `{apiVersion: v1, kind: Namespace, metadata: {name: ending}}`)
	c.create(core("configmaps"), `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ending, name: held, finalizers: [drctl.dev/test]}}`)
	require.NoError(c, c.kube.Delete(c.Context(), core("namespaces"), "", "ending", kube.Preconditions{}, "Background"))
	_, err = c.ApplySecret(c.Context(), SecretFile{Namespace: "ending", Name: "s", Values: map[string][]byte{"a": []byte(canary)}}, false)
	require.ErrorIs(c, err, recovery.ErrConflict)
	require.ErrorContains(c, err, "the namespace is being deleted")
	_, err = c.kube.PatchMerge(c.Context(), core("configmaps"), "ending", "held", []byte(`{"metadata":{"finalizers":null}}`), kube.WriteOptions{})
	require.NoError(c, err)
}

const rootManifest = `{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"root","finalizers":["resources-finalizer.argocd.argoproj.io"]},
	"spec":{"project":"default","source":{"repoURL":"https://git.example.invalid/platform.git","targetRevision":"main","path":"apps"},
	"destination":{"server":"https://kubernetes.default.svc","namespace":"argocd"},"syncPolicy":{"automated":{"prune":true},"syncOptions":["ServerSideApply=true"]}}}`

func appliesTheRoot(c *cluster) {
	c.create(core("namespaces"), `{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}`)
	applied := func(manifest string) bool {
		is, err := c.RootApplied(c.Context(), []byte(manifest))
		require.NoError(c, err)
		return is
	}
	require.False(c, applied(rootManifest))
	require.NoError(c, c.ApplyRoot(c.Context(), []byte(rootManifest)))
	require.True(c, applied(rootManifest))
	applications := gvr{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	patch := func(body string) {
		_, err := c.kube.PatchMerge(c.Context(), applications, "argocd", "root", []byte(body), kube.WriteOptions{FieldManager: "somebody"})
		require.NoError(c, err)
	}
	patch(`{"metadata":{"labels":{"more":"m"},"finalizers":["theirs.example.invalid/f","resources-finalizer.argocd.argoproj.io"]},"spec":{"syncPolicy":{"automated":{"selfHeal":true}}}}`)
	require.True(c, applied(rootManifest), "more than the manifest says")
	patch(`{"spec":{"source":{"targetRevision":"other"}}}`)
	require.False(c, applied(rootManifest))
	require.NoError(c, c.ApplyRoot(c.Context(), []byte(rootManifest)), "a branch is no other platform, and the manifest wins")
	require.True(c, applied(rootManifest))
	patch(`{"spec":{"syncPolicy":{"syncOptions":["ServerSideApply=true","Validate=false"]}}}`)
	require.False(c, applied(rootManifest))

	patch(`{"spec":{"source":{"repoURL":"https://git.example.invalid/another.git"}}}`)
	err := c.ApplyRoot(c.Context(), []byte(rootManifest))
	require.ErrorIs(c, err, recovery.ErrConflict)
	require.ErrorContains(c, err, "another:apps")
	require.NoError(c, c.Refresh(c.Context(), "argocd", "root"))
	live := c.get(applications, "argocd", "root")
	require.Equal(c, "normal", live.GetAnnotations()[refreshAnnotation])
	repository, _, err := unstructured.NestedString(live.Object, "spec", "source", "repoURL")
	require.NoError(c, err)
	require.Equal(c, "https://git.example.invalid/another.git", repository, "nothing was written")
	require.ErrorIs(c, c.ApplyRoot(c.Context(), []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`)), recovery.ErrUnsupported)
	require.ErrorIs(c, c.ApplyRoot(c.Context(), []byte("a: b: c")), recovery.ErrDamaged)
	require.ErrorIs(c, c.ApplyRoot(c.Context(), nil), recovery.ErrDamaged)
	require.NoError(c, c.kube.Delete(c.Context(), applications, "argocd", "root", kube.Preconditions{}, "Background"))
	require.ErrorContains(c, c.ApplyRoot(c.Context(), []byte(rootManifest)), "is being deleted")
	require.False(c, applied(rootManifest))
	patch(`{"metadata":{"finalizers":null}}`)
}
