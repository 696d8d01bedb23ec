package kube

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

func planFor(id, target string) operation.Plan {
	return operation.Plan{
		APIVersion: recovery.APIVersion, Kind: "Plan", ID: id, Operation: "cnpg-recover", Target: target,
		CreationTime: time.Date(2026, 11, 24, 6, 15, 2, 0, time.UTC),
		Steps:        []operation.Step{{ID: "fence", Kind: "fence", Title: "fence", Timeout: time.Minute}},
	}
}

func mirrors(t *testing.T, c *realCluster) {
	mirror, everywhere := c.admin.Mirror("default"), c.admin.Mirror("")
	plan := planFor("cnpg-recover-1", "default/a")
	_, _, err := mirror.Load(t.Context(), plan.ID)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	_, _, err = everywhere.Load(t.Context(), plan.ID)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.NoError(t, mirror.Remove(t.Context(), plan.ID), "gone already")
	require.NoError(t, everywhere.Remove(t.Context(), plan.ID), "gone already")

	for _, journal := range []string{"", "one\n", "one\ntwo\n"} {
		require.NoError(t, mirror.Save(t.Context(), plan, []byte(journal)))
		for _, m := range []operation.Mirror{mirror, everywhere} {
			loaded, text, err := m.Load(t.Context(), plan.ID)
			require.NoError(t, err)
			require.Equal(t, plan, loaded)
			require.Equal(t, journal, string(text))
		}
	}
	object, err := c.admin.Get(t.Context(), configMapsResource(), "default", "drctl-plan-cnpg-recover-1")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app.kubernetes.io/managed-by": "drctl", "drctl.dev/plan": plan.ID}, object.GetLabels())

	other := planFor("cnpg-recover-2", "default/b")
	require.NoError(t, mirror.Save(t.Context(), other, nil))
	plans, err := everywhere.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []operation.Plan{plan, other}, plans)
	require.ErrorIs(t, c.nobody.Mirror("default").Save(t.Context(), plan, nil), recovery.ErrDenied)
	require.Error(t, everywhere.Save(t.Context(), plan, nil))

	_, err = c.admin.PatchMerge(t.Context(), configMapsResource(), "default", "drctl-plan-cnpg-recover-2", []byte(`{"data":{"plan.json":"{"}}`), WriteOptions{})
	require.NoError(t, err)
	_, err = mirror.List(t.Context())
	require.ErrorIs(t, err, recovery.ErrDamaged, "a plan is not overlooked")
	require.NoError(t, mirror.Remove(t.Context(), other.ID))
	require.NoError(t, everywhere.Remove(t.Context(), plan.ID))
	plans, err = mirror.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, plans)
}

// lockOf is the lock of an operator at a computer of their own.
func lockOf(c *realCluster, identity string, duration time.Duration) *LeaseLock {
	return &LeaseLock{client: c.admin, namespace: "default", identity: identity, duration: duration, every: 200 * time.Millisecond}
}

const long = time.Minute

func locks(t *testing.T, c *realCluster) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *realCluster)
	}{
		{"one operator", oneOperator}, {"a second operator", secondOperator}, {"a process that died", diedProcess},
		{"takeover", takeover}, {"a silent holder", silentHolder}, {"another plan", anotherPlan},
		{"deleted under its holder", deletedLease}, {"no renewal", noRenewal},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}

func acquire(t *testing.T, lock *LeaseLock, plan operation.Plan, takeover bool) operation.Held {
	t.Helper()
	held, err := lock.Acquire(t.Context(), plan, takeover)
	require.NoError(t, err)
	t.Cleanup(func() { held.(*heldLease).stop() })
	return held
}

func leaseOf(t *testing.T, c *realCluster, plan operation.Plan) *unstructured.Unstructured {
	t.Helper()
	lease, err := c.admin.Get(t.Context(), leasesResource(), "default", leaseName(plan))
	require.NoError(t, err)
	return lease
}

func requireNotLost(t *testing.T, held operation.Held) {
	t.Helper()
	select {
	case <-held.Lost():
		t.Fatal("the lock is lost")
	default:
	}
}

func requireLost(t *testing.T, held operation.Held) {
	t.Helper()
	select {
	case <-held.Lost():
	case <-time.After(time.Minute):
		t.Fatal("the loss was not noticed")
	}
}

func oneOperator(t *testing.T, c *realCluster) {
	plan := planFor("plan-one", "default/one")
	held := acquire(t, lockOf(c, "ada@laptop 41", long), plan, false)
	lease := leaseOf(t, c, plan)
	require.Equal(t, "drctl", lease.GetLabels()["app.kubernetes.io/managed-by"])
	require.Equal(t, "plan-one", lease.GetLabels()["drctl.dev/plan"])
	spec := lease.Object["spec"].(map[string]any)
	require.Equal(t, "plan-one ada@laptop 41", spec["holderIdentity"])
	require.EqualValues(t, 60, spec["leaseDurationSeconds"])
	require.Eventually(t, func() bool {
		return holderOf(leaseOf(t, c, plan)).renewed.Sub(holderOf(lease).renewed) > 500*time.Millisecond
	}, time.Minute, 50*time.Millisecond, "it is renewed")
	require.Equal(t, holderOf(lease).acquired, holderOf(leaseOf(t, c, plan)).acquired)

	// Somebody's label is no reason to lose it.
	_, err := c.admin.PatchMerge(t.Context(), leasesResource(), "default", leaseName(plan), []byte(`{"metadata":{"labels":{"seen":"by-someone"}}}`), WriteOptions{})
	require.NoError(t, err)
	before := holderOf(leaseOf(t, c, plan)).renewed
	require.Eventually(t, func() bool { return holderOf(leaseOf(t, c, plan)).renewed.After(before) }, time.Minute, 50*time.Millisecond)
	requireNotLost(t, held)

	require.NoError(t, held.Release(t.Context()))
	require.NoError(t, held.Release(t.Context()), "twice is once")
	_, err = c.admin.Get(t.Context(), leasesResource(), "default", leaseName(plan))
	require.ErrorIs(t, err, recovery.ErrNotFound)
	requireNotLost(t, held)
}

func secondOperator(t *testing.T, c *realCluster) {
	plan := planFor("plan-first", "default/two")
	held := acquire(t, lockOf(c, "ada@laptop 41", long), plan, false)

	tests := map[string]struct {
		plan     operation.Plan
		takeover bool
		next     string
	}{
		"same plan":            {plan, false, "drctl resume plan-first --takeover"},
		"own plan":             {planFor("plan-second", "default/two"), false, "finish plan plan-first first"},
		"own plan by takeover": {planFor("plan-second", "default/two"), true, "drctl resume plan-first --takeover"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := lockOf(c, "bob@desk 7", long).Acquire(t.Context(), test.plan, test.takeover)
			require.ErrorIs(t, err, operation.ErrBusy)
			require.False(t, Retryable(err))
			for _, text := range []string{"plan plan-first", "ada@laptop", "process 41", "since 20", test.next} {
				require.Contains(t, err.Error(), text)
			}
		})
	}
	acquire(t, lockOf(c, "bob@desk 7", long), planFor("plan-third", "default/two-b"), false)
	requireNotLost(t, held)
}

func diedProcess(t *testing.T, c *realCluster) {
	plan := planFor("plan-died", "default/died")
	first := acquire(t, lockOf(c, "ada@laptop 41", long), plan, false)
	first.(*heldLease).stop() // killed: nothing is given back

	second := acquire(t, lockOf(c, "ada@laptop 42", long), plan, false)

	lease := leaseOf(t, c, plan)
	require.Equal(t, "plan-died ada@laptop 42", lease.Object["spec"].(map[string]any)["holderIdentity"])
	require.EqualValues(t, 1, lease.Object["spec"].(map[string]any)["leaseTransitions"])
	require.NoError(t, first.Release(t.Context()), "what is not ours any more stays")
	require.Equal(t, lease.GetUID(), leaseOf(t, c, plan).GetUID())
	requireNotLost(t, second)
}

func takeover(t *testing.T, c *realCluster) {
	plan := planFor("plan-taken", "default/taken")
	first := acquire(t, lockOf(c, "ada@laptop 41", long), plan, false)

	second := acquire(t, lockOf(c, "bob@desk 7", long), plan, true)

	requireLost(t, first)
	requireNotLost(t, second)
	require.NoError(t, first.Release(t.Context()))
	require.Equal(t, "plan-taken bob@desk 7", leaseOf(t, c, plan).Object["spec"].(map[string]any)["holderIdentity"])
	require.NoError(t, second.Release(t.Context()))
}

func silentHolder(t *testing.T, c *realCluster) {
	plan := planFor("plan-silent", "default/silent")
	first := acquire(t, lockOf(c, "ada@laptop 41", time.Second), plan, false)
	first.(*heldLease).stop()
	<-first.(*heldLease).stopped
	bob := lockOf(c, "bob@desk 7", long)
	require.Eventually(t, func() bool {
		held, err := bob.Acquire(t.Context(), plan, false)
		if err != nil {
			require.ErrorIs(t, err, operation.ErrBusy)
			return false
		}
		return held.Release(t.Context()) == nil
	}, time.Minute, 100*time.Millisecond, "it is over by itself")

	// A holder whose clock is far behind: over by the times, but renewed.
	second := acquire(t, lockOf(c, "ada@laptop 41", long), plan, false)
	second.(*heldLease).stop()
	<-second.(*heldLease).stopped
	past := microTime(time.Now().Add(-time.Hour))
	touched := make(chan error, 1)
	_, err := c.admin.PatchMerge(t.Context(), leasesResource(), "default", leaseName(plan), mustJSON(t, map[string]any{"spec": map[string]any{"renewTime": past}}), WriteOptions{})
	require.NoError(t, err)
	patient := lockOf(c, "bob@desk 7", long)
	patient.every = 4 * time.Second
	time.AfterFunc(500*time.Millisecond, func() {
		later := microTime(time.Now().Add(-time.Hour))
		_, err := c.admin.PatchMerge(t.Context(), leasesResource(), "default", leaseName(plan), []byte(`{"spec":{"renewTime":"`+later+`"}}`), WriteOptions{})
		touched <- err
	})
	_, err = patient.Acquire(t.Context(), plan, false)
	require.NoError(t, <-touched)
	require.ErrorIs(t, err, operation.ErrBusy)
}

func anotherPlan(t *testing.T, c *realCluster) {
	mirror := c.admin.Mirror("default")
	old := planFor("plan-old", "default/shared")
	require.NoError(t, mirror.Save(t.Context(), old, nil))
	held := acquire(t, lockOf(c, "ada@laptop 41", time.Second), old, false)
	held.(*heldLease).stop()
	<-held.(*heldLease).stopped
	require.Eventually(t, func() bool { h := holderOf(leaseOf(t, c, old)); return time.Since(h.renewed) > h.duration }, time.Minute, 100*time.Millisecond)

	fresh := planFor("plan-new", "default/shared")
	_, err := lockOf(c, "ada@laptop 42", long).Acquire(t.Context(), fresh, false)
	require.ErrorIs(t, err, operation.ErrBusy, "silent, but unfinished")
	require.Contains(t, err.Error(), "drctl resume plan-old --takeover")

	require.NoError(t, mirror.Remove(t.Context(), old.ID))
	second := acquire(t, lockOf(c, "ada@laptop 42", long), fresh, false)
	require.Equal(t, "plan-new", leaseOf(t, c, fresh).GetLabels()["drctl.dev/plan"])
	require.NoError(t, second.Release(t.Context()))
}

func deletedLease(t *testing.T, c *realCluster) {
	plan := planFor("plan-deleted", "default/deleted")
	held := acquire(t, lockOf(c, "ada@laptop 41", long), plan, false)
	require.NoError(t, c.admin.Delete(t.Context(), leasesResource(), "default", leaseName(plan), Preconditions{}, metav1.DeletePropagationBackground))
	requireLost(t, held)
	require.NoError(t, held.Release(t.Context()))
}

// noRenewal: whoever can't renew for the whole duration must not go on, for somebody else may.
func noRenewal(t *testing.T, c *realCluster) {
	plan := planFor("plan-cut-off", "default/cut-off")
	cut, closeConnections, err := c.admin.Fresh()
	require.NoError(t, err)
	lock := lockOf(c, "ada@laptop 41", 2*time.Second)
	lock.client = cut
	held := acquire(t, lock, plan, false)
	closeConnections()
	requireLost(t, held)
}

func TestLeaseNames(t *testing.T) {
	tests := map[string]struct{ operation, target, want string }{
		"plain":    {"cnpg-recover", "cloudnative-pg/immich-database", "drctl-cnpg-recover-cloudnative-pg-immich-database-"},
		"odd":      {"cnpg-recover", "Cluster a/B.c", "drctl-cnpg-recover-cluster-a-b-c-"},
		"too long": {"pvc-restore", "ns/" + string(make([]byte, 300)), "drctl-pvc-restore-ns-"},
	}
	seen := map[string]bool{}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			plan := operation.Plan{ID: "one", Operation: test.operation, Target: test.target}
			got := leaseName(plan)
			require.Regexp(t, "^"+test.want+"[0-9a-f]{8}$", got)
			require.LessOrEqual(t, len(got), 80)
			plan.ID = "two"
			require.Equal(t, got, leaseName(plan), "it is the target's, not the plan's")
			require.False(t, seen[got])
			seen[got] = true
		})
	}
	require.NotEqual(t, leaseName(operation.Plan{Target: "a/b-c"}), leaseName(operation.Plan{Target: "a-b/c"}))
	require.Regexp(t, `^\S+@\S+ \d+$`, processIdentity())
}
