package cnpgcmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

func catalogView(streams ui.Streams, catalog *cnpg.BackupCatalog) ui.View {
	var names []string
	for _, server := range catalog.Servers {
		for _, backup := range server.Backups {
			names = append(names, server.Name+"/"+backup.ID)
		}
	}
	return ui.View{
		Data: catalog, Names: names,
		Table: func(w io.Writer, wide bool) error { return writeCatalog(w, streams, catalog, wide) },
	}
}

func writeCatalog(w io.Writer, streams ui.Streams, catalog *cnpg.BackupCatalog, wide bool) error {
	if len(catalog.Servers) == 0 {
		_, err := fmt.Fprintln(w, "No backup servers below "+catalog.DestinationPath+".")
		return err
	}
	for i, server := range catalog.Servers {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := writeServer(w, streams, catalog, server, wide); err != nil {
			return err
		}
	}
	return nil
}

func writeServer(w io.Writer, streams ui.Streams, catalog *cnpg.BackupCatalog, server recovery.Server, wide bool) error {
	title := "Server " + server.Name
	if server.Name == catalog.ServerName {
		title += " (in use)"
	}
	window := streams.Paint(ui.Bad, "nothing can be recovered")
	if server.RecoveryWindow != nil && !server.RecoveryWindow.IsZero() {
		window = "recoverable from " + ui.Minute(server.RecoveryWindow.From) + " to at most " + ui.Minute(server.RecoveryWindow.To)
	}
	if _, err := fmt.Fprintf(w, "%s\n  %s\n", title, window); err != nil {
		return err
	}
	heads := []string{"BACKUP", "STATUS", "END", "SIZE", "TL", "RESTORABLE"}
	if wide {
		heads = append(heads, "NAME", "SYSTEM ID", "BEGIN WAL", "END WAL", "PG", "KEPT")
	}
	table := ui.NewTable("No base backups.", heads...)
	for _, backup := range server.Backups {
		table.Row(backupCells(streams, backup, wide)...)
	}
	if err := table.Within(streams.Width).Write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, describeWAL(streams, server.WAL))
	return err
}

func backupCells(streams ui.Streams, backup recovery.Backup, wide bool) []string {
	verdict := streams.Paint(ui.Good, "yes")
	if backup.Kept {
		verdict += ", kept"
	}
	if !backup.Restorable {
		verdict = streams.Paint(ui.Bad, "no")
	}
	row := []string{backup.ID, backup.Status, ui.Minute(backup.EndTime), ui.Size(backup.SizeBytes), fmt.Sprint(backup.Timeline), verdict}
	if wide {
		row = append(row, backup.Name, backup.SystemID, backup.BeginWAL, backup.EndWAL, fmt.Sprint(backup.PostgresVersion), backup.KeepTarget)
	}
	return row
}

// describeWAL are the two lines below a server's backups.
func describeWAL(streams ui.Streams, wal recovery.WAL) string {
	if wal.SegmentCount == 0 {
		return "  WAL: none"
	}
	parts := []string{fmt.Sprintf("%s segments (%s)", ui.Count(wal.SegmentCount), ui.Size(wal.SizeBytes))}
	if len(wal.Timelines) > 1 {
		parts = append(parts, fmt.Sprintf("%d timelines", len(wal.Timelines)))
	}
	if len(wal.Gaps) == 0 {
		parts = append(parts, streams.Paint(ui.Good, "no gaps"))
	} else {
		first := wal.Gaps[0]
		parts = append(parts, streams.Paint(ui.Bad, fmt.Sprintf("%s (%d missing behind %s)", plural(len(wal.Gaps), "gap"), first.Missing, first.After)))
	}
	if len(wal.MissingHistory) > 0 {
		parts = append(parts, streams.Paint(ui.Bad, "missing "+strings.Join(wal.MissingHistory, ", ")))
	}
	if len(wal.Partials) > 0 {
		parts = append(parts, plural(len(wal.Partials), "partial segment"))
	}
	return "  WAL: " + strings.Join(parts, ", ") + "\n  last: " + wal.Last + ", arrived " + ui.Minute(wal.LastTime)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// warnCatalog says on stderr what the table has no room for. The last gaps of the catalog's own
// warnings are left to Finish, which prints them anyway.
func warnCatalog(streams ui.Streams, catalog *cnpg.BackupCatalog, gaps int) {
	own := catalog.Warnings
	if len(own) >= gaps {
		own = own[:len(own)-gaps]
	}
	for _, warning := range own {
		streams.Warn("%s", warning)
	}
	for _, server := range catalog.Servers {
		for _, warning := range server.Warnings {
			streams.Warn("%s: %s", server.Name, warning)
		}
	}
}
