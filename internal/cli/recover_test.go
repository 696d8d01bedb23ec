package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// onPlatform is a wiring with a database to recover and a folder of plans.
func onPlatform(t *testing.T) *fakeWiring {
	t.Helper()
	f := newFakeWiring()
	f.platform, f.plans = newFakePlatform(), t.TempDir()
	return f
}

// onTerminal runs the command line with somebody at the keyboard.
func onTerminal(ctx context.Context, wiring command.Wiring, typed string, args ...string) (code int, out string) {
	var errs bytes.Buffer
	streams := ui.Streams{In: strings.NewReader(typed), Out: &errs, Err: &errs, CanAsk: true}
	settings := &command.Settings{Kube: genericclioptions.NewConfigFlags(false)}
	root := NewRoot(&command.Factory{Streams: streams, Settings: settings, Wiring: wiring, Now: func() time.Time { return noon }}, Version{}, "drctl")
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		errs.WriteString(ui.Explain(err))
	}
	return command.ExitCode(err), errs.String()
}

// steady takes out what is another in each run: the random end of an ID, and who runs the test.
func steady(text string) string {
	text = regexp.MustCompile(`(cnpg-(?:recover|revert)-\d{8}-\d{6})-[a-z0-9]{4}`).ReplaceAllString(text, "$1-k3x9")
	return regexp.MustCompile(`"createdBy": "[^"]*"`).ReplaceAllString(text, `"createdBy": "ada@laptop"`)
}

func TestRecoverGoldens(t *testing.T) {
	stop := func(call string) func(*fakeWiring) { return func(f *fakeWiring) { f.platform.stop = call } }
	cases := []struct {
		golden string
		args   string
		change func(*fakeWiring)
		code   int
		// touched: something was changed.
		touched bool
	}{
		{"recover-help", "cnpg recover --help", nil, 0, false},
		{"render-help", "cnpg render --help", nil, 0, false},
		{"verify-help", "cnpg verify --help", nil, 0, false},
		{"revert-help", "cnpg revert --help", nil, 0, false},
		{"render", "cnpg render immich", nil, 0, false},
		{"recover-dry-run", "cnpg recover immich --push --dry-run", nil, 0, false},
		{"recover-dry-run-json", "cnpg recover immich --push --dry-run -o json", nil, 0, false},
		{"recover-dry-run-target", "cnpg recover immich --target-time 2026-11-22T19:00:00+01:00 --dry-run", nil, 0, false},
		{"recover-dry-run-beside", "cnpg recover immich --new-name immich-look --dry-run", nil, 0, false},
		{"recover-dry-run-gap", "cnpg recover immich --accept-wal-gap --dry-run", nil, 0, false},
		{"recover-dry-run-gone", "cnpg recover immich --push --dry-run", func(f *fakeWiring) { f.platform.live, f.platform.volumes = nil, nil }, 0, false},
		{"recover-dry-run-bare", "cnpg recover immich --no-fence --dry-run", func(f *fakeWiring) { f.platform.bare = true }, 0, false},
		{"recover-no-terminal", "cnpg recover immich --push", nil, 2, false},
		{"recover-offline", "cnpg recover immich --offline", func(f *fakeWiring) { f.offline = true }, 2, false},
		{"recover-no-zone", "cnpg recover immich --target-time 2026-11-22T18:00:00", nil, 2, false},
		{"recover", "cnpg recover immich --push --yes", nil, 0, true},
		{"recover-json", "cnpg recover immich --push --yes -o json", nil, 0, true},
		{"recover-not-pushed", "cnpg recover immich --yes", nil, 4, true},
		{"recover-refused", "cnpg recover immich --push --yes", stop("create"), 4, true},
		{"recover-refused-early", "cnpg recover immich --push --yes", stop("set-policy"), 4, true},
		{"recover-disproved", "cnpg recover immich --push --yes", func(f *fakeWiring) { f.platform.rows = "0" }, 4, true},
		{"verify-no-plan", "cnpg verify immich", nil, 1, false},
		{"revert-done", "cnpg revert immich", nil, 1, false},
		{"revert-offline", "cnpg revert immich", func(f *fakeWiring) { f.offline = true }, 2, false},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			f := onPlatform(t)
			if c.change != nil {
				c.change(f)
			}
			code, out, errs := answer(t, f, strings.Fields(c.args)...)
			require.Equal(t, c.code, code, errs)
			require.Equal(t, c.touched, len(f.platform.changed) > 0, f.platform.changed)
			golden(t, c.golden, "$ drctl "+c.args+"\n"+steady(out)+"--- stderr\n"+steady(errs))
		})
	}
}

// TestTheTypedName: only the name as it is shown goes on; anything else has changed nothing.
func TestTheTypedName(t *testing.T) {
	for typed, want := range map[string]int{"immich-database\n": 0, "immich\n": 130, "y\n": 130, "\n": 130, "": 130} {
		f := onPlatform(t)
		code, out := onTerminal(t.Context(), f, typed, "cnpg", "recover", "immich", "--push")
		require.Equal(t, want, code, out)
		require.Contains(t, out, "This DELETES the live database cloudnative-pg/immich-database")
		require.Less(t, strings.Index(out, "Steps\n"), strings.Index(out, "Type immich-database to go on"), "the plan comes first")
		if want == 0 {
			require.Contains(t, f.platform.changed, "delete")
			continue
		}
		require.Empty(t, f.platform.changed)
		require.Contains(t, out, "so nothing was changed")
		views, _, err := f.Plans().List()
		require.NoError(t, err)
		require.Empty(t, views)
	}
}

// TestCancelled: before any effect it is 130, behind it 4.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := onPlatform(t)
	code, _ := onTerminal(ctx, f, "", "cnpg", "recover", "immich", "--push", "--yes")
	require.Equal(t, command.ExitCancelled, code)
	require.Empty(t, f.platform.changed)
	require.Equal(t, command.ExitUnfinished, command.ExitCode(&recovery.Problem{What: "step 9", Err: errors.Join(operation.ErrUnfinished, context.Canceled)}))
	require.Equal(t, command.ExitPartial, command.ExitCode(recovery.ErrPartial))
	require.Equal(t, command.ExitFindings, command.ExitCode(command.ErrFindings))
	require.Equal(t, command.ExitCancelled, command.ExitCode(recovery.ErrDeclined))
}

// TestOnePlanADatabase: here and elsewhere.
func TestOnePlanADatabase(t *testing.T) {
	f := onPlatform(t)
	code, _, _ := answer(t, f, strings.Fields("cnpg recover immich --yes")...)
	require.Equal(t, command.ExitUnfinished, code)
	before := len(f.platform.changed)
	for _, args := range []string{"cnpg recover immich --push --yes", "cnpg recover immich --dry-run", "cnpg revert immich --yes"} {
		code, out, errs := answer(t, f, strings.Fields(args)...)
		require.Equal(t, command.ExitUnfinished, code, errs)
		require.Empty(t, out)
		require.Contains(t, errs, "Error: begin a plan for cloudnative-pg/immich-database\n")
		require.Regexp(t, `next: drctl resume cnpg-recover-20261123-120000-\w{4}\n`, errs)
		require.Len(t, f.platform.changed, before)
	}

	f = onPlatform(t)
	f.mirror = &fakeMirror{plans: []operation.Plan{storedPlan("cnpg-recover-20261122-090000-m2qj", "bob@desk")}}
	code, _, errs := answer(t, f, strings.Fields("cnpg recover immich --push --yes")...)
	require.Equal(t, command.ExitUnfinished, code, errs)
	require.Contains(t, errs, "next: drctl resume cnpg-recover-20261122-090000-m2qj --takeover, when bob@desk cannot go on\n")
	require.Empty(t, f.platform.changed)
}

// TestVerifyGoldens: 0 proven, 5 disproved, 3 unknown, and 3 when both hold.
func TestVerifyGoldens(t *testing.T) {
	cases := []struct {
		golden string
		args   string
		change func(*fakePlatform)
		code   int
	}{
		{"verify-proven", "cnpg verify immich", nil, 0},
		{"verify-proven-json", "cnpg verify immich -o json", nil, 0},
		{"verify-query", "cnpg verify immich --verify-sql 18239", nil, 0},
		{"verify-disproved", "cnpg verify immich", func(p *fakePlatform) { p.rows = "0" }, 5},
		{"verify-disproved-json", "cnpg verify immich -o json", func(p *fakePlatform) { p.rows = "0" }, 5},
		{"verify-unknown", "cnpg verify immich", func(p *fakePlatform) { p.newest = nil }, 3},
		{"verify-both", "cnpg verify immich", func(p *fakePlatform) { p.newest, p.system = nil, "7400000000000000000" }, 3},
		{"verify-gone", "cnpg verify immich", func(p *fakePlatform) { p.live = nil }, 1},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			f := onPlatform(t)
			code, _, errs := answer(t, f, strings.Fields("cnpg recover immich --push --yes")...)
			require.Zero(t, code, errs)
			if c.change != nil {
				c.change(f.platform)
			}
			code, out, errs := answer(t, f, strings.Fields(c.args)...)
			require.Equal(t, c.code, code, errs)
			golden(t, c.golden, "$ drctl "+c.args+"\n"+steady(out)+"--- stderr\n"+steady(errs))
		})
	}
}

// TestRevertGoldens hands back what was recovered by hand.
func TestRevertGoldens(t *testing.T) {
	for _, c := range []struct {
		golden, args string
		code         int
	}{
		{"revert-dry-run", "cnpg revert immich --dry-run", 0},
		{"revert-no-terminal", "cnpg revert immich", 2},
		{"revert", "cnpg revert immich --yes", 0},
	} {
		t.Run(c.golden, func(t *testing.T) {
			f := onPlatform(t)
			p := f.platform
			p.tree, p.remote = newServer, newServer
			p.live.Bootstrap, p.live.WriteServer = "recovery", newServer
			p.live.Manifest = json.RawMessage(fmt.Sprintf(`{"bootstrap":"recovery","server":%q,"source":%q,"backup":"20261123T020000"}`, newServer, oldServer))
			code, out, errs := answer(t, f, strings.Fields(c.args)...)
			require.Equal(t, c.code, code, errs)
			golden(t, c.golden, "$ drctl "+c.args+"\n"+steady(out)+"--- stderr\n"+steady(errs))
		})
	}
}

// storedPlan is somebody's plan for the database.
func storedPlan(id, by string) operation.Plan {
	step := func(kind, title string, noReturn bool) operation.Step {
		return operation.Step{ID: kind, Kind: kind, Title: title, PointOfNoReturn: noReturn, Timeout: time.Minute}
	}
	return operation.Plan{
		ID: id, Operation: "cnpg-recover", Target: "cloudnative-pg/immich-database", RecoveryPoint: oldServer + "/20261123T020000", ClusterUID: "cluster-1",
		Server: "https://10.0.0.10:6443", Context: "home", CreatedBy: by, CreationTime: noon.Add(-3 * time.Hour), Params: json.RawMessage(`{}`),
		Steps: []operation.Step{
			step("fence", "fence creation of Cluster cloudnative-pg/immich-database", false),
			step("delete-cluster", "delete Cluster cloudnative-pg/immich-database", true),
			step("create-cluster", "create the Cluster that recovers", false),
		},
	}
}
