package recover

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab/flipworld"
)

// planList and verifyReport are what scripts read of the answers.
type planList struct {
	Items []struct {
		ID, Operation, Target, RecoveryPoint, State string
		Steps                                       []struct{ ID, State string }
		CreationTime, EndTime                       time.Time
	}
}

type verifyReport struct {
	Kind, Plan, Result string
	Checks             []struct{ Name, Result, Observed, Expected string }
}

// results are the results of a report's checks by name.
func (r verifyReport) results() map[string]string {
	results := map[string]string{}
	for _, check := range r.Checks {
		results[check.Name] = check.Result
	}
	return results
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	require.NoError(t, json.Unmarshal([]byte(text), &value), text)
	return value
}

// allProven are the results of a recovery about which nothing is left to prove.
func allProven() map[string]string {
	results := map[string]string{}
	for _, name := range []string{"origin", "volumes", "systemIdentifier", "timeline", "forkLSN", "rows", "archiving", "backup"} {
		results[name] = "proven"
	}
	return results
}

// TestRecover: the tests of this package recover one database again and again, each to the server behind
// the one before.
func TestRecover(t *testing.T) {
	_, o, before := begin(t)
	started := time.Now()
	got := run(t, o, flipworld.Recover()...)
	require.Zero(t, got.ExitCode)
	t.Logf("recovered within %s", time.Since(started).Round(time.Second))
	after := requireRecovered(t, o, before)
	require.Contains(t, got.Stdout, "is recovered")
	require.Contains(t, got.Stdout, "backups go to  "+after.Server)
	requireAtItsEnd(t, o)
	requireProvenByPlan(t, o)
	backups := run(t, o, "cnpg", "backups", "immich")
	require.Zero(t, backups.ExitCode)
	require.Contains(t, backups.Stdout, "Server "+after.Server+" (in use)")
	require.Regexp(t, before.Server+`\n(.*\n)*?\d{8}T\d{6} .*yes, kept`, backups.Stdout, "the way back does not expire")
}

// requireAtItsEnd: the plan is finished for scripts and people, and neither resume nor abort finds anything
// to do.
func requireAtItsEnd(t *testing.T, o *flipworld.Operator) {
	t.Helper()
	id := onlyPlan(t, o)
	got := run(t, o, "plans", "--all", "-o", "json")
	require.Zero(t, got.ExitCode)
	list := decode[planList](t, got.Stdout)
	require.Len(t, list.Items, 1)
	plan := list.Items[0]
	require.Equal(t, []string{id, "cnpg-recover", "cloudnative-pg/immich-database", "finished"}, []string{plan.ID, plan.Operation, plan.Target, plan.State})
	require.NotEmpty(t, plan.Steps)
	for _, step := range plan.Steps {
		require.Equal(t, "done", step.State, step.ID)
	}
	got = run(t, o, "plans")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stdout, "No unfinished plans.")
	for _, verb := range []string{"resume", "abort"} {
		got = run(t, o, verb, id)
		require.Zero(t, got.ExitCode)
		require.Contains(t, got.Stderr, "is at its end")
	}
}

// requireProvenByPlan: verify holds the database to the plan that recovered it.
func requireProvenByPlan(t *testing.T, o *flipworld.Operator) {
	t.Helper()
	got := run(t, o, "cnpg", "verify", "immich", "-o", "json")
	require.Zero(t, got.ExitCode)
	report := decode[verifyReport](t, got.Stdout)
	require.Equal(t, []string{"VerifyReport", "proven", onlyPlan(t, o)}, []string{report.Kind, report.Result, report.Plan})
	require.Equal(t, allProven(), report.results())
}
