package fence_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

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
