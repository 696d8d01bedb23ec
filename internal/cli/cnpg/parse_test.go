package cnpgcmd

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// parse gives a command its arguments; nothing is run but what it was made with.
func parse(t *testing.T, cmd *cobra.Command, args ...string) error {
	t.Helper()
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	return cmd.ExecuteContext(t.Context())
}

func factory(namespace string) *command.Factory {
	kube := genericclioptions.NewConfigFlags(false)
	*kube.Namespace = namespace
	return &command.Factory{Settings: &command.Settings{Kube: kube}}
}

func TestParseRecover(t *testing.T) {
	six := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		args []string
		want flip.Options
		// check looks at what is no option of the use case.
		check func(*recoverOptions) bool
	}{
		"a name":      {[]string{"immich"}, flip.Options{Name: "immich", Namespace: "db"}, func(o *recoverOptions) bool { return !o.yes && !o.dryRun && o.output.Format == ui.FormatTable }},
		"all the way": {[]string{"immich", "--push", "-y"}, flip.Options{Name: "immich", Namespace: "db", Push: true}, func(o *recoverOptions) bool { return o.yes }},
		"a look":      {[]string{"immich", "--dry-run", "-o", "json"}, flip.Options{Name: "immich", Namespace: "db"}, func(o *recoverOptions) bool { return o.dryRun && o.output.Format == ui.FormatJSON }},
		"beside":      {[]string{"immich", "--new-name", "look"}, flip.Options{Name: "immich", Namespace: "db", NewName: "look"}, nil},
		"every choice": {
			[]string{"immich", "--backup-id", "20261123T020000", "--source-server-name", "v1", "--archive-server-name", "v7", "--accept-wal-gap", "--final-backup", "--no-fence", "--verify-sql", "select 1"},
			flip.Options{
				Name: "immich", Namespace: "db", BackupID: "20261123T020000", SourceServer: "v1", ArchiveServer: "v7", AcceptGap: true, FinalBackup: true, NoFence: true, VerifySQL: "select 1",
			}, nil,
		},
		"a moment":             {[]string{"immich", "--target-time", "2026-11-23T18:00:00Z"}, flip.Options{Name: "immich", Namespace: "db", TargetTime: six}, nil},
		"a moment with offset": {[]string{"immich", "--target-time", "2026-11-23T19:00:00+01:00"}, flip.Options{Name: "immich", Namespace: "db", TargetTime: six}, nil},
		"a moment in between":  {[]string{"immich", "--target-time", "2026-11-23T18:00:00.5Z"}, flip.Options{Name: "immich", Namespace: "db", TargetTime: six.Add(500 * time.Millisecond)}, nil},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			var got *recoverOptions
			err := parse(t, newRecover(factory("db"), func(_ context.Context, o *recoverOptions) error { got = o; return nil }), c.args...)
			require.NoError(t, err)
			require.True(t, c.want.TargetTime.Equal(got.TargetTime), got.TargetTime)
			c.want.TargetTime = got.TargetTime
			require.Equal(t, c.want, got.Options)
			require.True(t, c.check == nil || c.check(got))
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		args []string
		next string
	}{
		"no name":                {nil, "give NAME (drctl cnpg list shows them), or -f FILE"},
		"two names":              {[]string{"a", "b"}, "usage: recover NAME"},
		"a target without zone":  {[]string{"immich", "--target-time", "2026-11-23T18:00:00"}, "write it as 2026-11-23T18:00:00Z or 2026-11-23T19:00:00+01:00"},
		"a target with a space":  {[]string{"immich", "--target-time", "2026-11-23 18:00:00Z"}, "write it as"},
		"a target that is a day": {[]string{"immich", "--target-time", "yesterday"}, "write it as"},
		"a copy that is pushed":  {[]string{"immich", "--new-name", "look", "--push"}, "leave out --push"},
		"a copy of its name":     {[]string{"immich", "--new-name", "immich"}, "give another --new-name"},
		"a format":               {[]string{"immich", "-o", "xml"}, "use -o table|wide|json|yaml|name"},
		"a file that is not":     {[]string{"-f", "/nonexistent/cluster.yaml"}, "give the file of one Cluster with -f"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			err := parse(t, newRecover(factory(""), func(context.Context, *recoverOptions) error {
				t.Fatal("it must not run")
				return nil
			}), c.args...)
			require.ErrorIs(t, err, recovery.ErrUsage)
			require.Equal(t, command.ExitUsage, command.ExitCode(err))
			require.ErrorContains(t, err, c.next)
		})
	}
}

func TestParseRender(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	require.NoError(t, os.WriteFile(file, []byte("kind: Cluster\nmetadata:\n  name: immich\n"), 0o600))
	var got *renderOptions
	err := parse(t, newRender(factory(""), func(_ context.Context, o *renderOptions) error { got = o; return nil }), "-f", file)
	require.NoError(t, err)
	require.True(t, got.RenderOnly)
	require.JSONEq(t, `{"kind":"Cluster","metadata":{"name":"immich"}}`, string(got.Manifest))
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	err = parse(t, newRender(factory(""), nil), "-f", file)
	require.ErrorIs(t, err, recovery.ErrUsage)
}

func TestParseVerifyAndRevert(t *testing.T) {
	var verified *verifyOptions
	verify := func(_ context.Context, o *verifyOptions) error { verified = o; return nil }
	require.NoError(t, parse(t, newVerify(factory(""), verify), "immich", "--verify-sql", "select 1", "-o", "yaml"))
	require.Equal(t, "immich", verified.name)
	require.Equal(t, "select 1", verified.verifySQL)
	require.Equal(t, ui.FormatYAML, verified.output.Format)
	require.ErrorIs(t, parse(t, newVerify(factory(""), verify)), recovery.ErrUsage)
	require.ErrorIs(t, parse(t, newVerify(factory(""), verify), "a", "-o", "xml"), recovery.ErrUsage)

	var reverted *revertOptions
	revert := func(_ context.Context, o *revertOptions) error { reverted = o; return nil }
	require.NoError(t, parse(t, newRevert(factory(""), revert), "immich", "--yes", "--dry-run", "--verify-sql", "select 1"))
	require.True(t, reverted.yes && reverted.dryRun)
	require.Equal(t, "select 1", reverted.verifySQL)
	require.ErrorIs(t, parse(t, newRevert(factory(""), revert)), recovery.ErrUsage)
}
