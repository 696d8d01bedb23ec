package cnpgcmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

type verifyOptions struct {
	factory         *command.Factory
	output          command.Output
	name, verifySQL string
}

func newVerify(f *command.Factory, run func(context.Context, *verifyOptions) error) *cobra.Command {
	o := &verifyOptions{factory: f}
	cmd := &cobra.Command{
		Use:   "verify NAME",
		Short: "Prove or disprove that a database was recovered",
		Long: `Prove a recovery by what PostgreSQL and S3 show, not by what a status says: system identifier, timeline,
the position where the new timeline forked, rows, volumes, archiving, and a finished backup of its own.

Each check is proven, disproved or unknown. Exit code 0: all are proven; 5: something is disproved;
3: something could not be told.`,
		Example: `  drctl cnpg verify immich
  drctl cnpg verify immich --verify-sql 'select count(*) from "user"' -o json`,
		Args: command.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if err := o.output.Validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
		ValidArgsFunction: completeDatabases(f),
	}
	cmd.Flags().StringVar(&o.verifySQL, "verify-sql", "", "rows count as proven only when this gives rows, and neither 0 nor f")
	o.output.AddFlag(cmd)
	return cmd
}

func completeDatabases(f *command.Factory) cobra.CompletionFunc {
	return command.Complete(1, func(cmd *cobra.Command, _ []string) ([]string, error) {
		return f.Wiring.DatabaseNames(cmd.Context(), f.Settings.Namespace())
	})
}

func verifyRun(ctx context.Context, o *verifyOptions) error {
	f := o.factory
	use, err := f.Wiring.Flip(ctx)
	if err != nil {
		return err
	}
	if use.Cluster == nil {
		return needsCluster("verify")
	}
	done := f.Streams.Working("asking PostgreSQL and S3")
	report, err := verify(ctx, o, use)
	done()
	if err != nil {
		return err
	}
	if err := f.Streams.Print(o.output.Format, reportView(f.Streams, report)); err != nil {
		return err
	}
	switch report.Result {
	case flip.Unknown:
		return recovery.ErrPartial
	case flip.Disproved:
		if report.HasUnknown() {
			return recovery.ErrPartial
		}
		return command.ErrFindings
	}
	return nil
}

func verify(ctx context.Context, o *verifyOptions, use *flip.Flip) (*flip.VerifyReport, error) {
	live, db, err := use.Locate(ctx, o.factory.Settings.Namespace(), o.name)
	if err != nil {
		return nil, err
	}
	known, err := knownOf(o.factory.Wiring.Plans(), live)
	if err != nil {
		return nil, err
	}
	return use.Verify(ctx, live, db, known, o.verifySQL)
}

// knownOf finds the plan that made the Cluster, on this computer; nil without one.
func knownOf(store *operation.Store, live *recovery.LiveCluster) (*flip.Known, error) {
	if live.PlanID == "" {
		return nil, nil
	}
	plan, facts, err := store.Read(live.PlanID)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	params, err := flip.ParamsOf(&plan)
	if err != nil {
		return nil, err
	}
	return &flip.Known{PlanID: plan.ID, Params: params, UID: facts[flip.FactUID]}, nil
}

func reportView(streams ui.Streams, report *flip.VerifyReport) ui.View {
	names := make([]string, 0, len(report.Checks))
	for _, check := range report.Checks {
		names = append(names, check.Name)
	}
	return ui.View{Data: report, Names: names, Table: func(w io.Writer, _ bool) error {
		table := ui.NewTable("Nothing was checked.", "CHECK", "RESULT", "OBSERVED", "EXPECTED")
		for _, check := range report.Checks {
			table.Row(check.Name, streams.Paint(tone(check.Result), string(check.Result)), check.Observed, check.Expected)
		}
		if err := table.Within(streams.Width).Write(w); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\n%s/%s: %s\n", report.Namespace, report.Name, streams.Paint(tone(report.Result), string(report.Result)))
		return err
	}}
}

func tone(result flip.Result) ui.Tone {
	switch result {
	case flip.Proven:
		return ui.Good
	case flip.Disproved:
		return ui.Bad
	}
	return ui.Caution
}
