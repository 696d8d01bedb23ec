package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/drctl/drctl/internal/lab"
)

// killFixture is a proxy in front of all three servers, with a client of the API on either side.
type killFixture struct {
	proxy   *lab.KillProxy
	remote  *lab.GitRemote
	minio   *lab.MinIO
	through kubernetes.Interface
	direct  kubernetes.Interface
}

func startKillProxy(t *testing.T) *killFixture {
	t.Helper()
	s := lab.ForTest(t)
	k, err := s.ControlPlane(t.Context(), lab.ControlPlaneOptions{})
	require.NoError(t, err)
	f := &killFixture{remote: treeRemote(t, s)}
	f.minio, err = s.MinIO(t.Context())
	require.NoError(t, err)
	require.NoError(t, f.minio.MakeBucket(t.Context(), "bucket"))
	f.proxy, err = s.KillProxy(lab.Upstreams{API: k.RESTConfig(), S3URL: f.minio.EndpointURL, GitURL: f.remote.URL})
	require.NoError(t, err)
	path, err := f.proxy.Kubeconfig(k.RESTConfig())
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	f.through, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
	f.direct, err = kubernetes.NewForConfig(k.RESTConfig())
	require.NoError(t, err)
	return f
}

func (f *killFixture) create(t *testing.T, name string) error {
	t.Helper()
	_, err := f.through.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}

func (f *killFixture) exists(t *testing.T, name string) bool {
	t.Helper()
	_, err := f.direct.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})
	require.True(t, err == nil || apierrors.IsNotFound(err), "%v", err)
	return err == nil
}

func (f *killFixture) put(t *testing.T, key string) error {
	t.Helper()
	client := impatientS3(f.minio, f.proxy.S3URL, http.DefaultClient)
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader(key)})
	return err
}

func (f *killFixture) stored(t *testing.T, key string) bool {
	t.Helper()
	client := impatientS3(f.minio, f.minio.EndpointURL, http.DefaultClient)
	_, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: &key})
	return err == nil
}

func TestKillProxy(t *testing.T) {
	f := startKillProxy(t)
	t.Run("requests are counted", func(t *testing.T) { proxyCounts(t, f) })
	t.Run("a watch goes on", func(t *testing.T) { watchPasses(t, f) })
	t.Run("killed before", func(t *testing.T) { killedBefore(t, f) })
	t.Run("killed after", func(t *testing.T) { killedAfter(t, f) })
	t.Run("a program is killed", func(t *testing.T) { programIsKilled(t, f) })
	t.Run("a program finishes", func(t *testing.T) { programFinishes(t, f) })
	t.Run("faults of the API", func(t *testing.T) { apiFaults(t, f) })
	t.Run("faults of S3", func(t *testing.T) { s3Faults(t, f) })
	t.Run("faults of Git", func(t *testing.T) { gitFaults(t, f) })
}

// proxyCounts is one run over all three servers, and what the log makes of it.
func proxyCounts(t *testing.T, f *killFixture) {
	f.proxy.Reset()
	dry := []string{metav1.DryRunAll}
	maps, leases := f.through.CoreV1().ConfigMaps("default"), f.through.CoordinationV1().Leases("default")
	one := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cnpg-recover-20261124-061502-k3x9"}}
	_, err := maps.Create(t.Context(), one, metav1.CreateOptions{DryRun: dry})
	require.NoError(t, err)
	_, err = maps.Create(t.Context(), one, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, maps.Delete(t.Context(), one.Name, metav1.DeleteOptions{DryRun: dry}))
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"},
	}}
	_, err = f.through.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	require.NoError(t, err)
	lease, err := leases.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "lock"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, leases.Delete(t.Context(), "lock", metav1.DeleteOptions{}))
	require.NoError(t, maps.Delete(t.Context(), one.Name, metav1.DeleteOptions{}))
	require.NoError(t, f.put(t, "base/20261124T061502/backup.info"))

	lines := []string{}
	for _, request := range f.proxy.Log() {
		lines = append(lines, request.String())
	}
	require.Equal(t, []string{
		"1 api POST /api/v1/namespaces/default/configmaps?dryRun=All",
		"2 (mutating 1) api POST /api/v1/namespaces/default/configmaps",
		"3 api DELETE /api/v1/namespaces/default/configmaps/PLAN",
		"4 api POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
		"5 (mutating 2) api POST /apis/coordination.k8s.io/v1/namespaces/default/leases",
		"6 api PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/lock",
		"7 (mutating 3) api DELETE /apis/coordination.k8s.io/v1/namespaces/default/leases/lock",
		"8 (mutating 4) api DELETE /api/v1/namespaces/default/configmaps/PLAN",
		"9 (mutating 5) s3 PUT /bucket/base/TIME/backup.info",
	}, lines)
	require.Len(t, f.proxy.Mutations(), 5)
	require.True(t, f.stored(t, "base/20261124T061502/backup.info"), "a signed request passes")
	require.False(t, f.exists(t, one.Name))
}

func watchPasses(t *testing.T, f *killFixture) {
	f.proxy.Reset()
	watched, err := f.through.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=watched"})
	require.NoError(t, err)
	defer watched.Stop()
	_, err = f.direct.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	select {
	case event := <-watched.ResultChan():
		require.Equal(t, "watched", event.Object.(*corev1.ConfigMap).Name)
	case <-time.After(30 * time.Second):
		t.Fatal("the event never came")
	}
}

func killedBefore(t *testing.T, f *killFixture) {
	f.proxy.Reset()
	killed := 0
	f.proxy.Arm(lab.Kill{N: 2, When: lab.Before}, func() { killed++ })
	require.NoError(t, f.create(t, "before-1"))
	require.Error(t, f.create(t, "before-2"))
	require.Equal(t, 1, killed)
	require.False(t, f.exists(t, "before-2"))
	require.Error(t, f.create(t, "before-3"), "the dead send nothing")
	require.Error(t, f.put(t, "before-4"))
	require.False(t, f.exists(t, "before-3"))
	require.False(t, f.stored(t, "before-4"))
	hit, ok := f.proxy.Hit()
	require.True(t, ok)
	require.Equal(t, 2, hit.MutatingN)

	f.proxy.Reset()
	require.NoError(t, f.create(t, "before-2"), "the next program passes")
}

func killedAfter(t *testing.T, f *killFixture) {
	f.proxy.Reset()
	killed := 0
	f.proxy.Arm(lab.Kill{N: 1, When: lab.After, Match: lab.MatchPath(lab.TargetS3, http.MethodPut, "/bucket/", "after")}, func() {
		require.True(t, f.stored(t, "after"), "the program dies once its request has taken effect")
		killed++
	})
	require.NoError(t, f.create(t, "after-1"))
	require.Error(t, f.put(t, "after"), "nobody sees the answer")
	require.Equal(t, 1, killed)
	require.Error(t, f.create(t, "after-2"))
}

// pusher is a program that changes Git through a child, and then would say so.
func (f *killFixture) pusher(t *testing.T) *exec.Cmd {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	require.NoError(t, f.remote.Clone(t.Context(), dir, f.proxy.GitURL))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `git commit --quiet --allow-empty -m pushed && git push --quiet origin main && echo pushed`)
	cmd.Dir = dir
	return cmd
}

func (f *killFixture) head(t *testing.T) string {
	t.Helper()
	head, err := f.remote.Head(t.Context())
	require.NoError(t, err)
	return head
}

func programIsKilled(t *testing.T, f *killFixture) {
	for _, when := range []lab.KillWhen{lab.Before, lab.After} {
		t.Run(string(when), func(t *testing.T) {
			old := f.head(t)
			run, err := lab.RunKilled(t.Context(), f.proxy, f.pusher(t), lab.Kill{N: 1, When: when})
			require.NoError(t, err)
			require.True(t, run.Killed)
			require.Equal(t, -1, run.ExitCode)
			require.Empty(t, run.Stdout)
			require.Equal(t, lab.TargetGit, run.Hit.Target)
			require.True(t, strings.HasSuffix(run.Hit.Path, "/git-receive-pack"), run.Hit.Path)
			if when == lab.Before {
				require.Equal(t, old, f.head(t))
			} else {
				require.NotEqual(t, old, f.head(t))
			}
			require.Error(t, f.create(t, "never"), "until the next Reset nothing passes")
		})
	}
}

func programFinishes(t *testing.T, f *killFixture) {
	run, err := lab.RunClean(t.Context(), f.proxy, f.pusher(t))
	require.NoError(t, err)
	require.Equal(t, "pushed\n", run.Stdout, run.Stderr)
	require.Len(t, f.proxy.Mutations(), 1)

	run, err = lab.RunKilled(t.Context(), f.proxy, f.pusher(t), lab.Kill{N: 2, When: lab.Before})
	require.NoError(t, err)
	require.False(t, run.Killed, "the point was never reached")
	require.Zero(t, run.ExitCode, run.Stderr)

	run, err = lab.RunSpoilt(t.Context(), f.proxy, f.pusher(t), lab.Fault{N: 1, Kind: lab.FaultInternal})
	require.NoError(t, err)
	require.Equal(t, 1, run.Hit.N)
	require.NotZero(t, run.ExitCode)
	require.Contains(t, run.Stderr, "500")

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = lab.RunClean(ctx, f.proxy, exec.Command("/bin/sh", "-c", "sleep 60 & wait"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func apiFaults(t *testing.T, f *killFixture) {
	for _, kind := range lab.FaultKinds() {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, applied %t", kind, applied), func(t *testing.T) {
				f.proxy.Reset()
				f.proxy.ArmFault(lab.Fault{N: 2, Kind: kind, Applied: applied})
				first, second := fmt.Sprintf("fault-%s-%t-1", kind, applied), fmt.Sprintf("fault-%s-%t-2", kind, applied)
				require.NoError(t, f.create(t, first))
				begin := time.Now()
				err := f.create(t, second)
				took := time.Since(begin)
				switch kind {
				case lab.FaultConflict:
					require.True(t, apierrors.IsConflict(err), "%v", err)
				case lab.FaultTooMany:
					// client-go waits as long as it is told, and asks again.
					require.GreaterOrEqual(t, took, time.Second)
					require.Len(t, f.proxy.Log(), 3)
					require.Equal(t, applied, apierrors.IsAlreadyExists(err), "%v", err)
				case lab.FaultInternal:
					require.True(t, apierrors.IsInternalError(err), "%v", err)
				case lab.FaultTimeout:
					require.Error(t, err)
					require.GreaterOrEqual(t, took, lab.FaultPatience)
				case lab.FaultReset:
					require.ErrorIs(t, err, syscall.ECONNRESET)
				}
				require.Equal(t, applied || kind == lab.FaultTooMany, f.exists(t, second))
				require.NoError(t, f.create(t, second+"-more"), "once")
			})
		}
	}
}

func s3Faults(t *testing.T, f *killFixture) {
	for kind, want := range map[lab.FaultKind]string{
		lab.FaultConflict: "OperationAborted", lab.FaultTooMany: "TooManyRequests", lab.FaultInternal: "InternalError",
		lab.FaultTimeout: "EOF", lab.FaultReset: "reset by peer",
	} {
		t.Run(string(kind), func(t *testing.T) {
			f.proxy.Reset()
			f.proxy.ArmFault(lab.Fault{N: 1, Kind: kind})
			key := "fault-" + string(kind)
			require.ErrorContains(t, f.put(t, key), want)
			require.False(t, f.stored(t, key))
			require.NoError(t, f.put(t, key))
			f.proxy.ArmFault(lab.Fault{N: 1, Kind: kind, Applied: true})
			require.Error(t, f.put(t, key+"-applied"))
			require.True(t, f.stored(t, key+"-applied"))
		})
	}
}

func gitFaults(t *testing.T, f *killFixture) {
	push := lab.MatchPath(lab.TargetGit, http.MethodPost, "/git-receive-pack")
	for _, applied := range []bool{false, true} {
		for _, kind := range lab.FaultKinds() {
			t.Run(fmt.Sprintf("%s, applied %t", kind, applied), func(t *testing.T) {
				old := f.head(t)
				run, err := lab.RunSpoilt(t.Context(), f.proxy, f.pusher(t), lab.Fault{N: 1, Kind: kind, Applied: applied, Match: push})
				require.NoError(t, err)
				require.NotZero(t, run.Hit.N)
				moved := old != f.head(t)
				t.Logf("git push ends with %d, the branch moved: %t", run.ExitCode, moved)
				if applied {
					require.True(t, moved)
					return
				}
				// libcurl may ask once more when a connection ends without an answer; an error it takes.
				require.Equal(t, run.ExitCode == 0, moved)
				require.False(t, moved && kind != lab.FaultTimeout && kind != lab.FaultReset)
			})
		}
	}
}

// TestKillProxyPassesUpgrades proves what exec into a Pod needs: after the upgrade, bytes in both
// directions.
func TestKillProxyPassesUpgrades(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		connection, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		line, err := buffered.ReadString('\n')
		if err == nil {
			_, _ = fmt.Fprint(connection, "echo ", line)
		}
	}))
	t.Cleanup(echo.Close)
	p, err := lab.ForTest(t).KillProxy(lab.Upstreams{API: &rest.Config{Host: echo.URL}})
	require.NoError(t, err)
	connection, err := net.Dial("tcp", strings.TrimPrefix(p.APIURL, "http://"))
	require.NoError(t, err)
	defer func() { _ = connection.Close() }()
	_, err = fmt.Fprint(connection, "POST /api/v1/namespaces/a/pods/b-1/exec?container=postgres&command=psql HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(connection)
	answer, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	_, err = fmt.Fprintln(connection, "hello")
	require.NoError(t, err)
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "echo hello\n", line)
	require.Equal(t, "1 api POST /api/v1/namespaces/a/pods/b-1/exec?container=postgres", p.Log()[0].String())
	require.Empty(t, p.S3URL, "what has no upstream gets no listener")
}
