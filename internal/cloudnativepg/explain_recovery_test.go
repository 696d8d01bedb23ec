package cloudnativepg

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplainRecovery(t *testing.T) {
	for _, test := range []struct{ name, log, text, cause string }{
		{
			"the archive is used", `{"level":"error","msg":"Error while restoring a backup","error":"unexpected failure invoking barman-cloud-check-wal-archive: exit status 1"}
{"level":"info","logger":"barman-cloud-check-wal-archive","msg":"ERROR: WAL archive check failed for server immich-database-v1: Expected empty archive","pipe":"stderr"}
`, "ERROR: WAL archive check failed for server immich-database-v1: Expected empty archive", "holds WAL already",
		},
		{
			"the target is after the last commit", `{"level":"info","logger":"postgres","msg":"record","record":{"error_severity":"FATAL","message":"recovery ended before configured recovery target was reached"}}
{"level":"error","msg":"Error while restoring a backup","error":"while activating instance: error starting PostgreSQL instance: exit status 1"}`,
			"recovery ended before configured recovery target was reached", "after the last commit",
		},
		{"no such backup", `{"level":"error","msg":"restore error","error":"no target backup found"}`, "no target backup found", "no such backup"},
		{"by ID", `{"msg":"restore error","error":"no backup found with ID 20261123T020000"}`, "no backup found with ID 20261123T020000", "no such backup"},
		{
			"two bootstraps", `Cluster.postgresql.cnpg.io "immich-database" is invalid: spec.bootstrap: Forbidden: Only one bootstrap method can be specified at a time`,
			`Cluster.postgresql.cnpg.io "immich-database" is invalid: spec.bootstrap: Forbidden: Only one bootstrap method can be specified at a time`, "initdb beside recovery",
		},
		{"a missing external cluster", `spec.bootstrap.recovery.source: Invalid value: "a": External cluster a not found`, `spec.bootstrap.recovery.source: Invalid value: "a": External cluster a not found`, "lacks an entry"},
		{"the race that is lost", `clusters.postgresql.cnpg.io "immich-database" already exists`, `clusters.postgresql.cnpg.io "immich-database" already exists`, "mostly Argo CD"},
		{"Argo CD gave up, in its log", "Skipping auto-sync: failed previous sync attempt to [abc] and will not retry for [abc]", "Skipping auto-sync: failed previous sync attempt to [abc] and will not retry for [abc]", "gave up"},
		{"Argo CD gave up, as a condition", "SyncError: Failed last sync attempt to [abc]: one or more objects failed to apply", "SyncError: Failed last sync attempt to [abc]: one or more objects failed to apply", "gave up"},
		{"the gate is closed", `admission webhook "validate.kyverno.svc-fail" denied the request: PVC Plumber is not available`, `admission webhook "validate.kyverno.svc-fail" denied the request: PVC Plumber is not available`, "admission gate"},
		{"credentials", "botocore.exceptions.ClientError: An error occurred (InvalidAccessKeyId) when calling the HeadBucket operation", "botocore.exceptions.ClientError: An error occurred (InvalidAccessKeyId) when calling the HeadBucket operation", "access key"},
		{"the specific one wins over what follows from it", "AccessDenied for a tag\nno target backup found\nErrImagePull", "no target backup found", "no such backup"},
		{"the last of several", "wal 1: No space left on device\nwal 2: No space left on device\n", "wal 2: No space left on device", "smaller"},
		{"broken JSON is quoted as it is", `{"msg":"no target backup found`, `{"msg":"no target backup found`, "no such backup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			failure, known := ExplainRecovery(test.log)
			require.True(t, known)
			require.Equal(t, test.text, failure.Text)
			require.Contains(t, failure.Cause, test.cause)
			require.NotEmpty(t, failure.Fix)
		})
	}
	for _, harmless := range []string{"", "External cluster a is reachable", `secrets "immich-database-ca" already exists`, `{"msg":"Recovering from external cluster"}`} {
		_, known := ExplainRecovery(harmless)
		require.False(t, known, harmless)
	}
}

func TestEveryKnownFailureIsFoundByItsOwnWords(t *testing.T) {
	for _, failure := range knownFailures() {
		line := failure.words
		switch line {
		case "External cluster":
			line += " a not found"
		case "already exists":
			line = `clusters.postgresql.cnpg.io "a" ` + line
		}
		found, known := ExplainRecovery("before\n" + line + "\nafter")
		require.True(t, known, line)
		require.Equal(t, failure.cause, found.Cause, "an earlier one hides %q", line)
	}
}

// recoveryLog is what a recovery to a point in time writes, JSON as from the job and plain as from
// PostgreSQL itself.
const recoveryLog = `{"level":"info","msg":"Recovering from external cluster","sourceName":"origin"}
{"level":"info","msg":"Target backup found","backup":{"id":"20261123T020000"}}
{"level":"info","msg":"Starting barman-cloud-restore"}
{"level":"info","msg":"Restore completed"}
{"level":"info","logger":"postgres","msg":"record","record":{"error_severity":"LOG","message":"starting point-in-time recovery to 2026-11-23 17:30:00+00"}}
{"level":"info","logger":"postgres","msg":"record","record":{"error_severity":"LOG","message":"restored log file \"000000010000000000000004\" from archive"}}
2026-11-23 17:31:00.000 UTC [12] LOG:  redo starts at 0/4000028
2026-11-23 17:31:01.000 UTC [12] LOG:  recovery stopping before commit of transaction 741, time 2026-11-23 17:30:05.1+00
{"level":"info","msg":"Checking if the server is still in recovery","recovery":true}
2026-11-23 17:31:02.000 UTC [12] LOG:  selected new timeline ID: 2
something else
`

func TestRecoveryProgress(t *testing.T) {
	want := []string{
		"", "Target backup found", "Starting barman-cloud-restore", "Restore completed",
		"starting point-in-time recovery to 2026-11-23 17:30:00+00", `restored log file "000000010000000000000004" from archive`,
		"redo starts at 0/4000028", "recovery stopping before commit of transaction 741, time 2026-11-23 17:30:05.1+00",
		"recovery stopping before commit of transaction 741, time 2026-11-23 17:30:05.1+00", "selected new timeline ID: 2", "selected new timeline ID: 2",
	}
	lines := strings.SplitAfter(recoveryLog, "\n")
	for i := range want {
		require.Equal(t, want[i], RecoveryProgress(strings.Join(lines[:i+1], "")), "after line %d", i+1)
	}
}

func FuzzExplainRecovery(f *testing.F) {
	f.Add(recoveryLog)
	f.Add(`{"msg":"x","record":{"message":"Expected empty archive"}}`)
	f.Fuzz(func(t *testing.T, log string) {
		if failure, known := ExplainRecovery(log); known {
			require.NotEmpty(t, failure.Text)
			require.NotEmpty(t, failure.Cause)
		}
		_ = RecoveryProgress(log)
	})
}
