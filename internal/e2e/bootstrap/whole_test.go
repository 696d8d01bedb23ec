package bootstrap

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
)

// shared is the world of this package's tests: each begins with an empty cluster.
type shared struct {
	world  *bootstrapworld.World
	client kubernetes.Interface
	// folders of the chart by version, and where all of them are in a registry.
	folders map[string]string
	oci     string
	err     error
}

var theWorld = sync.OnceValue(start) //nolint:gochecknoglobals // one world for all tests, started by the first that needs it

func TestMain(m *testing.M) {
	code := m.Run()
	stopAll()
	os.Exit(code) //nolint:forbidigo // this is how TestMain ends
}

func world(t *testing.T) *shared {
	t.Helper()
	s := theWorld()
	require.NoError(t, s.err)
	return s
}

// attempt is an empty cluster, and an operator at his computer.
func attempt(t *testing.T, more ...string) *bootstrapworld.Attempt {
	t.Helper()
	a, err := world(t).world.Attempt(t.Context(), more...)
	require.NoError(t, err)
	return a
}

// run runs drctl. Whatever it says, it shows no secret.
func run(t *testing.T, a *bootstrapworld.Attempt, args ...string) lab.ProxiedRun {
	t.Helper()
	got, err := a.Run(t.Context(), args...)
	require.NoError(t, err)
	t.Logf("drctl %s ended with %d, %d requests\n%s%s", strings.Join(args, " "), got.ExitCode, len(world(t).world.Proxy.Log()), got.Stderr, got.Stdout)
	for _, secret := range world(t).world.Secrets() {
		require.NotContains(t, got.Stdout+got.Stderr, secret, "a secret is shown")
	}
	return got
}

// TestFromNothing bootstraps an empty cluster, and then again: then nothing is changed, and few requests are made.
func TestFromNothing(t *testing.T) {
	a, w := attempt(t), world(t).world
	require.Zero(t, run(t, a, a.Operation()...).ExitCode)
	require.NoError(t, a.Done(t.Context()))

	again := run(t, a, a.Operation()...)
	require.Zero(t, again.ExitCode)
	require.Contains(t, again.Stderr, "There is nothing to do")
	require.Empty(t, w.Proxy.Mutations())
	require.NoError(t, a.Done(t.Context()))
	require.Less(t, len(w.Proxy.Log()), 150, "a second run asks little")
}

// TestDryRun changes nothing and shows everything.
func TestDryRun(t *testing.T) {
	a := attempt(t)
	got := run(t, a, append(a.Operation(), "--dry-run")...)
	require.Zero(t, got.ExitCode)
	require.Empty(t, world(t).world.Proxy.Mutations())
	for _, text := range []string{"kind: StatefulSet", "wait until Argo CD is ready", "Nothing was changed", "my-apps/media/notes", "<- from here on Argo CD acts by itself"} {
		require.Contains(t, got.Stdout, text)
	}
	require.NoError(t, a.Untouched(t.Context()))
}

// TestEveryWayToAChart installs the same chart from a folder, an archive and a registry; each time it is what the
// release holds already.
func TestEveryWayToAChart(t *testing.T) {
	s, a := world(t), attempt(t)
	archive, err := lab.PackChart(s.folders[bootstrapworld.ChartVersion], a.Home)
	require.NoError(t, err)
	require.Zero(t, run(t, a, append(a.Operation(), "--chart", archive)...).ExitCode)
	require.NoError(t, a.Done(t.Context()))
	for _, more := range [][]string{
		{"--chart", s.folders[bootstrapworld.ChartVersion]},
		{"--chart", s.oci + "/" + lab.ArgoChartName},
		{},
	} {
		got := run(t, a, append(a.Operation(), more...)...)
		require.Zero(t, got.ExitCode)
		require.Contains(t, got.Stderr, "There is nothing to do")
		require.Empty(t, s.world.Proxy.Mutations())
	}
	got := run(t, a, append(a.Operation(), "--chart-version", "9.9.9")...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "9.9.9")
	require.Contains(t, got.Stderr, bootstrapworld.ChartVersion, "it names the versions that there are")
}

// TestItRepairs: what is gone from the release comes back, and what is older is upgraded; what is newer stays.
func TestItRepairs(t *testing.T) {
	s, a := world(t), attempt(t, "--chart-version", bootstrapworld.OldChartVersion)
	a.Version = bootstrapworld.OldChartVersion
	require.Zero(t, run(t, a, a.Operation()...).ExitCode)
	require.NoError(t, a.Done(t.Context()))

	deployments := s.client.AppsV1().Deployments(lab.ArgoNamespace)
	require.NoError(t, deployments.Delete(t.Context(), "argocd-server", metav1.DeleteOptions{}))
	got := run(t, a, a.Operation()...)
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Stderr, "argocd-server")
	require.NoError(t, a.Done(t.Context()))

	a.Version = bootstrapworld.ChartVersion
	require.Zero(t, run(t, a, a.Bootstrap()...).ExitCode)
	require.NoError(t, a.Done(t.Context()))

	got = run(t, a, a.Operation()...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "is at chart 9.2.0, and 9.1.0 is older")
	require.Empty(t, s.world.Proxy.Mutations())
}

// TestWhatDoesNotComeUp is taken back: to nothing, or to the version before.
func TestWhatDoesNotComeUp(t *testing.T) {
	s := world(t)
	t.Run("first", func(t *testing.T) {
		a := attempt(t)
		got := run(t, a, append(a.Operation(), "--chart", s.folders[lab.ArgoChartBroken], "--ready-timeout", "20s")...)
		require.Equal(t, 1, got.ExitCode)
		require.Contains(t, got.Stderr, "it was taken back")
		require.Contains(t, got.Stderr, "ImagePull")
		require.NoError(t, a.Untouched(t.Context()))
	})
	t.Run("hook", func(t *testing.T) {
		a := attempt(t)
		got := run(t, a, append(a.Operation(), "--chart", s.folders[lab.ArgoChartBrokenHook])...)
		require.Equal(t, 1, got.ExitCode)
		require.Contains(t, got.Stderr, "it was taken back")
		require.Contains(t, got.Stderr, "Job")
		require.NoError(t, a.Untouched(t.Context()))
	})
	t.Run("upgrade", func(t *testing.T) {
		a := attempt(t)
		require.Zero(t, run(t, a, a.Operation()...).ExitCode)
		require.NoError(t, a.Done(t.Context()))
		got := run(t, a, append(a.Operation(), "--chart", s.folders[lab.ArgoChartBroken], "--ready-timeout", "20s")...)
		require.Equal(t, 1, got.ExitCode)
		require.Contains(t, got.Stderr, "it was taken back")
		// The version before is back, and everything with it, once Argo CD has started again and looked.
		require.Eventually(t, func() bool {
			err := a.Done(t.Context())
			if err != nil {
				t.Log(err)
			}
			return err == nil
		}, time.Minute, time.Second)
	})
}

// TestStoppedByAPerson: Ctrl-C while Argo CD comes up leaves a plan that goes on, or back.
func TestStoppedByAPerson(t *testing.T) {
	a := attempt(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := a.Command(ctx, a.Operation()...)
	var out lockedBuffer
	cmd.Stderr = &out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "[2/6]") }, time.Minute, 20*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	err := cmd.Wait()
	require.Error(t, err)
	require.Equal(t, 4, cmd.ProcessState.ExitCode(), out.String())
	require.Contains(t, out.String(), "drctl resume bootstrap-")
	require.Zero(t, run(t, a, "resume").ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// lockedBuffer is written by a process and read meanwhile.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(part []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(part)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// edit changes a file of the operator's checkout.
func edit(t *testing.T, a *bootstrapworld.Attempt, file, before, after string) {
	t.Helper()
	path := filepath.Join(a.Tree, file)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), before)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), before, after, 1)), 0o600))
}
