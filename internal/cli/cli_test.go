package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// answer runs the command line on the fake wiring and renders all that a caller sees.
func answer(t *testing.T, wiring command.Wiring, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	streams := ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	settings := &command.Settings{Kube: genericclioptions.NewConfigFlags(false)}
	root := NewRoot(&command.Factory{Streams: streams, Settings: settings, Wiring: wiring, Now: func() time.Time { return noon }},
		Version{Version: "v1.2.3"}, "drctl")
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	if err != nil {
		errs.WriteString(ui.Explain(err))
	}
	return command.ExitCode(err), out.String(), errs.String()
}

func TestGoldens(t *testing.T) {
	cases := []struct {
		golden string
		args   string
		code   int
	}{
		{"help", "--help", 0},
		{"alone", "", 0},
		{"pvc", "pvc", 0},
		{"pvc-list-help", "pvc list --help", 0},
		{"pvc-snapshots-help", "pvc snapshots --help", 0},
		{"cnpg-list-help", "cnpg list --help", 0},
		{"cnpg-backups-help", "cnpg backups --help", 0},
		{"options", "options", 0},
		{"pvc-list", "pvc list", 0},
		{"pvc-list-wide", "pvc list -o wide", 0},
		{"pvc-list-json", "pvc list -o json", 0},
		{"pvc-list-yaml", "pvc list -o yaml -n karakeep -l backup=hourly", 0},
		{"pvc-list-name", "pvc list -o name", 0},
		{"pvc-snapshots", "pvc snapshots karakeep/data-pvc --incomplete", 0},
		{"pvc-snapshots-wide", "pvc snapshots -A -o wide", 0},
		{"pvc-snapshots-json", "pvc snapshots -A -o json --incomplete", 0},
		{"pvc-files-help", "pvc files --help", 0},
		{"pvc-extract-help", "pvc extract --help", 0},
		{"pvc-restore-help", "pvc restore --help", 0},
		{"pvc-backup-help", "pvc backup --help", 0},
		{"usage-restore-no-claim", "pvc restore", 2},
		{"usage-restore-no-zone", "pvc restore karakeep/data-pvc --as-of 2026-11-01", 2},
		{"usage-restore-many", "pvc restore -A --snapshot k1a2", 2},
		{"pvc-restore-offline", "pvc restore karakeep/data-pvc --offline", 2},
		{"pvc-files", "pvc files karakeep/data-pvc", 0},
		{"pvc-files-wide", "pvc files karakeep/data-pvc -R -o wide --previous 1", 0},
		{"pvc-files-json", "pvc files karakeep/data-pvc assets -o json", 0},
		{"pvc-files-name", "pvc files karakeep/data-pvc -R -o name", 0},
		{"pvc-files-incomplete", "pvc files karakeep/data-pvc --snapshot k4", 0},
		{"pvc-files-none", "pvc files karakeep/data-pvc nothing", 1},
		{"pvc-files-too-old", "pvc files karakeep/data-pvc --as-of 2026-11-01T00:00:00Z", 1},
		{"pvc-extract-previous", "pvc extract karakeep/data-pvc --output-dir out --previous 7", 1},
		{"usage-files-two-choices", "pvc files karakeep/data-pvc --snapshot k1a2 --previous 1", 2},
		{"usage-files-no-zone", "pvc files karakeep/data-pvc --as-of 2026-11-01", 2},
		{"usage-files-outside", "pvc files karakeep/data-pvc ../other", 2},
		{"usage-extract-nowhere", "pvc extract karakeep/data-pvc", 2},
		{"usage-extract-parallel", "pvc extract karakeep/data-pvc --output-dir out --parallel 0", 2},
		{"pvc-snapshots-none", "pvc snapshots karakeep/nothing", 1},
		{"cnpg-list", "cnpg list", 0},
		{"cnpg-list-wide", "cnpg list -o wide", 0},
		{"cnpg-list-json", "cnpg list -o json", 0},
		{"cnpg-backups", "cnpg backups immich", 0},
		{"cnpg-backups-wide", "cnpg backups immich -o wide", 0},
		{"cnpg-backups-json", "cnpg backups immich -o json", 0},
		{"usage-unknown-command", "pcv", 2},
		{"usage-unknown-child", "pvc lst", 2},
		{"usage-unknown-flag", "pvc list --nope", 2},
		{"usage-format", "pvc list -o xml", 2},
		{"usage-selector", "pvc list -l ===", 2},
		{"usage-argument", "pvc list extra", 2},
		{"usage-no-name", "pvc snapshots", 2},
		{"usage-name-and-all", "pvc snapshots karakeep/data-pvc -A", 2},
		{"usage-all-and-namespace", "pvc list -A -n karakeep", 2},
		{"usage-bad-name", "pvc snapshots a/b/c", 2},
		{"usage-no-database", "cnpg backups", 2},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			code, out, errs := answer(t, newFakeWiring(), strings.Fields(c.args)...)
			require.Equal(t, c.code, code, errs)
			golden(t, c.golden, "$ drctl "+c.args+"\n"+out+"--- stderr\n"+errs)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update")
	require.Equal(t, string(want), got)
}

func TestHelpFitsOneScreen(t *testing.T) {
	_, out, _ := answer(t, newFakeWiring(), "--help")
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	require.LessOrEqual(t, len(lines), 24)
	for _, line := range lines {
		require.LessOrEqual(t, len([]rune(line)), 80, line)
	}
}

func TestEveryCommandHasExamplesAndExitCodes(t *testing.T) {
	settings := &command.Settings{Kube: genericclioptions.NewConfigFlags(false)}
	root := NewRoot(&command.Factory{Settings: settings, Wiring: newFakeWiring()}, Version{}, "drctl")
	leaves := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !cmd.HasSubCommands() && cmd.Name() != "no-help" {
			leaves++
			require.NotEmpty(t, cmd.Example, cmd.CommandPath())
			require.Contains(t, cmd.UsageString(), "Exit codes: 0 ok", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(root)
	require.Greater(t, leaves, 9, "the four shells' completion too")
}

func TestGapsEndInThree(t *testing.T) {
	broken := &recovery.Problem{What: "read index blob x1", Why: "it is corrupt", Next: "kopia index recover", Err: recovery.ErrDamaged}
	for _, args := range []string{"pvc list", "pvc snapshots -A", "pvc files karakeep/data-pvc", "cnpg list", "cnpg backups immich"} {
		fake := newFakeWiring()
		fake.gap = broken
		code, out, errs := answer(t, fake, strings.Fields(args)...)
		require.Equal(t, command.ExitPartial, code, args)
		require.NotEmpty(t, out, "what could be read is printed")
		require.Equal(t, 1, strings.Count(errs, "Warning: read index blob x1: it is corrupt (kopia index recover)"), errs)
	}
}

func TestFailures(t *testing.T) {
	for _, args := range []string{"pvc list", "pvc snapshots -A", "cnpg list", "cnpg backups immich"} {
		fake := newFakeWiring()
		fake.err = &recovery.Problem{What: "it failed", Err: recovery.ErrUnreachable}
		code, out, _ := answer(t, fake, strings.Fields(args)...)
		require.Equal(t, command.ExitFailed, code, args)
		require.Empty(t, out)
		fake.err = context.Canceled
		code, _, _ = answer(t, fake, strings.Fields(args)...)
		require.Equal(t, command.ExitCancelled, code, args)
	}
}

func TestCompletion(t *testing.T) {
	cases := map[string]string{
		"pvc list -n ":                           "karakeep\nimmich\n:4\n",
		"pvc list --context ":                    "prod\n:4\n",
		"pvc snapshots ":                         "karakeep/data-pvc\n:4\n",
		"cnpg backups ":                          "immich-database\n:4\n",
		"cnpg backups immich ":                   "20261123T020000\n:4\n",
		"cnpg backups --destination-path s3:// ": "20261123T020000\n:4\n",
		"pvc list -o ":                           "table\nwide\njson\nyaml\nname\n:4\n",
	}
	for line, want := range cases {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		code, out, errs := answer(t, newFakeWiring(), args...)
		require.Equal(t, 0, code, errs)
		require.Equal(t, want, out, line)
	}
}

func TestAsKubectlPlugin(t *testing.T) {
	settings := &command.Settings{Kube: genericclioptions.NewConfigFlags(false)}
	root := NewRoot(&command.Factory{Settings: settings, Wiring: newFakeWiring()}, Version{}, "kubectl-dr")
	require.Contains(t, root.UsageString(), "kubectl dr COMMAND")
}
