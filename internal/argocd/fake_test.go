package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// fake serves Applications from memory and keeps the patches that it was sent.
type fake struct {
	apps    []*unstructured.Unstructured
	listErr error
	gaps    recovery.Gaps
	patches []string
	// conflicts is how many patches are answered by a conflict first.
	conflicts int
}

func (f *fake) Get(_ context.Context, _ schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	for _, app := range f.apps {
		if app.GetNamespace() == namespace && app.GetName() == name {
			return app, nil
		}
	}
	return nil, fmt.Errorf("get %s/%s: %w", namespace, name, recovery.ErrNotFound)
}

func (f *fake) List(context.Context, schema.GroupVersionResource, string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	if f.listErr != nil {
		return nil, nil, f.listErr
	}
	items := make([]unstructured.Unstructured, 0, len(f.apps))
	for _, app := range f.apps {
		items = append(items, *app)
	}
	return items, f.gaps, nil
}

func (f *fake) PatchJSON(_ context.Context, _ schema.GroupVersionResource, _, _ string, body []byte) (*unstructured.Unstructured, error) {
	if f.conflicts > 0 {
		f.conflicts--
		return nil, fmt.Errorf("patch: %w", recovery.ErrConflict)
	}
	f.patches = append(f.patches, string(body))
	return nil, nil
}

func (f *fake) PatchMerge(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte) (*unstructured.Unstructured, error) {
	return f.PatchJSON(ctx, gvr, namespace, name, body)
}

// application reads the manifest of an Application; metadata and what it is are added.
func application(t *testing.T, name, text string) *unstructured.Unstructured {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	object := map[string]any{}
	require.NoError(t, json.Unmarshal(encoded, &object))
	app := &unstructured.Unstructured{Object: object}
	app.SetAPIVersion("argoproj.io/v1alpha1")
	app.SetKind("Application")
	app.SetNamespace("argocd")
	app.SetName(name)
	return app
}
