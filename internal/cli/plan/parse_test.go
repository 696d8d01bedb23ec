package plancmd

import (
	"context"
	"io"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

func parse(t *testing.T, cmd *cobra.Command, args ...string) error {
	t.Helper()
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	return cmd.ExecuteContext(t.Context())
}

func factory() *command.Factory {
	return &command.Factory{Settings: &command.Settings{Kube: genericclioptions.NewConfigFlags(false)}}
}

func TestParsePlans(t *testing.T) {
	var got *plansOptions
	fresh := func() *cobra.Command {
		return newPlans(factory(), func(_ context.Context, o *plansOptions) error { got = o; return nil })
	}
	require.NoError(t, parse(t, fresh()))
	require.Empty(t, got.id)
	require.False(t, got.all)
	require.NoError(t, parse(t, fresh(), "p-1", "--all", "-o", "json"))
	require.Equal(t, "p-1", got.id)
	require.True(t, got.all)
	require.Equal(t, ui.FormatJSON, got.output.Format)
	require.ErrorIs(t, parse(t, fresh(), "a", "b"), recovery.ErrUsage)
	require.ErrorIs(t, parse(t, fresh(), "-o", "xml"), recovery.ErrUsage)
}

func TestParseResumeAndAbort(t *testing.T) {
	var got *resumeOptions
	run := func(_ context.Context, o *resumeOptions) error { got = o; return nil }
	for _, fresh := range []func() *cobra.Command{
		func() *cobra.Command { return newResume(factory(), run) }, func() *cobra.Command { return newAbort(factory(), run) },
	} {
		require.NoError(t, parse(t, fresh()))
		require.Empty(t, got.id)
		require.False(t, got.takeover)
		require.NoError(t, parse(t, fresh(), "p-1", "--takeover"))
		require.Equal(t, "p-1", got.id)
		require.True(t, got.takeover)
		require.ErrorIs(t, parse(t, fresh(), "a", "b"), recovery.ErrUsage)
	}
	require.NoError(t, parse(t, newAbort(factory(), run), "--give-up"))
	require.True(t, got.giveUp)
	require.ErrorContains(t, parse(t, newResume(factory(), run), "--give-up"), "unknown flag", "there is nothing to go on with")
	require.ErrorIs(t, parse(t, newResume(factory(), run), "-o", "xml"), recovery.ErrUsage)
}
