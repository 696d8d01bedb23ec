package bootstrapcmd

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

func waves(now time.Time) *bootstrap.Waves {
	app := func(name string, wave int, sync, health, message string) bootstrap.WaveApplication {
		return bootstrap.WaveApplication{Since: now.Add(-75 * time.Second), ManagedApplication: recovery.ManagedApplication{Name: name, Wave: wave, Sync: sync, Health: health, Message: message}}
	}
	return &bootstrap.Waves{
		At: now, Wave: 2, Settled: 1, Remaining: 3 * time.Minute,
		Applications: []bootstrap.WaveApplication{
			app("cilium", 0, "Synced", "Healthy", ""), app("pvc-plumber", 2, "Synced", "Degraded", strings.Repeat("a long message of Argo CD ", 8)),
			{Absent: true, ManagedApplication: recovery.ManagedApplication{Name: "immich", Wave: 6}}, {Absent: true, ManagedApplication: recovery.ManagedApplication{Name: "karakeep", Wave: 6}},
		},
		Blockers: []bootstrap.Blocker{{Application: "pvc-plumber", What: "Pod volsync-system/pvc-plumber-0: ImagePullBackOff", Fix: "is the image's name right?"}},
		Claims:   []recovery.RestoringClaim{{Phase: "Bound", Source: "data-backup"}, {Phase: "Pending", Source: "data-backup"}, {Phase: "Bound"}},
		Empty:    []bootstrap.EmptyDatabase{{Namespace: "cloudnative-pg", Name: "immich-database", Restorable: 3, Command: "drctl cnpg recover immich-database -n cloudnative-pg"}},
	}
}

func factory(out, err *bytes.Buffer, interactive bool, columns int, now *time.Time) *command.Factory {
	return &command.Factory{
		Streams: ui.Streams{Out: out, Err: err, Interactive: interactive, ErrWidth: columns, Width: columns}, Now: func() time.Time { return *now },
		Settings: &command.Settings{Kube: genericclioptions.NewConfigFlags(false)},
	}
}

// TestTheTableMoves: on a terminal each line fits, the wave that hangs is in it with what holds it back, and none of it is
// left in the end but what came to rest.
func TestTheTableMoves(t *testing.T) {
	for _, columns := range []int{80, 120} {
		var out, err bytes.Buffer
		now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
		v := newView(factory(&out, &err, true, columns, &now))
		v.event(operation.Event{Kind: operation.StepStarted, Step: operation.Step{Kind: wavesStep, Title: "see every wave healthy"}})
		v.show(waves(now))
		text := err.String()
		for _, want := range []string{"wave 0  cilium is Synced and Healthy", "wave 2  pvc-plumber", "Degraded", "75s", "wave 6  immich, karakeep", "ImagePullBackOff", "→ is the image's name right?", "1 of 4 Applications at rest", "about 3m0s left"} {
			require.Contains(t, text, want)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(strings.ReplaceAll(line, "\x1b[K", ""), "\n")
			require.LessOrEqual(t, len([]rune(line)), columns, line)
		}
		err.Reset()
		now = now.Add(time.Second)
		v.show(waves(now))
		require.True(t, strings.HasPrefix(err.String(), "\x1b["), "it is drawn over what was there")
		require.NotContains(t, err.String(), "cilium is Synced", "what stays is said once")
		err.Reset()
		v.close()
		require.Contains(t, err.String(), "\x1b[J", "the table is taken away")
		require.Empty(t, out.String())
	}
}

// TestInALog: no cursor is moved, what came to rest and what holds a wave back are said once, and a sign of life each minute.
func TestInALog(t *testing.T) {
	var out, err bytes.Buffer
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	v := newView(factory(&out, &err, false, 0, &now))
	v.begin()
	for range 5 {
		v.show(waves(now))
		now = now.Add(10 * time.Second)
	}
	require.NotContains(t, err.String(), "\x1b")
	require.Equal(t, 1, strings.Count(err.String(), "cilium is Synced and Healthy"))
	require.Equal(t, 1, strings.Count(err.String(), "ImagePullBackOff"))
	require.NotContains(t, err.String(), "· wave 2")
	now = now.Add(time.Minute)
	v.show(waves(now))
	require.Contains(t, err.String(), "· wave 2: 1 of 4 Applications are Synced and Healthy; pvc-plumber Degraded")
}

func TestTheReport(t *testing.T) {
	var out, err bytes.Buffer
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	f := factory(&out, &err, false, 0, &now)
	p := &bootstrap.Params{Namespace: "argocd", Release: "argocd", Version: "9.1.0", GitOps: "/platform"}
	failure := printReport(f, "table", p.Report("bootstrap-1", waves(now), now, func(string) string { return "" }))
	require.Equal(t, command.ExitPartial, command.ExitCode(failure))
	require.ErrorContains(t, failure, "drctl cnpg recover immich-database -n cloudnative-pg")
	for _, want := range []string{"✗ Not every Application", "database cloudnative-pg/immich-database came up EMPTY", "1 restored from a backup, 1 being restored, 1 new and empty", "port-forward svc/argocd-server", "argocd-initial-admin-secret"} {
		require.Contains(t, out.String(), want)
	}

	whole := waves(now)
	whole.Applications, whole.Empty, whole.Blockers = whole.Applications[:1], nil, nil
	out.Reset()
	require.NoError(t, printReport(f, "json", p.Report("bootstrap-1", whole, now, func(string) string { return now.Add(90 * time.Second).Format(time.RFC3339) })))
	for _, want := range []string{`"kind": "BootstrapReport"`, `"healthy": true`, `"healthySeconds": 90`, `"emptyDatabases": []`, `"blockers": []`, `"unknown": []`} {
		require.Contains(t, out.String(), want)
	}
}

func TestChecksSayWhatToDo(t *testing.T) {
	var out bytes.Buffer
	checks := []recovery.Check{
		{Area: "cluster", Name: "nodes", Result: recovery.CheckOK, Why: "3 nodes Ready"},
		{Area: "secrets", Name: "a-namespace-with-a-name/of-a-secret-that-is-long", Result: recovery.CheckFail, Why: "it is not there, and Deployment a/b needs it", Fix: "give --secrets DIR"},
		{Area: "git", Name: "pushed", Result: recovery.CheckWarn, Why: "the remote has more", Fix: "git pull"},
	}
	require.NoError(t, writeChecks(&out, ui.Streams{}, 80, checks, false))
	require.Contains(t, out.String(), "✓ cluster/nodes")
	require.Contains(t, out.String(), "→ give --secrets DIR")
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), 80, line)
	}
	out.Reset()
	require.NoError(t, writeChecks(&out, ui.Streams{}, 80, checks, true))
	require.NotContains(t, out.String(), "cluster/nodes")
	require.Contains(t, out.String(), "1 of 3 checks are fine")
}

func TestFlags(t *testing.T) {
	var out, err bytes.Buffer
	now := time.Now()
	f := factory(&out, &err, false, 0, &now)
	var got *options
	parse := func(args ...string) error {
		cmd := newCommand(f, func(_ context.Context, o *options) error {
			got = o
			return nil
		})
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		cmd.SetErr(&err)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		return cmd.Execute()
	}
	require.NoError(t, parse("--secrets", "s", "-f", "v.yaml", "--accept", "git/pushed", "--chart", "argo.tgz", "--timeout", "5m", "-y"))
	require.True(t, strings.HasPrefix(got.SecretsDir, "/") && strings.HasSuffix(got.SecretsDir, "/s"), "a plan may be resumed from another folder")
	require.True(t, strings.HasPrefix(got.ValuesFiles[0], "/"))
	require.Equal(t, 5*time.Minute, got.Timeout)
	require.Equal(t, 10*time.Minute, got.ReadyTimeout)
	require.True(t, got.yes)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("argo-cd.tgz", nil, 0o600))
	require.NoError(t, parse("--chart", "argo-cd.tgz"))
	require.True(t, strings.HasPrefix(got.Chart.Location, "/"))
	require.NoError(t, parse("--chart", "argo-cd", "--chart-repo", "https://charts.example.org"))
	require.Equal(t, "argo-cd", got.Chart.Location)
	for _, bad := range [][]string{{"name"}, {"--timeout", "-1s"}, {"-o", "xml"}} {
		require.Equal(t, command.ExitUsage, command.ExitCode(parse(bad...)), bad)
	}
	f.Settings.Offline = true
	require.ErrorContains(t, parse(), "--offline")
}
