package restore

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

const (
	sourceKind      = "ReplicationSource"
	destinationKind = "ReplicationDestination"
	target          = restoreworld.Namespace + "/" + restoreworld.Claim
)

// prepare prepares one restore. Whatever a failed test leaves unfinished is ended behind it, so that it does
// not fail the others.
func prepare(t *testing.T, mode restoreworld.Mode) *restoreworld.Attempt {
	t.Helper()
	a := attempt(t, mode)
	t.Cleanup(func() { endPlans(t, a.Operator) })
	return a
}

func endPlans(t *testing.T, o *restoreworld.Operator) {
	if !t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	defer cancel()
	plans, err := o.Plans()
	t.Logf("after a failure: plans %v, %v", plans, err)
	for _, id := range plans {
		got, err := o.Run(ctx, "abort", id, "--give-up")
		t.Logf("drctl abort %s --give-up: %d, %v\n%s", id, got.ExitCode, err, got.Stderr)
	}
}

// order gives all movers of a namespace an order until the test is over.
func order(t *testing.T, kind, namespace string, order lab.Order) {
	t.Helper()
	w := world(t)
	require.NoError(t, w.VolSync.Order(kind, namespace, lab.AnyName, order))
	t.Cleanup(func() { require.NoError(t, w.VolSync.Order(kind, namespace, lab.AnyName, "")) })
}

// behave takes an order back ahead of the test's end.
func behave(t *testing.T, kind, namespace string) {
	t.Helper()
	require.NoError(t, world(t).VolSync.Order(kind, namespace, lab.AnyName, ""))
}

func onlyPlan(t *testing.T, o *restoreworld.Operator) string {
	t.Helper()
	plans, err := o.Plans()
	require.NoError(t, err)
	require.Len(t, plans, 1)
	return plans[0]
}

func client(t *testing.T) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(world(t).Kubernetes.RESTConfig())
	require.NoError(t, err)
	return c
}

func untyped(t *testing.T) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(world(t).Kubernetes.RESTConfig())
	require.NoError(t, err)
	return c
}

// lockedBuffer may be read while the program still writes.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is a drctl that goes on while the test does something else.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr lockedBuffer
	ended          chan struct{}
}

// launch runs drctl beside the test.
func launch(t *testing.T, o *restoreworld.Operator, args ...string) *running {
	t.Helper()
	world(t).Proxy.Reset()
	r := &running{cmd: o.Command(t.Context(), args...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	require.NoError(t, r.cmd.Start())
	go func() {
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
	})
	return r
}

// says waits until the program has said so.
func (r *running) says(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(4 * time.Minute)
	for !strings.Contains(r.stderr.String(), text) {
		select {
		case <-r.ended:
			require.Contains(t, r.stderr.String(), text, "it has ended")
			return
		case <-deadline:
			require.Contains(t, r.stderr.String(), text, "it goes on")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// end waits for the program's end.
func (r *running) end(t *testing.T) lab.ProxiedRun {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(8 * time.Minute):
		require.Fail(t, "it does not end", r.stderr.String())
	}
	got := lab.ProxiedRun{ExitCode: r.cmd.ProcessState.ExitCode(), Stdout: r.stdout.String(), Stderr: r.stderr.String()}
	t.Logf("%v ended with %d\n%s%s", r.cmd.Args, got.ExitCode, got.Stdout, got.Stderr)
	for _, secret := range world(t).Secrets() {
		require.NotContains(t, got.Stdout+got.Stderr, secret, "a secret is shown")
	}
	return got
}

// meanwhile runs another drctl while one is running.
func meanwhile(t *testing.T, o *restoreworld.Operator, args ...string) lab.ProxiedRun {
	t.Helper()
	r := &running{cmd: o.Command(t.Context(), args...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	_ = r.cmd.Run()
	close(r.ended)
	return r.end(t)
}

// killedBefore runs a restore that is killed ahead of its first request of that kind.
func killedBefore(t *testing.T, o *restoreworld.Operator, args []string, method string, path ...string) {
	t.Helper()
	kill := lab.Kill{N: 1, When: lab.Before, Match: func(r lab.ProxyRequest) bool {
		return r.Mutating && lab.MatchPath(lab.TargetAPI, method, path...)(r)
	}}
	got, err := lab.RunKilled(t.Context(), world(t).Proxy, o.Command(t.Context(), args...), kill)
	require.NoError(t, err)
	require.True(t, got.Killed, "it ended with %d:\n%s", got.ExitCode, got.Stderr)
	t.Logf("drctl %v was killed at %s\n%s", args, got.Hit, got.Stderr)
}

func operator(t *testing.T) *restoreworld.Operator {
	t.Helper()
	o, err := world(t).NewOperator()
	require.NoError(t, err)
	return o
}
