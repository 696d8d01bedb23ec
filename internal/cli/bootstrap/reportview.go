package bootstrapcmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// printReport is the end: 3 when a person still has to see to something.
func printReport(f *command.Factory, format ui.Format, r *bootstrap.Report) error {
	names := make([]string, 0, len(r.Applications))
	for _, app := range r.Applications {
		names = append(names, app.Name)
	}
	err := f.Streams.Print(format, ui.View{Data: r, Names: names, Table: func(w io.Writer, _ bool) error { return writeReport(w, f.Streams, r) }})
	if err != nil || r.Whole() {
		return err
	}
	var parts []string
	if !r.Healthy {
		parts = append(parts, "not every Application is healthy")
	}
	if len(r.Databases) > 0 {
		parts = append(parts, "databases came up empty although they have backups")
	}
	if len(r.EmptyClaims) > 0 {
		parts = append(parts, "claims came up empty although they have backups")
	}
	if len(r.Unknown) > 0 {
		parts = append(parts, "not everything could be looked at")
	}
	next := ""
	if len(r.Next) > 0 {
		next = r.Next[0]
	}
	return &recovery.Problem{What: "the platform is not whole yet", Why: strings.Join(parts, "; "), Next: next, Err: recovery.ErrPartial}
}

func writeReport(w io.Writer, streams ui.Streams, r *bootstrap.Report) error {
	table := ui.NewTable("There is no Application.", "WAVE", "APPLICATION", "SYNC", "HEALTH", "STATE", "MESSAGE")
	for _, app := range r.Applications {
		state := ""
		if app.State != "Healthy" {
			state = streams.Paint(ui.Caution, app.State)
		}
		table.Row(fmt.Sprint(app.Wave), app.Name, app.Sync, app.Health, state, app.Message)
	}
	if err := table.Within(streams.Width).Write(w); err != nil {
		return err
	}
	var b strings.Builder
	writeHead(&b, streams, r)
	for _, blocker := range r.Blockers {
		fmt.Fprintf(&b, "%s %s\n  → %s\n", streams.Paint(ui.Bad, "✗"), ui.Fold(blocker.Application+": "+blocker.What, 2, streams.Width), ui.Fold(blocker.Fix, 4, streams.Width))
	}
	for _, database := range r.Databases {
		fmt.Fprintf(&b, "%s %s\n    %s\n", streams.Paint(ui.Bad, "✗"), ui.Fold(fmt.Sprintf("database %s/%s came up EMPTY; S3 holds %s, the newest of %s. Recover it:",
			database.Namespace, database.Name, restorable(database.Restorable), ui.Minute(database.Newest)), 2, streams.Width), database.Command)
	}
	for _, claim := range r.EmptyClaims {
		fmt.Fprintf(&b, "%s %s\n    %s\n", streams.Paint(ui.Bad, "✗"), ui.Fold(fmt.Sprintf("claim %s/%s came up EMPTY; the repository holds snapshots of %s. Restore it:",
			claim.Namespace, claim.Name, claim.Backup), 2, streams.Width), claim.Command)
	}
	for _, unknown := range r.Unknown {
		fmt.Fprintf(&b, "%s %s\n", streams.Paint(ui.Caution, "?"), ui.Fold(unknown, 2, streams.Width))
	}
	b.WriteString("Next\n")
	for _, next := range r.Next {
		b.WriteString("  " + next + "\n") // commands are not folded: they are there to be copied
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func restorable(n int) string {
	if n == 1 {
		return "1 restorable backup"
	}
	return fmt.Sprintf("%d restorable backups", n)
}

func writeHead(b *strings.Builder, streams ui.Streams, r *bootstrap.Report) {
	seconds := func(n int64) string { return ui.Age(time.Duration(n) * time.Second) }
	b.WriteString("\n")
	switch {
	case r.Healthy && !r.Changed:
		fmt.Fprintf(b, "%s Nothing was changed; every Application is Synced and Healthy.\n", streams.Paint(ui.Good, "✓"))
	case r.Healthy:
		fmt.Fprintf(b, "%s The platform is up: Argo CD after %s, every wave after %s.\n", streams.Paint(ui.Good, "✓"), seconds(r.ReadySeconds), seconds(r.HealthySeconds))
	default:
		fmt.Fprintf(b, "%s Not every Application is Synced and Healthy.\n", streams.Paint(ui.Bad, "✗"))
	}
	if c := r.Claims; c.Restored+c.Restoring+c.New > 0 {
		fmt.Fprintf(b, "  claims with a backup label: %d restored from a backup, %d being restored, %d new and empty\n", c.Restored, c.Restoring, c.New)
	}
}
