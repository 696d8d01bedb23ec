package pvccmd

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
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

func TestParseExtract(t *testing.T) {
	six := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	query := func(change func(*pvc.FilesQuery)) pvc.FilesQuery {
		q := pvc.FilesQuery{Name: "karakeep/data", Namespace: "karakeep"}
		change(&q)
		return q
	}
	for what, c := range map[string]struct {
		args []string
		want pvc.ExtractOptions
	}{
		"a name": {
			[]string{"karakeep/data", "--output-dir", "out"},
			pvc.ExtractOptions{FilesQuery: query(func(*pvc.FilesQuery) {}), Directory: "out", Parallel: 8},
		},
		"every choice": {
			[]string{"karakeep/data", "a/b", "--output-dir", "out", "--as-of", "2026-11-23T19:00:00+01:00", "--previous", "2", "--overwrite", "--parallel", "3"},
			pvc.ExtractOptions{FilesQuery: query(func(q *pvc.FilesQuery) {
				q.Path, q.Choice = "a/b", pvc.Choice{AsOf: six, Previous: 2}
			}), Directory: "out", Parallel: 3, Overwrite: true},
		},
		"a snapshot": {
			[]string{"karakeep/data", "--output-dir", "out", "--snapshot", "k1"},
			pvc.ExtractOptions{FilesQuery: query(func(q *pvc.FilesQuery) { q.Choice.SnapshotID = "k1" }), Directory: "out", Parallel: 8},
		},
	} {
		t.Run(what, func(t *testing.T) {
			var got *extractOptions
			cmd := newExtract(factory("karakeep"), func(_ context.Context, o *extractOptions) error { got = o; return nil })
			require.NoError(t, parse(t, cmd, c.args...))
			require.True(t, got.extract.Choice.AsOf.Equal(c.want.Choice.AsOf))
			got.extract.Choice.AsOf = c.want.Choice.AsOf // the same moment, written with another zone
			require.Equal(t, c.want, got.extract)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	never := func(context.Context, *extractOptions) error { panic("it must not run") }
	for what, args := range map[string][]string{
		"nothing":             {},
		"no folder":           {"karakeep/data"},
		"three arguments":     {"karakeep/data", "a", "b", "--output-dir", "out"},
		"no name":             {"", "--output-dir", "out"},
		"half a name":         {"karakeep/", "--output-dir", "out"},
		"too many slashes":    {"a/b/c", "--output-dir", "out"},
		"no zone":             {"karakeep/data", "--output-dir", "out", "--as-of", "2026-11-23T18:00:00"},
		"the future":          {"karakeep/data", "--output-dir", "out", "--previous", "-1"},
		"two choices":         {"karakeep/data", "--output-dir", "out", "--snapshot", "k1", "--as-of", "2026-11-23T18:00:00Z"},
		"out of the snapshot": {"karakeep/data", "a/../..", "--output-dir", "out"},
		"too many at once":    {"karakeep/data", "--output-dir", "out", "--parallel", "65"},
		"a format unheard of": {"karakeep/data", "--output-dir", "out", "-o", "xml"},
	} {
		t.Run(what, func(t *testing.T) {
			require.ErrorIs(t, parse(t, newExtract(factory(""), never), args...), recovery.ErrUsage)
		})
	}
	var got *filesOptions
	cmd := newFiles(factory(""), func(_ context.Context, o *filesOptions) error { got = o; return nil })
	require.NoError(t, parse(t, cmd, "user@host:/path", "a", "-R", "-o", "json"))
	require.True(t, got.query.Recursive)
	require.False(t, got.byClaim(), "a source in Kopia's words needs no cluster")
}
