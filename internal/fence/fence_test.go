package fence_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	databases  = schema.GroupVersionResource{Group: "test.drctl.dev", Version: "v1", Resource: "databases"}
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	crds       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	policies   = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	bindings   = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}
)

// within bounds what the API server needs a moment for; it is far above what was ever seen.
const within = time.Minute

// cluster is the real API server with the two namespaces and the kind that the tests use.
type cluster struct {
	*lab.Kubernetes
	api *kube.Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{Users: []string{"nobody"}})
	require.NoError(t, err)
	api, err := kube.New(kube.Options{REST: k.RESTConfig(), Context: "lab"})
	require.NoError(t, err)
	c := &cluster{Kubernetes: k, api: api}
	for _, name := range []string{"db", "other"} {
		c.create(t, namespaces, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
		}})
	}
	c.create(t, crds, definition())
	require.Eventually(t, func() bool {
		served, err := api.Served(t.Context(), databases)
		if err != nil || !served {
			return false
		}
		_, err = api.Create(t.Context(), databases, database("db", "probe"), kube.WriteOptions{DryRun: true})
		return err == nil
	}, within, 50*time.Millisecond)
	return c
}

func (c *cluster) create(t *testing.T, gvr schema.GroupVersionResource, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	created, err := c.api.Create(t.Context(), gvr, object, kube.WriteOptions{})
	require.NoError(t, err)
	return created
}

// up puts a fence up and waits until it holds on this API server.
func (c *cluster) up(t *testing.T, spec fence.Spec, sample *unstructured.Unstructured) {
	t.Helper()
	require.NoError(t, fence.Up(t.Context(), c.api, spec))
	t.Cleanup(func() {
		// The test's own context is over by then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), within)
		defer cancel()
		if err := fence.Down(ctx, c.api, spec); err != nil {
			t.Errorf("fence down: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, fence.Prove(ctx, c.api, spec, sample, 200*time.Millisecond))
}

// definition is of a kind with a schema that refuses, and a status of its own.
func definition() *unstructured.Unstructured {
	spec := map[string]any{"type": "object", "required": []any{"size"}, "properties": map[string]any{
		"size": map[string]any{"type": "integer"}, "note": map[string]any{"type": "string"},
	}}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "databases.test.drctl.dev"},
		"spec": map[string]any{
			"group": "test.drctl.dev", "scope": "Namespaced",
			"names": map[string]any{"plural": "databases", "singular": "database", "kind": "Database", "listKind": "DatabaseList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "required": []any{"spec"},
					"properties": map[string]any{"spec": spec, "status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			}},
		},
	}}
}

func database(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "test.drctl.dev/v1", "kind": "Database",
		"metadata": map[string]any{"namespace": namespace, "name": name},
		"spec":     map[string]any{"size": int64(1)},
	}}
}

func configMap(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": namespace, "name": name},
	}}
}

func databaseSpec(planID, name string) fence.Spec {
	return fence.Spec{PlanID: planID, Expires: time.Now().Add(24 * time.Hour), GVR: databases, Kind: "Database", Namespace: "db", Name: name}
}

func configMapSpec(planID, name string) fence.Spec {
	return fence.Spec{PlanID: planID, Expires: time.Now().Add(24 * time.Hour), GVR: configMaps, Kind: "ConfigMap", Namespace: "db", Name: name}
}

func marked(object *unstructured.Unstructured, planID string) *unstructured.Unstructured {
	object.SetAnnotations(map[string]string{fence.MarkKey: planID})
	return object
}

func TestFence(t *testing.T) {
	c := newCluster(t)
	for name, test := range map[string]func(*testing.T, *cluster){
		"what it holds back and what not":       holdsBack,
		"what exists goes on living":            existingObjects,
		"mutation comes first":                  mutationComesFirst,
		"it expires by itself":                  expires,
		"up again renews":                       upAgainRenews,
		"what is not ours stays":                foreignObjects,
		"down, standing and leftovers":          downStandingLeftovers,
		"a proof needs a fence":                 proofNeedsFence,
		"a sample that something else refuses":  sampleRefusedOtherwise,
		"a user without rights proves nothing":  proofWithoutRights,
		"what could not be quoted is not taken": unquotable,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

func holdsBack(t *testing.T, c *cluster) {
	const plan = "plan-holds-back"
	kinds := map[string]struct {
		gvr    schema.GroupVersionResource
		spec   fence.Spec
		object func(namespace, name string) *unstructured.Unstructured
	}{
		"custom resource": {databases, databaseSpec(plan+"-cr", "immich"), database},
		"core kind":       {configMaps, configMapSpec(plan+"-core", "immich"), configMap},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			object, gvr, id := kind.object, kind.gvr, kind.spec.PlanID
			c.up(t, kind.spec, object("db", "immich"))

			refused := map[string]func() error{
				"POST": func() error {
					_, err := c.api.Create(t.Context(), gvr, object("db", "immich"), kube.WriteOptions{})
					return err
				},
				"POST with another plan's mark": func() error {
					_, err := c.api.Create(t.Context(), gvr, marked(object("db", "immich"), "plan-other"), kube.WriteOptions{})
					return err
				},
				"apply that would create": func() error {
					_, err := c.api.Apply(t.Context(), gvr, object("db", "immich"), kube.WriteOptions{FieldManager: "argocd-controller", Force: true})
					return err
				},
				"dry run": func() error {
					_, err := c.api.Create(t.Context(), gvr, object("db", "immich"), kube.WriteOptions{DryRun: true})
					return err
				},
			}
			for what, try := range refused {
				err := try()
				require.ErrorIs(t, err, recovery.ErrInvalid, what)
				require.True(t, fence.Denied(err, id), "%s: %v", what, err)
				require.False(t, fence.Denied(err, "plan-other"), what)
				require.Contains(t, err.Error(), "drctl plan "+id+" holds this object back: drctl plans", what)
			}

			_, err := c.api.Create(t.Context(), gvr, object("db", "another"), kube.WriteOptions{DryRun: true})
			require.NoError(t, err, "another name")
			_, err = c.api.Create(t.Context(), gvr, object("other", "immich"), kube.WriteOptions{DryRun: true})
			require.NoError(t, err, "another namespace")
			generated := object("db", "")
			unstructured.RemoveNestedField(generated.Object, "metadata", "name")
			generated.SetGenerateName("immich-")
			_, err = c.api.Create(t.Context(), gvr, generated, kube.WriteOptions{DryRun: true})
			require.NoError(t, err, "a generated name")

			_, err = c.api.Create(t.Context(), gvr, marked(object("db", "immich"), id), kube.WriteOptions{})
			require.NoError(t, err, "with the plan's mark")
		})
	}
}

func existingObjects(t *testing.T, c *cluster) {
	const plan = "plan-existing"
	live := c.create(t, databases, database("db", "living"))
	c.up(t, databaseSpec(plan, "living"), database("db", "living"))

	_, err := c.api.Create(t.Context(), databases, database("db", "living"), kube.WriteOptions{DryRun: true})
	require.True(t, fence.Denied(err, plan), "the denial comes before AlreadyExists: %v", err)
	require.NotErrorIs(t, err, recovery.ErrExists)

	_, err = c.api.PatchMerge(t.Context(), databases, "db", "living", []byte(`{"spec":{"note":"patched"}}`), kube.WriteOptions{})
	require.NoError(t, err, "a patch")
	_, err = c.api.PatchMerge(t.Context(), databases, "db", "living", []byte(`{"status":{"phase":"ready"}}`), kube.WriteOptions{}, "status")
	require.NoError(t, err, "a patch of the status")
	_, err = c.api.Apply(t.Context(), databases, database("db", "living"), kube.WriteOptions{FieldManager: "argocd-controller", Force: true})
	require.NoError(t, err, "an apply")
	err = c.api.Delete(t.Context(), databases, "db", "living", kube.Preconditions{UID: string(live.GetUID())}, metav1.DeletePropagationBackground)
	require.NoError(t, err, "the delete")
	_, err = c.api.Get(t.Context(), databases, "db", "living")
	require.ErrorIs(t, err, recovery.ErrNotFound)
	_, err = c.api.Create(t.Context(), databases, database("db", "living"), kube.WriteOptions{})
	require.True(t, fence.Denied(err, plan), "%v", err)
}

// mutationComesFirst: the fence judges what would be stored, and not what was sent. A mutation that adds
// the mark to everything opens it.
func mutationComesFirst(t *testing.T, c *cluster) {
	const plan = "plan-mutation"
	group := "admissionregistration.k8s.io"
	mutations := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "mutatingadmissionpolicies"}
	mutationBindings := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "mutatingadmissionpolicybindings"}
	c.up(t, databaseSpec(plan, "mutated"), database("db", "mutated"))
	c.create(t, mutations, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/v1", "kind": "MutatingAdmissionPolicy", "metadata": map[string]any{"name": "mark-all"},
		"spec": map[string]any{
			"failurePolicy": "Fail", "reinvocationPolicy": "Never",
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{databases.Group}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"databases"}, "resourceNames": []any{"mutated"},
			}}},
			"mutations": []any{map[string]any{"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{
				"expression": `Object{metadata: Object.metadata{annotations: {"` + fence.MarkKey + `": "` + plan + `"}}}`,
			}}},
		},
	}})
	c.create(t, mutationBindings, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": map[string]any{"name": "mark-all"},
		"spec": map[string]any{"policyName": "mark-all"},
	}})

	require.Eventually(t, func() bool {
		created, err := c.api.Create(t.Context(), databases, database("db", "mutated"), kube.WriteOptions{DryRun: true})
		return err == nil && created.GetAnnotations()[fence.MarkKey] == plan
	}, within, 50*time.Millisecond)
}

func expires(t *testing.T, c *cluster) {
	spec := databaseSpec("plan-expires", "expiring")
	spec.Expires = time.Now().Add(24 * time.Hour)
	c.up(t, spec, database("db", "expiring"))

	// Renewed to a moment that is near: putting it up with that could be too slow on a busy machine.
	spec.Expires = time.Now().Add(2 * time.Second)
	require.NoError(t, fence.Up(t.Context(), c.api, spec))
	begin := time.Now()
	require.Eventually(t, func() bool {
		_, err := c.api.Create(t.Context(), databases, database("db", "expiring"), kube.WriteOptions{DryRun: true})
		if err != nil {
			require.True(t, fence.Denied(err, spec.PlanID), "%v", err)
		}
		return err == nil
	}, within, 50*time.Millisecond)
	t.Logf("admitted again %s after a fence of 2 s was put up", time.Since(begin).Round(10*time.Millisecond))
	require.False(t, time.Now().Before(spec.Expires.Truncate(time.Second)), "it must not open before its expiry")

	standing, err := fence.Standing(t.Context(), c.api, spec)
	require.NoError(t, err)
	require.False(t, standing, "an expired fence does not stand")

	spec.Expires = time.Now().Add(time.Hour)
	c.up(t, spec, database("db", "expiring"))
}

func upAgainRenews(t *testing.T, c *cluster) {
	spec := databaseSpec("plan-renews", "renewed")
	c.up(t, spec, database("db", "renewed"))
	before, err := c.api.Get(t.Context(), policies, "", spec.PolicyName())
	require.NoError(t, err)

	spec.Expires = spec.Expires.Add(time.Hour)
	require.NoError(t, fence.Up(t.Context(), c.api, spec))
	require.NoError(t, fence.Up(t.Context(), c.api, spec))

	after, err := c.api.Get(t.Context(), policies, "", spec.PolicyName())
	require.NoError(t, err)
	require.Equal(t, before.GetUID(), after.GetUID())
	require.NotEqual(t, before.Object["spec"], after.Object["spec"])
	ours := leftoversOf(t, c, spec.PlanID)
	require.Len(t, ours, 1)
	require.Equal(t, spec.Expires.UTC().Truncate(time.Second), ours[0].Expires)
}

func leftoversOf(t *testing.T, c *cluster, planID string) []fence.Leftover {
	t.Helper()
	all, err := fence.Leftovers(t.Context(), c.api)
	require.NoError(t, err)
	var ours []fence.Leftover
	for _, leftover := range all {
		if leftover.PlanID == planID {
			ours = append(ours, leftover)
		}
	}
	return ours
}

func foreignObjects(t *testing.T, c *cluster) {
	spec := databaseSpec("plan-foreign", "foreign")
	foreign := c.create(t, bindings, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": spec.PolicyName()},
		"spec":     map[string]any{"policyName": "none", "validationActions": []any{"Audit"}},
	}})

	err := fence.Up(t.Context(), c.api, spec)
	require.ErrorIs(t, err, recovery.ErrConflict)
	_, err = fence.Standing(t.Context(), c.api, spec)
	require.ErrorIs(t, err, recovery.ErrConflict)
	require.NoError(t, fence.Down(t.Context(), c.api, spec))

	live, err := c.api.Get(t.Context(), bindings, "", spec.PolicyName())
	require.NoError(t, err)
	require.Equal(t, foreign.GetResourceVersion(), live.GetResourceVersion(), "it stays as it was")
	require.Empty(t, leftoversOf(t, c, spec.PlanID), "our half of it is gone")
}

func downStandingLeftovers(t *testing.T, c *cluster) {
	spec := databaseSpec("plan-down", "down")
	require.NoError(t, fence.Down(t.Context(), c.api, spec), "there is none")
	standing, err := fence.Standing(t.Context(), c.api, spec)
	require.NoError(t, err)
	require.False(t, standing)

	c.up(t, spec, database("db", "down"))
	standing, err = fence.Standing(t.Context(), c.api, spec)
	require.NoError(t, err)
	require.True(t, standing)
	ours := leftoversOf(t, c, spec.PlanID)
	require.Len(t, ours, 1)
	require.WithinDuration(t, time.Now(), ours[0].Created, within)
	ours[0].Created = time.Time{}
	require.Equal(t, fence.Leftover{
		Name: spec.PolicyName(), PlanID: spec.PlanID, Namespace: "db", Target: "Database down", Expires: spec.Expires.UTC().Truncate(time.Second),
	}, ours[0])

	live, err := c.api.Get(t.Context(), bindings, "", spec.PolicyName())
	require.NoError(t, err)
	require.NoError(t, c.api.Delete(t.Context(), bindings, "", spec.PolicyName(), kube.Preconditions{UID: string(live.GetUID())}, metav1.DeletePropagationBackground))
	standing, err = fence.Standing(t.Context(), c.api, spec)
	require.NoError(t, err)
	require.False(t, standing, "half a fence does not stand")
	require.Len(t, leftoversOf(t, c, spec.PlanID), 1, "and is a leftover")

	require.NoError(t, fence.Down(t.Context(), c.api, spec))
	require.NoError(t, fence.Down(t.Context(), c.api, spec), "twice is once")
	require.Empty(t, leftoversOf(t, c, spec.PlanID))
	begin := time.Now()
	require.Eventually(t, func() bool {
		_, err := c.api.Create(t.Context(), databases, database("db", "down"), kube.WriteOptions{DryRun: true})
		return err == nil
	}, within, 20*time.Millisecond)
	t.Logf("open %s after Down", time.Since(begin).Round(10*time.Millisecond))
}

func proofNeedsFence(t *testing.T, c *cluster) {
	tests := map[string]struct {
		spec   fence.Spec
		before func(t *testing.T)
		met    string
	}{
		"admitted":       {databaseSpec("plan-no-fence", "unfenced"), func(*testing.T) {}, "was admitted"},
		"already exists": {databaseSpec("plan-no-fence", "there"), func(t *testing.T) { c.create(t, databases, database("db", "there")) }, "there is one of that name already"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.before(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()

			err := fence.Prove(ctx, c.api, test.spec, database("db", test.spec.Name), 100*time.Millisecond)

			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Contains(t, err.Error(), "0 of ")
			require.Contains(t, err.Error(), test.met)
		})
	}
}

// sampleRefusedOtherwise: a refusal that is not the fence's own proves nothing, whatever it is.
func sampleRefusedOtherwise(t *testing.T, c *cluster) {
	spec := databaseSpec("plan-bad-sample", "bad")
	c.up(t, spec, database("db", "bad"))
	sample := database("db", "bad")
	unstructured.RemoveNestedField(sample.Object, "spec", "size")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	err := fence.Prove(ctx, c.api, spec, sample, 100*time.Millisecond)

	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, err.Error(), "spec.size")
}

func proofWithoutRights(t *testing.T, c *cluster) {
	spec := databaseSpec("plan-nobody", "nobody")
	c.up(t, spec, database("db", "nobody"))
	config, err := c.RESTConfigFor("nobody")
	require.NoError(t, err)
	nobody, err := kube.New(kube.Options{REST: config})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	err = fence.Prove(ctx, nobody, spec, database("db", "nobody"), 100*time.Millisecond)

	require.ErrorIs(t, err, recovery.ErrDenied)
	require.ErrorIs(t, fence.Up(t.Context(), nobody, spec), recovery.ErrDenied)
}

func unquotable(t *testing.T, c *cluster) {
	tests := map[string]func(*fence.Spec){
		"quote in the ID": func(s *fence.Spec) { s.PlanID = "x' || true || '" },
		"long ID":         func(s *fence.Spec) { s.PlanID = "a23456789-123456789-123456789-123456789-1" },
		"no name":         func(s *fence.Spec) { s.Name = "" },
		"no namespace":    func(s *fence.Spec) { s.Namespace = "" },
		"no expiry":       func(s *fence.Spec) { s.Expires = time.Time{} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			spec := databaseSpec("plan-ok", "any")
			change(&spec)
			require.ErrorIs(t, fence.Up(t.Context(), c.api, spec), recovery.ErrUsage)
		})
	}
}
