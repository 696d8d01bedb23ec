package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/volsync"
)

const within = time.Minute

// volsyncAPI is a real API server with the fork's definitions and without VolSync.
type volsyncAPI struct {
	*testing.T
	client *kube.Client
	movers *Movers
}

func TestMoversOnTheRealAPIServer(t *testing.T) {
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	require.NoError(t, k.ApplyCRDs(t.Context()))
	client, err := kube.New(kube.Options{REST: k.RESTConfig()})
	require.NoError(t, err)
	v := &volsyncAPI{T: t, client: client, movers: New(t.Context(), client, kube.NewWatches(t.Context(), client, []string{"media"}))}
	for _, name := range []string{"media", "volsync-system"} {
		v.create(core("namespaces"), `{apiVersion: v1, kind: Namespace, metadata: {name: `+name+`}}`)
	}
	v.readsTemplates()
	v.makesDestinations()
	v.makesSources()
}

func (v *volsyncAPI) create(kind schema.GroupVersionResource, text string) {
	v.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(v, err)
	object := &unstructured.Unstructured{}
	require.NoError(v, object.UnmarshalJSON(encoded))
	require.Eventually(v, func() bool {
		_, err = v.client.Create(v.Context(), kind, object, kube.WriteOptions{})
		return err == nil
	}, within, 50*time.Millisecond, "%v", err)
}

func (v *volsyncAPI) status(kind schema.GroupVersionResource, name, status string) {
	v.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(status))
	require.NoError(v, err)
	_, err = v.client.PatchMerge(v.Context(), kind, "media", name, []byte(`{"status":`+string(encoded)+`}`), kube.WriteOptions{}, "status")
	require.NoError(v, err)
}

func (v *volsyncAPI) readsTemplates() {
	template, err := v.movers.Template(v.Context(), "media", "data")
	require.NoError(v, err)
	require.Equal(v, volsync.FromPolicy("media", "data"), template)
	v.create(sources(), `{apiVersion: volsync.backube/v1alpha1, kind: ReplicationSource, metadata: {namespace: media, name: data-backup}, spec: {sourcePVC: data,
		trigger: {schedule: "0 * * * *"}, kopia: {repository: volsync-data, parallelism: 3, copyMethod: Snapshot, moverSecurityContext: {runAsUser: 568}}}}`)
	require.Eventually(v, func() bool {
		template, err = v.movers.Template(v.Context(), "media", "data")
		return err == nil && template.SourceName == "data-backup"
	}, within, time.Millisecond)
	require.Equal(v, int64(3), template.Kopia["parallelism"])

	running, err := v.movers.Running(v.Context(), "media", "data")
	require.NoError(v, err)
	require.Empty(v, running)
	v.status(sources(), "data-backup", `{lastSyncStartTime: "2026-11-23T03:00:00Z"}`)
	require.Eventually(v, func() bool {
		running, err := v.movers.Running(v.Context(), "media", "data")
		return err == nil && len(running) == 1 && running[0] == "data-backup"
	}, within, time.Millisecond)
}

func (v *volsyncAPI) makesDestinations() {
	template := volsync.FromPolicy("media", "data")
	d := volsync.Destination{
		PlanID: "p1", Namespace: "media", Name: "p1", Template: template, Identity: template.Identity, RestoreAsOf: "2026-11-23T02:00:00.123456789Z",
		Previous: 1, StorageClass: "longhorn", AccessModes: []string{"ReadWriteOnce"}, CapacityBytes: 1 << 30,
	}
	require.ErrorIs(v, v.movers.CreateDestination(v.Context(), d), recovery.ErrNotFound, "neither Secret is there")
	v.create(core("secrets"), `{apiVersion: v1, kind: Secret, metadata: {namespace: volsync-system, name: kopia-credentials}, stringData: {KOPIA_PASSWORD: one}}`)
	require.NoError(v, v.movers.CreateDestination(v.Context(), d))
	require.NoError(v, v.movers.CreateDestination(v.Context(), d), "once more")
	secret, err := v.client.Secret(v.Context(), "media", "p1")
	require.NoError(v, err)
	require.Equal(v, "filesystem:///repository", string(secret["KOPIA_REPOSITORY"]))
	other := d
	other.PlanID = "p2"
	require.ErrorIs(v, v.movers.CreateDestination(v.Context(), other), recovery.ErrExists)

	v.status(destinations(), "p1", `{lastManualSync: p1, latestImage: {kind: VolumeSnapshot, name: image, apiGroup: snapshot.storage.k8s.io},
		latestMoverStatus: {result: Successful, logs: No eligible snapshots found}}`)
	now, err := v.movers.DestinationNow(v.Context(), "media", "p1")
	require.NoError(v, err)
	require.Equal(v, "image", now.Image)
	require.Equal(v, now.Trigger, now.Completed)
	require.Equal(v, "volsync-dst-p1", now.Job)
	require.True(v, v.movers.ReadRestore(now.Logs).Nothing)
	require.Eventually(v, func() bool {
		look, err := v.movers.Destination(v.Context(), "media", "p1")
		return err == nil && look != nil && look.Completed == "p1"
	}, within, time.Millisecond)
	text, err := v.movers.MoverLog(v.Context(), "media", now.Job)
	require.NoError(v, err)
	require.Empty(v, text, "no Pod was heard")

	left, err := v.movers.Left(v.Context(), "media", "p1")
	require.NoError(v, err)
	require.Equal(v, []string{"ReplicationDestination p1", "Secret p1"}, left)
	require.ErrorIs(v, v.movers.Remove(v.Context(), "media", "p1", "p2"), recovery.ErrConflict)
	require.NoError(v, v.movers.Remove(v.Context(), "media", "p1", "p1"))
	require.NoError(v, v.movers.Remove(v.Context(), "media", "p1", "p1"), "what is gone")
	left, err = v.movers.Left(v.Context(), "media", "p1")
	require.NoError(v, err)
	require.Empty(v, left)
	now, err = v.movers.DestinationNow(v.Context(), "media", "p1")
	require.NoError(v, err)
	require.Nil(v, now)

	d.Into, d.Exact, d.Identity.Path = "data", true, "/photos"
	require.NoError(v, v.movers.CreateDestination(v.Context(), d), "in place, of another path")
	require.NoError(v, v.movers.Remove(v.Context(), "media", "p1", "p1"))
}

func (v *volsyncAPI) makesSources() {
	v.create(core("secrets"), `{apiVersion: v1, kind: Secret, metadata: {namespace: media, name: volsync-data}, stringData: {KOPIA_PASSWORD: two, KOPIA_REPOSITORY: "s3://bucket", AWS_REGION: x}}`)
	template, err := v.movers.Template(v.Context(), "media", "data")
	require.NoError(v, err)
	require.NoError(v, v.movers.CreateSource(v.Context(), volsync.Source{PlanID: "p3", Namespace: "media", Name: "p3-backup", Claim: "data", Template: template}))
	secret, err := v.client.Secret(v.Context(), "media", "p3-backup")
	require.NoError(v, err)
	require.Equal(v, map[string][]byte{"KOPIA_PASSWORD": []byte("two"), "KOPIA_REPOSITORY": []byte("s3://bucket"), "AWS_REGION": []byte("x")}, secret)
	require.Eventually(v, func() bool {
		run, err := v.movers.Source(v.Context(), "media", "p3-backup")
		return err == nil && run != nil && run.PlanID == "p3" && run.Job == "volsync-src-p3-backup"
	}, within, time.Millisecond)
	require.NoError(v, v.movers.Remove(v.Context(), "media", "p3-backup", "p3"))
}

// podServer serves Pods whose log can be followed while they are there, as VolSync's are: the Pod is gone
// as soon as the run is complete.
type podServer struct {
	*httptest.Server
	events chan map[string]any
	// lines are what the Pod says, closed at its end.
	lines  chan string
	opened atomic.Int64
}

func newPodServer(t *testing.T) *podServer {
	s := &podServer{events: make(chan map[string]any, 10), lines: make(chan string, 10)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		flush := http.NewResponseController(w)
		switch {
		case strings.HasSuffix(r.URL.Path, "/log"):
			s.opened.Add(1)
			w.Header().Set("Content-Type", "text/plain")
			for line := range s.lines {
				_, _ = fmt.Fprint(w, line)
				_ = flush.Flush()
			}
		case r.URL.Query().Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity)
		case r.URL.Query().Get("watch") != "":
			_ = flush.Flush()
			for {
				select {
				case event := <-s.events:
					_ = json.NewEncoder(w).Encode(event)
					_ = flush.Flush()
				case <-r.Context().Done():
					return
				}
			}
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{
				"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{},
			})
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *podServer) tell(what, uid, job, phase string, created time.Time) {
	s.events <- map[string]any{"type": what, "object": map[string]any{
		"apiVersion": "v1", "kind": "Pod", "status": map[string]any{"phase": phase},
		"metadata": map[string]any{
			"namespace": "media", "name": "pod-" + uid, "uid": uid, "resourceVersion": "2", "creationTimestamp": created.UTC().Format(time.RFC3339),
			"labels": map[string]any{"batch.kubernetes.io/job-name": job},
		},
	}}
}

func TestALogIsHeardThoughThePodIsGone(t *testing.T) {
	server := newPodServer(t)
	client, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)
	movers := New(t.Context(), client, kube.NewWatches(t.Context(), client, []string{"media"}))
	const job = "volsync-dst-p1"
	text, err := movers.MoverLog(t.Context(), "media", job)
	require.NoError(t, err)
	require.Empty(t, text)

	created := time.Now()
	server.tell("ADDED", "u0", "another-job", "Running", created)
	server.tell("ADDED", "u1", job, "Pending", created)
	server.tell("MODIFIED", "u1", job, "Running", created)
	server.lines <- "Selected snapshot with id: abc\n" + strings.Repeat("x", 2<<20) + "\n"
	require.Eventually(t, func() bool { return server.opened.Load() == 1 }, within, time.Millisecond, "without anybody asking")
	server.lines <- "Restored 6 files, 2 directories and 1 symbolic links (1 B).\n"
	server.tell("DELETED", "u1", job, "Succeeded", created)
	close(server.lines)

	require.Eventually(t, func() bool {
		text, err = movers.MoverLog(t.Context(), "media", job)
		return err == nil && movers.ReadRestore(text).Counted
	}, within, time.Millisecond)
	require.Equal(t, "abc", movers.ReadRestore(text).SelectedID)
	require.Equal(t, int64(6), movers.ReadRestore(text).FileCount)
	require.Less(t, len(text), 100<<10)
	require.Equal(t, int64(1), server.opened.Load(), "and only that Pod, once")
}

func TestOfAManyLinedLogBothEndsAreKept(t *testing.T) {
	var h heard
	for i := range 10 * (firstLines + lastLines) {
		h.add(fmt.Sprint(i))
	}
	lines := strings.Split(h.text(), "\n")
	require.Len(t, lines, firstLines+lastLines)
	require.Equal(t, "0", lines[0])
	require.Equal(t, fmt.Sprint(10*(firstLines+lastLines)-1), lines[len(lines)-1])
}
