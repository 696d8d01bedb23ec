package argocd

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	here      = "spec: {destination: {server: 'https://kubernetes.default.svc'}}\n"
	byName    = "spec: {destination: {name: in-cluster}}\n"
	elsewhere = "spec: {destination: {server: 'https://10.0.0.1'}}\n"
	lists     = "status: {resources: [{group: postgresql.cnpg.io, version: v1, kind: Cluster, namespace: cloudnative-pg, name: immich-database}]}\n"
	others    = "status: {resources: [{group: postgresql.cnpg.io, version: v1, kind: Cluster, namespace: elsewhere, name: immich-database}]}\n"
)

func database(tracking, instance string) Object {
	object := Object{Group: "postgresql.cnpg.io", Kind: "Cluster", Namespace: "cloudnative-pg", Name: "immich-database"}
	if tracking != "" {
		object.Annotations = map[string]string{trackingAnnotation: tracking}
	}
	if instance != "" {
		object.Labels = map[string]string{instanceLabel: instance}
	}
	return object
}

func TestOwning(t *testing.T) {
	const identity = ":postgresql.cnpg.io/Cluster:cloudnative-pg/immich-database"
	tenant := application(t, "immich", elsewhere)
	tenant.SetNamespace("tenant")
	for _, test := range []struct {
		name   string
		object Object
		apps   []*unstructured.Unstructured
		want   string
		kind   error
	}{
		{"by its annotation", database("immich"+identity, ""), []*unstructured.Unstructured{application(t, "other", here+lists), application(t, "immich", here)}, "argocd/immich", nil},
		{"outside of Argo CD's namespace", database("tenant_immich"+identity, ""), []*unstructured.Unstructured{application(t, "immich", here), tenant}, "tenant/immich", nil},
		{"two of that name, one lists it", database("immich"+identity, ""), []*unstructured.Unstructured{tenant, application(t, "immich", here+lists)}, "argocd/immich", nil},
		{"two of that name", database("immich"+identity, ""), []*unstructured.Unstructured{tenant, application(t, "immich", here)}, "", recovery.ErrUnsupported},
		{"the annotation was copied from another object", database("other:postgresql.cnpg.io/Cluster:cloudnative-pg/other", ""), []*unstructured.Unstructured{application(t, "other", here), application(t, "immich", here+lists)}, "argocd/immich", nil},
		{"the annotation makes no sense", database("immich", ""), []*unstructured.Unstructured{application(t, "immich", here+lists)}, "argocd/immich", nil},
		{"listed", database("", ""), []*unstructured.Unstructured{application(t, "others", here+others), application(t, "immich", byName+lists)}, "argocd/immich", nil},
		{"listed, but in another cluster", database("", ""), []*unstructured.Unstructured{application(t, "immich", elsewhere+lists)}, "", nil},
		{"listed twice, the label decides", database("", "two"), []*unstructured.Unstructured{application(t, "one", here+lists), application(t, "two", here+lists)}, "argocd/two", nil},
		{"listed twice", database("", "helm-release"), []*unstructured.Unstructured{application(t, "one", here+lists), application(t, "two", here+lists)}, "", recovery.ErrUnsupported},
		{"the label alone is Helm's", database("", "immich"), []*unstructured.Unstructured{application(t, "immich", here+others)}, "", nil},
		{"tracked by an Application that is not here", database("immich"+identity, ""), []*unstructured.Unstructured{application(t, "other", here)}, "", recovery.ErrNotFound},
		{"nothing", database("", ""), nil, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			app, err := Owning(t.Context(), &fake{apps: test.apps}, test.object)
			if test.kind != nil {
				require.ErrorIs(t, err, test.kind)
				require.Nil(t, app)
				return
			}
			require.NoError(t, err)
			if test.want == "" {
				require.Nil(t, app)
				return
			}
			require.NotNil(t, app)
			require.Equal(t, test.want, app.Namespace+"/"+app.Name)
		})
	}
}

func TestOwningWhatCannotBeRead(t *testing.T) {
	app, err := Owning(t.Context(), &fake{listErr: recovery.ErrNotFound}, database("", ""))
	require.NoError(t, err, "no Argo CD")
	require.Nil(t, app)

	_, err = Owning(t.Context(), &fake{listErr: recovery.ErrNotFound}, database("immich:postgresql.cnpg.io/Cluster:cloudnative-pg/immich-database", ""))
	require.ErrorContains(t, err, "another cluster's Argo CD")

	refused := errors.Join(recovery.ErrDenied, errors.New("no"))
	_, err = Owning(t.Context(), &fake{listErr: refused}, database("", ""))
	require.ErrorIs(t, err, recovery.ErrDenied)

	gaps := recovery.Gaps{{What: "list applications in namespace secret", Err: recovery.ErrDenied}}
	_, err = Owning(t.Context(), &fake{gaps: gaps}, database("", ""))
	require.ErrorIs(t, err, recovery.ErrDenied, "it may be among those that were not read")
	app, err = Owning(t.Context(), &fake{gaps: gaps, apps: []*unstructured.Unstructured{application(t, "immich", here+lists)}}, database("", ""))
	require.NoError(t, err)
	require.Equal(t, "immich", app.Name)

	damaged := application(t, "damaged", "spec: {source: 7}")
	_, err = Owning(t.Context(), &fake{apps: []*unstructured.Unstructured{damaged}}, database("", ""))
	require.ErrorIs(t, err, recovery.ErrDamaged)
}
