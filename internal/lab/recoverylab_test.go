package lab_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
)

// The facts that a recovery by drctl relies on, on the real operator and real PostgreSQL. The subtests that
// run in parallel have a Cluster of their own each; the last one replaces the database itself.
func TestRecoveryOnTheRealOperator(t *testing.T) {
	begin := time.Now()
	l := lab.StartRecovery(t, lab.RecoveryOptions{})
	t.Logf("the lab was up after %s", time.Since(begin).Round(time.Second))
	client, err := kubernetes.NewForConfig(l.Kubernetes.RESTConfig())
	require.NoError(t, err)
	r := recoveries{RecoveryLab: l, client: client}
	written, firstSegment := r.prepare(t)
	t.Run("exec through the API server", r.execAnswers)
	t.Run("logs through the API server", r.logsAreServed)
	t.Run("Pods without an image", r.otherPodsPretend)
	t.Run("beside the database", func(t *testing.T) {
		for name, fact := range map[string]func(*testing.T){
			"the write server must be empty":           r.writeServerMustBeEmpty,
			"a target after the last commit fails":     r.targetAfterTheLastCommit,
			"bootstrap is read again until it is done": r.bootstrapIsReadAgain,
			"left claims are adopted":                  r.leftClaimsAreAdopted,
			"a point in time":                          func(t *testing.T) { r.pointInTime(t, written) },
			"an outage looks like the archive's end":   func(t *testing.T) { r.outageLosesRows(t, firstSegment) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fact(t)
			})
		}
	})
	t.Run("delete, create, and all is back", r.endToEnd)
}

type recoveries struct {
	*lab.RecoveryLab
	client *kubernetes.Clientset
}

// prepare adds rows after the backup, so that WAL must be replayed. What it gives is of before the last
// rows, and the first segment with rows that are not in the backup.
func (r recoveries) prepare(t *testing.T) (lab.Written, string) {
	t.Helper()
	first, err := r.SQL(t.Context(), "select pg_walfile_name(pg_current_wal_insert_lsn())")
	require.NoError(t, err)
	written, err := r.WriteRows(t.Context(), 50)
	require.NoError(t, err)
	require.Equal(t, 150, written.Count)
	_, err = r.SQL(t.Context(), "select pg_sleep(0.2)")
	require.NoError(t, err)
	_, err = r.WriteRows(t.Context(), 7)
	require.NoError(t, err)
	segment, err := r.SwitchWAL(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, segment, first)
	return written, first
}

const recoveryManifest = `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: %[1]s, namespace: cloudnative-pg}
spec:
  instances: 1
  imageName: ghcr.io/tensorchord/cloudnative-vectorchord:15.14-0.4.3
  enableSuperuserAccess: true
  storage: {size: 20Gi, storageClass: longhorn}
  walStorage: {size: 2Gi, storageClass: longhorn}
  bootstrap:
    recovery:
      source: origin
      database: immich
      owner: immich
      secret: {name: immich-app-secret}
      recoveryTarget: {backupID: %[2]q%[3]s}
  externalClusters:
    - name: origin
      barmanObjectStore: {serverName: immich-database-v1, %[4]s}
`

const store = `destinationPath: "s3://postgres-backups/cnpg/immich", endpointURL: "%s",
        s3Credentials: {accessKeyId: {name: cnpg-s3-credentials, key: AWS_ACCESS_KEY_ID}, secretAccessKey: {name: cnpg-s3-credentials, key: AWS_SECRET_ACCESS_KEY}},
        wal: {compression: gzip}`

// recover creates a Cluster that recovers from the first server. Without a write server it archives
// nothing.
func (r recoveries) recover(t *testing.T, name, target, writeServer string) {
	t.Helper()
	text := r.manifest(name, target, r.Platform.EndpointURL)
	if writeServer != "" {
		place := fmt.Sprintf(store, r.Platform.EndpointURL)
		text += "  backup:\n    barmanObjectStore: {serverName: " + writeServer + ", data: {compression: gzip}, " + place + "}\n"
	}
	r.create(t, text)
}

// manifest reads its backups from an S3 server.
func (r recoveries) manifest(name, target, endpointURL string) string {
	return fmt.Sprintf(recoveryManifest, name, r.BackupID, target, fmt.Sprintf(store, endpointURL))
}

func (r recoveries) create(t *testing.T, text string) {
	t.Helper()
	clusters, err := r.Clusters()
	require.NoError(t, err)
	_, err = clusters.Create(t.Context(), decodeOne(t, text), metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	require.NoError(t, err)
}

func (r recoveries) delete(t *testing.T, name string, propagation metav1.DeletionPropagation) {
	t.Helper()
	clusters, err := r.Clusters()
	require.NoError(t, err)
	require.NoError(t, clusters.Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &propagation}))
}

// eventually tries until it is true; machines are slow when other tests run.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 4*time.Minute, 300*time.Millisecond, what)
}

func (r recoveries) jobs(t *testing.T, cluster string) map[string]batchv1.Job {
	t.Helper()
	list, err := r.client.BatchV1().Jobs(lab.RecoveryNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "cnpg.io/cluster=" + cluster})
	require.NoError(t, err)
	byRole := map[string]batchv1.Job{}
	for _, job := range list.Items {
		byRole[job.Labels["cnpg.io/jobRole"]] = job
	}
	return byRole
}

// failedLogs are the logs of a Cluster's failed Pods, read through the API server.
func (r recoveries) failedLogs(t *testing.T, cluster string) []string {
	t.Helper()
	list, err := r.client.CoreV1().Pods(lab.RecoveryNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "cnpg.io/cluster=" + cluster})
	require.NoError(t, err)
	var logs []string
	for _, pod := range list.Items {
		if pod.Status.Phase != corev1.PodFailed {
			continue
		}
		text, err := r.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		require.NoError(t, err)
		logs = append(logs, string(text))
	}
	return logs
}

func (r recoveries) writeServerMustBeEmpty(t *testing.T) {
	before, err := r.Inventory(t.Context())
	require.NoError(t, err)
	r.recover(t, "not-empty", "", lab.RecoveryServer)
	defer r.delete(t, "not-empty", metav1.DeletePropagationBackground)
	eventually(t, "the recovery Job fails", func() bool {
		return strings.Contains(strings.Join(r.failedLogs(t, "not-empty"), ""), "Expected empty archive")
	})
	after, err := r.Inventory(t.Context())
	require.NoError(t, err)
	for key := range before {
		require.Contains(t, after, key)
	}
}

func (r recoveries) targetAfterTheLastCommit(t *testing.T) {
	target := `, targetTime: "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`
	r.recover(t, "too-late", target, "")
	defer r.delete(t, "too-late", metav1.DeletePropagationBackground)
	const reason = "recovery ended before configured recovery target was reached"
	eventually(t, "a second attempt fails like the first", func() bool {
		logs := r.failedLogs(t, "too-late")
		return len(logs) >= 2 && strings.Contains(logs[0], reason) && strings.Contains(logs[1], reason)
	})
}

// claimUIDs are the UIDs of a Cluster's claims by name.
func (r recoveries) claimUIDs(t *testing.T, cluster string) map[string]types.UID {
	t.Helper()
	list, err := r.client.CoreV1().PersistentVolumeClaims(lab.RecoveryNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "cnpg.io/cluster=" + cluster})
	require.NoError(t, err)
	uids := map[string]types.UID{}
	for _, claim := range list.Items {
		uids[claim.Name] = claim.UID
	}
	return uids
}

func (r recoveries) bootstrapIsReadAgain(t *testing.T) {
	// Its Job never succeeds, so that there is time.
	r.recover(t, "too-early", `, targetTime: "`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"`, "")
	defer r.delete(t, "too-early", metav1.DeletePropagationBackground)
	eventually(t, "the recovery Job runs", func() bool { return r.jobs(t, "too-early")["full-recovery"].Status.Active > 0 })
	claims := r.claimUIDs(t, "too-early")
	require.Len(t, claims, 2)
	clusters, err := r.Clusters()
	require.NoError(t, err)
	handBack := `[{"op": "replace", "path": "/spec/bootstrap", "value": {"initdb": {"database": "immich", "owner": "immich", "secret": {"name": "immich-app-secret"}}}}]`
	_, err = clusters.Patch(t.Context(), "too-early", types.JSONPatchType, []byte(handBack), metav1.PatchOptions{})
	require.NoError(t, err)
	background := metav1.DeletePropagationBackground
	require.NoError(t, r.client.BatchV1().Jobs(lab.RecoveryNamespace).Delete(t.Context(), r.jobs(t, "too-early")["full-recovery"].Name,
		metav1.DeleteOptions{PropagationPolicy: &background}))
	eventually(t, "an initdb Job is made", func() bool { return r.jobs(t, "too-early")["initdb"].Name != "" })
	require.Equal(t, claims, r.claimUIDs(t, "too-early"), "on the claims of the recovery")
}

const keptManifest = `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: kept, namespace: cloudnative-pg}
spec:
  instances: 1
  imageName: ghcr.io/tensorchord/cloudnative-vectorchord:15.14-0.4.3
  storage: {size: 20Gi, storageClass: longhorn}
  walStorage: {size: 2Gi, storageClass: longhorn}
  bootstrap: {initdb: {database: immich, owner: immich, secret: {name: immich-app-secret}}}
`

func (r recoveries) leftClaimsAreAdopted(t *testing.T) {
	r.create(t, keptManifest)
	require.NoError(t, r.WaitHealthy(t.Context(), "kept"))
	_, err := r.SQLIn(t.Context(), "kept", "immich", "create table mine as select 42 as answer")
	require.NoError(t, err)
	claims := r.claimUIDs(t, "kept")
	r.delete(t, "kept", metav1.DeletePropagationOrphan)
	require.NoError(t, r.client.CoreV1().Pods(lab.RecoveryNamespace).Delete(t.Context(), "kept-1", metav1.DeleteOptions{}))
	eventually(t, "the Pod is gone", func() bool {
		_, err := r.client.CoreV1().Pods(lab.RecoveryNamespace).Get(t.Context(), "kept-1", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	r.recover(t, "kept", "", "")
	defer r.delete(t, "kept", metav1.DeletePropagationBackground)
	require.NoError(t, r.WaitHealthy(t.Context(), "kept"))
	require.Empty(t, r.jobs(t, "kept"), "nothing is recovered")
	require.Equal(t, claims, r.claimUIDs(t, "kept"))
	answer, err := r.SQLIn(t.Context(), "kept", "immich", "select answer, (select timeline_id from pg_control_checkpoint()), to_regclass('item') is null from mine")
	require.NoError(t, err)
	require.Equal(t, "42|1|t", answer, "the old volume, of the old timeline, without the backup's table")
	cluster, err := r.Cluster(t.Context(), "kept")
	require.NoError(t, err)
	require.NotNil(t, cluster.Spec.Bootstrap.Recovery)
}

func (r recoveries) pointInTime(t *testing.T, written lab.Written) {
	at := written.Committed.Add(50 * time.Millisecond).Format("2006-01-02T15:04:05.000000Z07:00")
	r.recover(t, "earlier", `, targetTime: "`+at+`"`, "")
	defer r.delete(t, "earlier", metav1.DeletePropagationBackground)
	require.NoError(t, r.WaitHealthy(t.Context(), "earlier"))
	count, err := r.SQLIn(t.Context(), "earlier", "immich", "select count(*) from item")
	require.NoError(t, err)
	require.Equal(t, "150", count, "the 7 rows after %s are not there", at)
}

// outageLosesRows: S3 answers 503 from some segment on. PostgreSQL takes that for the end of the archive,
// is promoted there, and the operator calls the Cluster healthy.
func (r recoveries) outageLosesRows(t *testing.T, firstSegment string) {
	proxy, err := r.Stack.S3Proxy(r.MinIO, lab.S3Fault{Status: http.StatusServiceUnavailable, Match: func(request *http.Request) bool {
		_, segment, isWAL := strings.Cut(request.URL.Path, "/wals/0000000100000000/")
		return isWAL && segment >= firstSegment
	}})
	require.NoError(t, err)
	require.NoError(t, r.Node.Reach(proxy.EndpointURL))
	r.create(t, r.manifest("outage", "", proxy.EndpointURL))
	defer r.delete(t, "outage", metav1.DeletePropagationBackground)
	require.NoError(t, r.WaitHealthy(t.Context(), "outage"))
	found, err := r.SQLIn(t.Context(), "outage", "immich", "select count(*), (select timeline_id from pg_control_checkpoint()) from item")
	require.NoError(t, err)
	require.Equal(t, "100|2", found, "57 rows are lost, and nothing says so")
}
