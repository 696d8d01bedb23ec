// Package many runs the real drctl against hundreds of claims at once, on the real API server with a VolSync
// that moves no data, and counts in the audit log what that costs.
package many

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
	"github.com/drctl/drctl/internal/recovery"
)

// operator is whose requests are counted: everybody else is the lab's.
const operator = "operator"

// world is a cluster with claims, and a person at a computer.
type world struct {
	*lab.LightLab
	proxy      *lab.KillProxy
	program    string
	kubeconfig string
	home       string
}

// newWorld starts it. Movers take between two seconds and as long as is given.
func newWorld(t *testing.T, claims int, slowest time.Duration) *world {
	t.Helper()
	stack := lab.ForTest(t)
	w := &world{home: t.TempDir()}
	var err error
	w.program, err = disturb.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	w.LightLab, err = lab.UpLight(t.Context(), stack, lab.LightOptions{
		Users: []string{operator}, Claims: claims, Duration: func(as recovery.KopiaSource) time.Duration { return duration(as, slowest) },
	})
	require.NoError(t, err)
	config, err := w.Kubernetes.RESTConfigFor(operator)
	require.NoError(t, err)
	w.mayAll(t)
	w.proxy, err = stack.KillProxy(lab.Upstreams{API: w.Kubernetes.RESTConfig()})
	require.NoError(t, err)
	w.kubeconfig, err = w.proxy.Kubeconfig(config)
	require.NoError(t, err)
	return w
}

// duration is as random as it can be and yet the same in each run.
func duration(as recovery.KopiaSource, slowest time.Duration) time.Duration {
	var number uint64
	_, _ = fmt.Sscanf(as.Username, "volume-%d-backup", &number)
	const quickest = 2 * time.Second
	return quickest + time.Duration(rand.New(rand.NewPCG(number, 4)).Int64N(int64(slowest-quickest)))
}

// mayAll gives the operator all rights: how few are enough is another test's matter.
func (w *world) mayAll(t *testing.T) {
	t.Helper()
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: operator}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: operator}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// command is drctl with nothing of this process's environment but PATH.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Dir = w.home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "TMPDIR=" + w.home, "KUBECONFIG=" + w.kubeconfig,
		"DRCTL_REPO=" + w.Repository, "KOPIA_PASSWORD=" + w.Platform.KopiaPassword,
	}
	return cmd
}

// outcome is how a run of drctl ended, and what it cost.
type outcome struct {
	lab.ProxiedRun
	took     time.Duration
	requests []lab.Request
	// written are VolSync's own requests meanwhile.
	written []lab.Request
	spoilt  int
	// peak is the most memory that the process had, in bytes.
	peak int64
}

// run runs drctl, with requests spoilt as choose says, and counts.
func (w *world) run(t *testing.T, choose func(lab.ProxyRequest) *lab.Fault, args ...string) *outcome {
	t.Helper()
	mark, err := w.Kubernetes.AuditMark()
	require.NoError(t, err)
	cmd := w.command(t.Context(), args...)
	got := &outcome{}
	peak := watchPeak(t.Context(), w.program)
	began := time.Now()
	var hits []lab.ProxyRequest
	got.ProxiedRun, hits, err = lab.RunEach(t.Context(), w.proxy, cmd, choose)
	got.took = time.Since(began)
	require.NoError(t, err)
	got.peak, got.spoilt = peak(), len(hits)
	got.requests, err = w.Kubernetes.RequestsSince(mark, operator)
	require.NoError(t, err)
	got.written, err = w.Kubernetes.RequestsSince(mark, lab.AdminUser)
	require.NoError(t, err)
	t.Logf("drctl %s: exit code %d after %s, %d requests, %d of them spoilt, at most %d MB\n%s", strings.Join(args, " "), got.ExitCode,
		got.took.Round(time.Millisecond), len(got.requests), got.spoilt, got.peak>>20, got.Stderr)
	return got
}

// unspoilt lets every request through.
func unspoilt(lab.ProxyRequest) *lab.Fault { return nil }

// watchPeak follows the most memory that a process of the program has had; the function ends that and gives it.
func watchPeak(ctx context.Context, program string) func() int64 {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan int64, 1)
	go func() {
		var peak int64
		for ctx.Err() == nil {
			peak = max(peak, peakOf(program))
			time.Sleep(100 * time.Millisecond)
		}
		most <- peak
	}()
	return func() int64 {
		cancel()
		return <-most
	}
}

// peakOf reads the high-water mark of the process that runs the program; 0 where there is none.
func peakOf(program string) int64 {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0
	}
	for _, link := range links {
		if path, err := os.Readlink(link); err != nil || path != program {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(link), "status"))
		if err != nil {
			return 0
		}
		for line := range strings.Lines(string(status)) {
			var kilobytes int64
			if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
				return kilobytes << 10
			}
		}
	}
	return 0
}

// report is what drctl prints of many restores.
type report struct {
	Plan  string `json:"plan"`
	Items []struct {
		Target, Plan, State, Why, Next string
	} `json:"items"`
	Restored int `json:"restored"`
	Left     int `json:"left"`
}

func (o *outcome) report(t *testing.T) report {
	t.Helper()
	var read report
	require.NoError(t, json.Unmarshal([]byte(o.Stdout), &read), "%s", o.Stdout)
	return read
}

// unlabel takes a claim out of what -A means.
func (w *world) unlabel(t *testing.T, namespace, name string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	_, err = client.CoreV1().PersistentVolumeClaims(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":{"backup":null}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
}

// requireNothingLeft: nothing of drctl's own stays behind, wherever it was made.
func (w *world) requireNothingLeft(t *testing.T) {
	t.Helper()
	client, err := dynamic.NewForConfig(w.Kubernetes.RESTConfig())
	require.NoError(t, err)
	for _, kind := range []schema.GroupVersionResource{
		{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationdestinations"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
		{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
		{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"},
	} {
		left, err := client.Resource(kind).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=drctl"})
		require.NoError(t, err)
		require.Empty(t, left.Items, kind.Resource)
	}
}
