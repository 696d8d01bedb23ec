package cloudnativepg

import (
	"encoding/json"
	"strings"
)

// RecoveryFailure is a known reason why a recovery does not get on.
type RecoveryFailure struct {
	// Text is the line that says it, without what surrounds it in a log.
	Text string
	// Cause and Fix are what it means and what to do.
	Cause, Fix string
}

// known is one failure and the words that it is recognised by.
type known struct{ words, cause, fix string }

// knownFailures are in the order of looking, the most specific first: a job that fails writes several of
// these, and the general ones follow from the others. Where the words come from other programs their
// origin stands beside them.
func knownFailures() []known {
	return []known{
		// barman-cloud-check-wal-archive; CNPG#6470, #7344, #10761; plugin-barman-cloud#350, #594, #767.
		{"Expected empty archive", "the server that the new Cluster writes to holds WAL already", "recover again with the next clean server: --archive-server-name"},
		// CNPG pkg/management/postgres/restore.go; plugin-barman-cloud internal/cnpgi/restore.
		{"no target backup found", "the server that is read has no such backup, or the target lies before the first one", "pick one of `drctl cnpg backups`: --source-server-name, --backup-id"},
		{"no backup found with ID", "the server that is read has no such backup", "pick one of `drctl cnpg backups`: --source-server-name, --backup-id"},
		{"no backup found on the remote object storage", "the server that is read has no backup at all", "check the server's name: `drctl cnpg backups`"},
		// PostgreSQL xlogrecovery.c; CNPG#5177, #11320; barman#881.
		{"recovery ended before configured recovery target was reached", "the target lies after the last commit in the archive", "recover to an earlier --target-time, or to the latest without one"},
		// CNPG internal/webhook/v1.
		{"Only one bootstrap method can be specified at a time", "an apply brought initdb beside recovery", "create the Cluster instead of applying it; after the proof, `drctl cnpg revert`"},
		{"External cluster", "externalClusters lacks an entry that something refers to", "set it to Git's own list"},
		// PostgreSQL xlogrecovery.c, xlog.c.
		{"is not a child of this server's history", "the backup's timeline is not part of the newest one in the archive", "recover from the server that holds both, or from a newer backup"},
		{"WAL ends before end of online backup", "WAL is missing that the backup itself needs", "choose another backup: `drctl cnpg backups` shows which are restorable"},
		{"WAL ends before consistent recovery point", "WAL is missing that the backup itself needs", "choose another backup: `drctl cnpg backups` shows which are restorable"},
		{"could not locate required checkpoint record", "the WAL segment that the backup begins with can't be fetched", "choose another backup: `drctl cnpg backups` shows which are restorable"},
		{"database files are incompatible with server", "the image has another major version of PostgreSQL than the backup", "use an image of the backup's major version"},
		{"recovery aborted because of insufficient parameter settings", "a setting is lower than on the server that was backed up", "raise the setting that the log names in spec.postgresql.parameters"},
		{"No space left on device", "the volume is smaller than the database was", "raise spec.storage.size or spec.walStorage.size"},
		// botocore, and what S3 servers answer.
		{"InvalidAccessKeyId", "S3 does not know the access key", "correct the Secret with the S3 credentials"},
		{"SignatureDoesNotMatch", "the secret key does not belong to the access key", "correct the Secret with the S3 credentials"},
		{"AccessDenied", "S3 refuses the credentials", "have them allowed to list, read and write the bucket"},
		{"NoSuchBucket", "the bucket is not there", "check destinationPath"},
		{"Could not connect to the endpoint URL", "S3 does not answer from within the cluster", "check endpointURL and the network"},
		{"certificate verify failed", "the CA of the S3 endpoint is not the one in endpointCA", "correct the Secret that endpointCA names"},
		// Kubernetes.
		{"AlreadyExists", "somebody else created the Cluster first, mostly Argo CD", "recover again with the fence (without --no-fence)"},
		{"already exists", "somebody else created the Cluster first, mostly Argo CD", "recover again with the fence (without --no-fence)"},
		{"ImagePullBackOff", "the image can't be fetched", "check spec.imageName and the registry"},
		{"ErrImagePull", "the image can't be fetched", "check spec.imageName and the registry"},
		{"FailedScheduling", "no node takes the Pod", "see the event: resources, affinity, or a volume on another node"},
		{"ProvisioningFailed", "the volume can't be made", "see the event, and the storage class' provisioner"},
		// argo-cd controller/appcontroller.go: the first in its log, the second as the Application's condition.
		{"will not retry", "Argo CD gave up after its retries", "sync the commit explicitly; `drctl resume` does"},
		{"Failed last sync attempt", "Argo CD gave up after its retries", "sync the commit explicitly; `drctl resume` does"},
		{"PVC Plumber is not available", "the admission gate for volumes is closed, because the plumber does not answer", "bring pvc-plumber back first"},
		{"No data will be restored", "VolSync found no snapshot under the identity that it looked for", "compare the identities: `drctl pvc snapshots`"},
	}
}

// ExplainRecovery finds the most specific known failure in a job's log (lines of JSON, as CloudNativePG
// writes them, or plain ones), in events, phases or conditions. Of several lines with the same failure
// the last one is quoted.
func ExplainRecovery(log string) (RecoveryFailure, bool) {
	lines := strings.Split(log, "\n")
	for _, failure := range knownFailures() {
		for i := len(lines) - 1; i >= 0; i-- {
			if !failure.in(lines[i]) {
				continue
			}
			text := lines[i]
			for _, message := range messages(lines[i]) {
				if failure.in(message) {
					text = message
				}
			}
			return RecoveryFailure{Text: strings.TrimSpace(text), Cause: failure.cause, Fix: failure.fix}, true
		}
	}
	return RecoveryFailure{}, false
}

// in reports whether the words stand in the text. Those of a missing external cluster have its name in
// the middle.
func (k known) in(text string) bool {
	before, after, found := strings.Cut(text, k.words)
	if k.words == "External cluster" {
		return found && strings.Contains(after, "not found")
	}
	// Objects around the Cluster may exist already, and that is no failure.
	if k.words == "already exists" {
		return found && strings.Contains(before, "clusters.postgresql.cnpg.io")
	}
	return found
}

// messages are the texts of one line of CloudNativePG's log, the most telling last: its message, its
// error, and what PostgreSQL or Barman wrote. A line that is no JSON has none.
func messages(line string) []string {
	if !strings.HasPrefix(strings.TrimSpace(line), "{") {
		return nil
	}
	var entry struct {
		Message string `json:"msg"`
		Error   string `json:"error"`
		Record  struct {
			Message string `json:"message"`
			Detail  string `json:"detail"`
		} `json:"record"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil {
		return nil
	}
	var texts []string
	for _, text := range []string{entry.Message, entry.Error, entry.Record.Detail, entry.Record.Message} {
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// RecoveryProgress is the newest text of a recovery's log that says how far it is, empty without one: a
// backup or a WAL segment restored, the target reached, the new timeline chosen.
// Source: PostgreSQL xlogrecovery.c, xlog.c; CNPG pkg/management/postgres/restore.go.
func RecoveryProgress(log string) string {
	lines := strings.Split(log, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		texts := messages(lines[i])
		if texts == nil {
			texts = []string{plainMessage(lines[i])}
		}
		for j := len(texts) - 1; j >= 0; j-- {
			if tellsProgress(texts[j]) {
				return texts[j]
			}
		}
	}
	return ""
}

// plainMessage cuts the time and the process off a line of PostgreSQL's own log.
func plainMessage(line string) string {
	if _, message, found := strings.Cut(line, "LOG:  "); found {
		return strings.TrimSpace(message)
	}
	return strings.TrimSpace(line)
}

func tellsProgress(text string) bool {
	for _, beginning := range []string{
		"starting backup recovery", "starting point-in-time recovery", "starting archive recovery", "restored log file",
		"redo starts at", "redo in progress", "redo done at", "completed backup recovery", "consistent recovery state reached",
		"recovery stopping", "last completed transaction", "selected new timeline", "archive recovery complete",
		"database system is ready to accept connections",
		"Recovering existing backup", "Target backup found", "Starting barman-cloud-restore", "Restore completed", "Restored WAL file",
	} {
		if strings.HasPrefix(text, beginning) {
			return true
		}
	}
	return false
}
