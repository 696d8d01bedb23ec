package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/crds"
)

// wavesFixture is an empty cluster with controllers and a node, a tree of Applications in waves, and a stand-in
// that waits for its controller.
type wavesFixture struct {
	argo    *lab.ArgoCD
	remote  *lab.GitRemote
	applier *lab.Applier
	client  kubernetes.Interface
	apps    dynamic.NamespaceableResourceInterface
	sets    dynamic.NamespaceableResourceInterface
	defined map[string]*unstructured.Unstructured
}

func startWaves(t *testing.T) *wavesFixture {
	t.Helper()
	s := lab.ForTest(t)
	k, err := s.ControlPlane(t.Context(), lab.ControlPlaneOptions{ControllerManager: true, Scheduler: true})
	require.NoError(t, err)
	volumes, err := s.RootProvisioner(t.Context(), k)
	require.NoError(t, err)
	_, err = s.Node(t.Context(), k, volumes, lab.NodeOptions{Scheduled: true})
	require.NoError(t, err)
	f := &wavesFixture{defined: map[string]*unstructured.Unstructured{}}
	f.applier, err = k.Applier()
	require.NoError(t, err)
	f.client, err = kubernetes.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	kinds := schema.GroupVersion{Group: "argoproj.io", Version: "v1alpha1"}
	f.apps, f.sets = client.Resource(kinds.WithResource("applications")), client.Resource(kinds.WithResource("applicationsets"))
	tree := t.TempDir()
	writeFiles(t, tree, wavesTree())
	f.remote, err = s.GitRemote(t.Context(), tree)
	require.NoError(t, err)
	f.argo, err = s.ArgoCD(t.Context(), k, f.remote, lab.ArgoOptions{
		Interval: healInterval, Dormant: true, ChartDelay: 500 * time.Millisecond,
		Retry: lab.ArgoRetry{Limit: 1, Backoff: 100 * time.Millisecond, Factor: 1, MaxBackoff: time.Second},
	})
	require.NoError(t, err)
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	modules, err := crds.Fetch(t.Context(), filepath.Join(root, "internal", "lab", "parts", "manifests"))
	require.NoError(t, err)
	all, err := modules.All()
	require.NoError(t, err)
	for _, definition := range all {
		f.defined[definition.GetName()] = definition
	}
	return f
}

func object(version, kind, namespace, name string, fields map[string]any) *unstructured.Unstructured {
	made := &unstructured.Unstructured{Object: map[string]any{}}
	for field, value := range fields {
		made.Object[field] = value
	}
	made.SetAPIVersion(version)
	made.SetKind(kind)
	made.SetNamespace(namespace)
	made.SetName(name)
	return made
}

func (f *wavesFixture) apply(t *testing.T, objects ...*unstructured.Unstructured) {
	t.Helper()
	require.NoError(t, f.applier.Apply(t.Context(), objects...))
}

func (f *wavesFixture) define(t *testing.T) {
	t.Helper()
	f.defineOnly(t, "applications.argoproj.io", "applicationsets.argoproj.io")
}

func (f *wavesFixture) defineOnly(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		require.NotNil(t, f.defined[name], name)
		f.apply(t, f.defined[name])
	}
}

// install makes what the stand-in waits for.
func (f *wavesFixture) install(t *testing.T) {
	t.Helper()
	labels := map[string]any{"app": "controller"}
	f.apply(t, object("apps/v1", "StatefulSet", "argocd", "argocd-application-controller", map[string]any{"spec": map[string]any{
		"serviceName": "controller", "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{
			"containers": []any{map[string]any{"name": "controller", "image": "registry.invalid/argocd:1"}},
		}},
	}}))
}

// deny has the API server refuse ConfigMaps named "denied".
func (f *wavesFixture) deny(t *testing.T) {
	t.Helper()
	f.apply(t, object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", "lab-denies", map[string]any{"spec": map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"configmaps"},
		}}},
		"validations": []any{map[string]any{"expression": "object.metadata.name != 'denied'", "message": "the lab denies this"}},
	}}))
	f.apply(t, object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "", "lab-denies", map[string]any{"spec": map[string]any{
		"policyName": "lab-denies", "validationActions": []any{"Deny"},
	}}))
	require.Eventually(t, func() bool {
		err := f.applier.Apply(t.Context(), object("v1", "ConfigMap", "default", "denied", nil))
		if err == nil {
			_ = f.client.CoreV1().ConfigMaps("default").Delete(t.Context(), "denied", metav1.DeleteOptions{})
		}
		return err != nil
	}, time.Minute, 100*time.Millisecond)
}

func (f *wavesFixture) waitFor(t *testing.T, name string, wanted func(lab.ArgoState) bool) lab.ArgoState {
	t.Helper()
	state, err := f.argo.WaitFor(t.Context(), name, wanted)
	require.NoError(t, err)
	return state
}

func (f *wavesFixture) app(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	app, err := f.apps.Namespace("argocd").Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return app
}

func (f *wavesFixture) names(t *testing.T) []string {
	t.Helper()
	listed, err := f.apps.Namespace("argocd").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for _, app := range listed.Items {
		names = append(names, app.GetName())
	}
	slices.Sort(names)
	return names
}

// results are the messages of an Application's last sync.
func (f *wavesFixture) results(t *testing.T, name string) string {
	t.Helper()
	results, _, err := unstructured.NestedSlice(f.app(t, name).Object, "status", "operationState", "syncResult", "resources")
	require.NoError(t, err)
	return fmt.Sprint(results)
}

// removeAll takes every Application away.
func (f *wavesFixture) removeAll(t *testing.T) {
	t.Helper()
	f.argo.Pause()
	defer f.argo.Resume()
	require.NoError(t, f.sets.Namespace("argocd").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	require.Eventually(t, func() bool {
		_ = f.apps.Namespace("argocd").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
		return len(f.names(t)) == 0
	}, time.Minute, 50*time.Millisecond)
	policy := metav1.DeletePropagationForeground
	require.NoError(t, f.client.CoreV1().Namespaces().Delete(t.Context(), "one", metav1.DeleteOptions{PropagationPolicy: &policy}))
	require.Eventually(t, func() bool {
		_, err := f.client.CoreV1().Namespaces().Get(t.Context(), "one", metav1.GetOptions{})
		return err != nil
	}, time.Minute, 50*time.Millisecond)
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	require.NoError(t, put(dir, files))
}

func put(dir string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (f *wavesFixture) commit(t *testing.T, message string, files map[string]string) {
	t.Helper()
	_, err := f.remote.Commit(t.Context(), message, func(dir string) error { return put(dir, files) })
	require.NoError(t, err)
}

func (f *wavesFixture) remove(t *testing.T, path string) {
	t.Helper()
	_, err := f.remote.Commit(t.Context(), "Remove "+path, func(dir string) error { return os.RemoveAll(filepath.Join(dir, path)) })
	require.NoError(t, err)
}
