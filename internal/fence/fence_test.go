package fence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

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
		"Pods that mount a claim":               podsHeldBack,
		"no mover is exempt unless named":       noExemption,
		"living Pods go on living":              livingPods,
		"a fence on Pods expires by itself":     podsFenceExpires,
		"two fences of one plan":                twoFencesOfOnePlan,
		"nothing else refuses the sample":       sampleMeetsStandards,
		"what is no fence on Pods":              unquotablePods,
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
