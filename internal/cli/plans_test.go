package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	stoppedID  = "cnpg-recover-20261123-090000-a2b3"
	pastID     = "cnpg-recover-20261123-080000-c4d5"
	abortingID = "cnpg-recover-20261123-070000-e6f7"
	finishedID = "cnpg-recover-20261122-060000-g2h3"
	givenUpID  = "cnpg-recover-20261121-050000-i4j5"
	theirID    = "cnpg-recover-20261123-100000-k6l7"
)

// record keeps a plan with this journal in the folder of plans.
func record(t *testing.T, f *fakeWiring, id string, entries ...operation.Entry) {
	t.Helper()
	plan := storedPlan(id, "ada@laptop")
	journal, err := f.Plans().Create(plan)
	require.NoError(t, err)
	defer journal.Close()
	for i, entry := range entries {
		entry.Time = noon.Add(-time.Hour + time.Duration(i)*10*time.Second)
		require.NoError(t, journal.Append(entry))
	}
}

func entry(step string, event operation.EntryEvent) operation.Entry {
	return operation.Entry{Step: step, Event: event}
}

// withPlans is a wiring with a plan in every state, one of them of another computer.
func withPlans(t *testing.T) *fakeWiring {
	t.Helper()
	f := onPlatform(t)
	failed := entry("fence", operation.EntryFailed)
	failed.Error = "it let a request through: POST clusters was admitted"
	record(t, f, stoppedID, entry("fence", operation.EntryStarted), failed)
	record(t, f, pastID, entry("fence", operation.EntryStarted), entry("fence", operation.EntryDone), entry("delete-cluster", operation.EntryStarted))
	record(t, f, abortingID, entry("fence", operation.EntryStarted), entry("", operation.EntryAborting), entry("fence", operation.EntryUndoStarted))
	record(t, f, finishedID, entry("fence", operation.EntryStarted), entry("fence", operation.EntryDone), entry("", operation.EntryFinished))
	record(t, f, givenUpID, entry("fence", operation.EntryStarted), entry("delete-cluster", operation.EntryStarted), entry("", operation.EntryAborted))
	f.mirror = &fakeMirror{plans: []operation.Plan{storedPlan(theirID, "bob@desk"), storedPlan(stoppedID, "ada@laptop")}, journal: []byte(
		`{"time":"2026-11-23T10:00:00Z","step":"fence","event":"started"}` + "\n")}
	f.fences = []command.StandingFence{
		{PlanID: pastID, Target: "cloudnative-pg/immich-database", Expires: noon.Add(20 * time.Hour), Remove: "kubectl delete validatingadmissionpolicybindings,validatingadmissionpolicies drctl-past"},
		{PlanID: "cnpg-recover-20261120-040000-x9y9", Target: "cloudnative-pg/other", Expires: noon.Add(time.Hour), Remove: "kubectl delete validatingadmissionpolicybindings,validatingadmissionpolicies drctl-x9y9"},
	}
	return f
}

func TestPlansGoldens(t *testing.T) {
	cases := []struct {
		golden string
		args   string
		change func(*fakeWiring)
		code   int
	}{
		{"plans-help", "plans --help", nil, 0},
		{"resume-help", "resume --help", nil, 0},
		{"abort-help", "abort --help", nil, 0},
		{"plans", "plans", nil, 0},
		{"plans-all", "plans --all", nil, 0},
		{"plans-json", "plans -o json", nil, 0},
		{"plans-name", "plans --all -o name", nil, 0},
		{"plans-none", "plans", func(f *fakeWiring) { f.plans, f.mirror, f.fences = "/nonexistent", nil, nil }, 0},
		{"plans-none-json", "plans -o json", func(f *fakeWiring) { f.plans, f.mirror, f.fences = "/nonexistent", nil, nil }, 0},
		{"plans-cluster-silent", "plans", func(f *fakeWiring) {
			f.mirror = &fakeMirror{err: &recovery.Problem{What: "list plans in the cluster", Why: "forbidden", Next: "have the rights of docs/rbac-recover.yaml", Err: recovery.ErrDenied}}
		}, 3},
		{"plans-one", "plans " + stoppedID, nil, 0},
		{"plans-one-json", "plans " + pastID + " -o json", nil, 0},
		{"plans-one-elsewhere", "plans " + theirID, nil, 0},
		{"plans-one-unknown", "plans cnpg-recover-20200101-000000-aaaa", nil, 1},
		{"resume-several", "resume", nil, 2},
		{"resume-none", "resume", func(f *fakeWiring) { f.plans = "/nonexistent" }, 1},
		{"resume-finished", "resume " + finishedID, nil, 0},
		{"resume-elsewhere", "resume " + theirID, nil, 4},
		{"resume-aborting", "resume " + abortingID, nil, 4},
		{"resume-unknown", "resume cnpg-recover-20200101-000000-aaaa", nil, 1},
		{"resume-offline", "resume " + stoppedID, func(f *fakeWiring) { f.offline = true }, 2},
		{"abort-finished", "abort " + finishedID, nil, 0},
		{"abort-given-up", "abort " + givenUpID, nil, 0},
		{"abort-elsewhere", "abort " + theirID, nil, 4},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			f := withPlans(t)
			if c.change != nil {
				c.change(f)
			}
			code, out, errs := answer(t, f, strings.Fields(c.args)...)
			require.Equal(t, c.code, code, errs)
			require.Empty(t, f.platform.changed)
			golden(t, c.golden, "$ drctl "+c.args+"\n"+out+"--- stderr\n"+errs)
		})
	}
}

// TestResumeAndAbort run what recover left behind.
func TestResumeAndAbort(t *testing.T) {
	stopped := func(t *testing.T, call string) (*fakeWiring, string) {
		t.Helper()
		f := onPlatform(t)
		f.platform.stop = call
		code, _, errs := answer(t, f, strings.Fields("cnpg recover immich --push --yes")...)
		require.Equal(t, command.ExitUnfinished, code, errs)
		f.platform.stop = ""
		views, _, err := f.Plans().Unfinished()
		require.NoError(t, err)
		require.Len(t, views, 1)
		return f, views[0].ID
	}
	t.Run("resume ends with the report", func(t *testing.T) {
		f, id := stopped(t, "create")
		code, out, errs := answer(t, f, "resume")
		require.Zero(t, code, errs)
		require.Contains(t, out, "✓ cloudnative-pg/immich-database is recovered.\n")
		require.Contains(t, errs, "still in force: fence creation of Cluster")
		code, out, errs = answer(t, f, "resume", id, "-o", "json")
		require.Zero(t, code)
		require.Empty(t, out)
		require.Equal(t, "Plan "+id+" is at its end; there is nothing to do.\n", errs)
	})
	t.Run("abort takes back", func(t *testing.T) {
		f, id := stopped(t, "suspend")
		code, out, errs := answer(t, f, "abort")
		require.Zero(t, code, errs)
		require.Equal(t, "Plan "+id+" is aborted; everything is as it was.\n", out)
		require.Equal(t, oldServer, f.platform.tree)
		require.False(t, f.platform.kept)
		require.Equal(t, "Delete", f.platform.volumes[0].ReclaimPolicy)
		require.Contains(t, errs, "undone: set the old volumes to Retain")
	})
	t.Run("abort refuses past return", func(t *testing.T) {
		f, id := stopped(t, "create")
		code, out, errs := answer(t, f, "abort")
		require.Equal(t, command.ExitUnfinished, code)
		require.Empty(t, out)
		require.Contains(t, errs, "its point of no return is behind it: delete Cluster")
		require.Contains(t, errs, "go on with it: drctl resume "+id)
		require.True(t, f.platform.fenced)
	})
	t.Run("and is given up", func(t *testing.T) {
		f, id := stopped(t, "create")
		code, out, errs := answer(t, f, "abort", "--give-up")
		require.Zero(t, code, errs)
		require.Equal(t, "Plan "+id+" is given up; what it did stays: see drctl plans "+id+".\n", out)
		require.False(t, f.platform.fenced)
		require.True(t, f.platform.kept)
		require.False(t, f.platform.paused)
	})
	t.Run("nothing to give up", func(t *testing.T) {
		f, id := stopped(t, "suspend")
		code, out, _ := answer(t, f, "abort", "--give-up", id)
		require.Zero(t, code)
		require.Contains(t, out, "everything is as it was")
	})
	t.Run("not confirmed again", func(t *testing.T) {
		f, _ := stopped(t, "create")
		code, out := onTerminal(t.Context(), f, "", "resume")
		require.Zero(t, code, out)
	})
	t.Run("the cluster cannot be told", func(t *testing.T) {
		f, _ := stopped(t, "create")
		f.err = errors.New("no kubeconfig")
		code, _, errs := answer(t, f, "resume")
		require.Equal(t, command.ExitFailed, code)
		require.Contains(t, errs, "no kubeconfig")
	})
}

// TestTakeover: somebody else's plan goes on here from its copy in the cluster.
func TestTakeover(t *testing.T) {
	f := onPlatform(t)
	f.platform.stop = "create"
	code, _, errs := answer(t, f, strings.Fields("cnpg recover immich --push --yes")...)
	require.Equal(t, command.ExitUnfinished, code, errs)
	views, _, err := f.Plans().List()
	require.NoError(t, err)
	require.NotEmpty(t, views)
	plan, _, err := f.Plans().Read(views[0].ID)
	require.NoError(t, err)

	f.platform.stop, f.plans = "", t.TempDir()
	f.mirror = &fakeMirror{plans: []operation.Plan{plan}}
	code, _, errs = answer(t, f, "resume", plan.ID)
	require.Equal(t, command.ExitUnfinished, code)
	require.Contains(t, errs, fmt.Sprintf("when it is not: drctl resume %s --takeover", plan.ID))
}

// TestPlanFields holds the names that scripts use.
func TestPlanFields(t *testing.T) {
	f := withPlans(t)
	_, out, _ := answer(t, f, "plans", "-o", "json", "--all")
	for _, name := range []string{"apiVersion", "kind", "items", "id", "operation", "target", "recoveryPoint", "clusterUID", "steps", "step", "state", "startTime", "endTime", "error", "creationTime"} {
		require.Contains(t, out, `"`+name+`":`)
	}
	_, out, _ = answer(t, f, "plans", pastID, "-o", "json")
	require.Contains(t, out, `"kind": "Plan"`)
}

// TestPlanCompletion offers what the verb can do.
func TestPlanCompletion(t *testing.T) {
	_, out, _ := answer(t, withPlans(t), "__complete", "abort", "")
	require.Contains(t, out, stoppedID)
	require.Contains(t, out, abortingID)
	require.NotContains(t, out, finishedID)
	_, out, _ = answer(t, withPlans(t), "__complete", "resume", "")
	require.Contains(t, out, pastID)
	require.NotContains(t, out, finishedID)
}
