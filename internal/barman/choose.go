package barman

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// ChooseOptions say which backup is wanted.
type ChooseOptions struct {
	// Server is the Barman server to recover from.
	Server string
	// BackupID names a backup; empty for the newest restorable one, before TargetTime where that is set.
	BackupID string
	// TargetTime is the moment to recover to; zero for the latest.
	TargetTime time.Time
}

// Choice is the backup to recover from, and what an operator should know of it.
type Choice struct {
	Server   recovery.Server
	Backup   recovery.Backup
	Warnings []string
}

// Choose picks the backup: the one that is named, else the newest restorable one that had ended by the
// target, else the newest restorable one. It looks at what the catalog says and reads nothing. Whether
// the WAL leads from there to the target is Reach's to say.
//
// A refusal is a Problem: ErrNotFound when there is nothing to recover from, ErrUsage when the options
// ask for what cannot be had.
func Choose(catalog recovery.Catalog, o ChooseOptions) (Choice, error) {
	server, err := chooseServer(catalog, o)
	if err != nil {
		return Choice{}, err
	}
	if err := insideWindow(server, o.TargetTime); err != nil {
		return Choice{Server: server}, err
	}
	backup, err := chooseBackup(catalog, server, o)
	if err != nil {
		return Choice{Server: server}, err
	}
	return Choice{Server: server, Backup: backup, Warnings: choiceWarnings(catalog, server, backup, o)}, nil
}

// Choose is the function Choose with what the same reading of the store knows beyond the catalog: the
// reach of the chosen backup, and whether the target can be reached. A server of which a deciding part
// could not be read is refused.
func (l Lineage) Choose(o ChooseOptions) (Choice, Reach, error) {
	if err := l.Unknown[o.Server]; err != nil {
		return Choice{}, Reach{}, err
	}
	choice, err := Choose(l.Catalog, o)
	if err != nil {
		return choice, Reach{}, err
	}
	reach, known := l.Reaches[BackupRef{choice.Server.Name, choice.Backup.ID}]
	if !known {
		return choice, Reach{}, &recovery.Problem{
			What: "tell how far backup " + choice.Backup.ID + " of " + choice.Server.Name + " reaches",
			Why:  "its WAL segments have another size than those of the newest backup: two databases wrote into one server",
			Next: "look at `drctl cnpg backups`, and name a backup of the other database with --backup-id", Err: recovery.ErrUnsupported,
		}
	}
	return choice, reach, reach.Admits(o.TargetTime)
}

func chooseServer(catalog recovery.Catalog, o ChooseOptions) (recovery.Server, error) {
	var names []string
	for _, server := range catalog.Servers {
		if server.Name == o.Server {
			return server, nil
		}
		names = append(names, server.Name)
	}
	p := &recovery.Problem{
		What: fmt.Sprintf("there is no server %q under %s", o.Server, catalog.DestinationPath), Why: "no server is there at all",
		Next: "check the destination path and the serverName", Err: recovery.ErrNotFound,
	}
	if len(names) > 0 {
		p.Why = "there are " + strings.Join(names, ", ")
		p.Next = "choose one: --source-server-name " + names[len(names)-1]
	}
	return recovery.Server{}, p
}

// insideWindow refuses a target that no backup of the server can reach, by the times alone.
func insideWindow(server recovery.Server, target time.Time) error {
	if target.IsZero() {
		return nil
	}
	var first time.Time
	for _, b := range server.Backups {
		if b.Restorable && (first.IsZero() || b.EndTime.Before(first)) {
			first = b.EndTime
		}
	}
	switch {
	case first.IsZero():
		return nil
	case target.Before(first):
		return outside(target, fmt.Sprintf("the oldest restorable backup of %s ended at %s, and nothing before that can be recovered from it", server.Name, moment(first)),
			fmt.Sprintf("give a later --target-time, or an older server with --source-server-name: `drctl cnpg backups` lists them (for the beginning of %s: --target-time %s)", server.Name, moment(first.Add(time.Second))))
	case target.After(server.WAL.LastTime):
		return outside(target, fmt.Sprintf("the last WAL of %s arrived at %s: nothing that was written after that is in the archive", server.Name, moment(server.WAL.LastTime)),
			"for the latest that there is, leave --target-time out")
	}
	return nil
}

// chooseBackup is the named one, else the newest that fits.
func chooseBackup(catalog recovery.Catalog, server recovery.Server, o ChooseOptions) (recovery.Backup, error) {
	if o.BackupID != "" {
		return namedBackup(catalog, server, o)
	}
	var chosen *recovery.Backup
	for i, b := range server.Backups {
		fits := b.Restorable && (o.TargetTime.IsZero() || !b.EndTime.After(o.TargetTime))
		if fits && (chosen == nil || !b.EndTime.Before(chosen.EndTime)) {
			chosen = &server.Backups[i]
		}
	}
	if chosen == nil {
		return recovery.Backup{}, noneRestorable(catalog, server)
	}
	return *chosen, nil
}

func namedBackup(catalog recovery.Catalog, server recovery.Server, o ChooseOptions) (recovery.Backup, error) {
	at := slices.IndexFunc(server.Backups, func(b recovery.Backup) bool { return b.ID == o.BackupID })
	if at < 0 {
		return recovery.Backup{}, notThatBackup(catalog, server, o.BackupID)
	}
	b := server.Backups[at]
	if !b.Restorable {
		return b, &recovery.Problem{
			What: fmt.Sprintf("backup %s of %s is not restorable", b.ID, server.Name), Why: strings.Join(b.Reasons, "; "),
			Next: instead(server), Err: recovery.ErrUsage,
		}
	}
	if !o.TargetTime.IsZero() && o.TargetTime.Before(b.EndTime) {
		return b, outside(o.TargetTime, fmt.Sprintf("backup %s ended after it, at %s: recovery runs forward only", b.ID, moment(b.EndTime)),
			"leave --backup-id out: the newest backup before the target is taken")
	}
	return b, nil
}

func notThatBackup(catalog recovery.Catalog, server recovery.Server, id string) error {
	p := &recovery.Problem{What: fmt.Sprintf("there is no backup %s in %s", id, server.Name), Next: instead(server), Err: recovery.ErrNotFound}
	for _, other := range catalog.Servers {
		if slices.ContainsFunc(other.Backups, func(b recovery.Backup) bool { return b.ID == id }) {
			p.Why = "it is one of " + other.Name
			p.Next = "recover from that: --source-server-name " + other.Name
		}
	}
	return p
}

func noneRestorable(catalog recovery.Catalog, server recovery.Server) error {
	p := &recovery.Problem{
		What: "there is no restorable backup in " + server.Name, Why: "it holds no backup at all",
		Next: elsewhere(catalog, server), Err: recovery.ErrNotFound,
	}
	if n := len(server.Backups); n > 0 {
		newest := server.Backups[n-1]
		p.Why = fmt.Sprintf("of its %d backups the newest, %s, is not: %s", n, newest.ID, strings.Join(newest.Reasons, "; "))
	}
	return p
}

// elsewhere names the newest other server with something to recover from.
func elsewhere(catalog recovery.Catalog, server recovery.Server) string {
	for _, other := range slices.Backward(catalog.Servers) {
		if other.Name != server.Name && slices.ContainsFunc(other.Backups, func(b recovery.Backup) bool { return b.Restorable }) {
			return "an older state is in another server: --source-server-name " + other.Name
		}
	}
	return "see `drctl cnpg backups` for what is wrong with each"
}

func instead(server recovery.Server) string {
	for _, b := range slices.Backward(server.Backups) {
		if b.Restorable {
			return fmt.Sprintf("the newest restorable one is --backup-id %s; `drctl cnpg backups` lists all", b.ID)
		}
	}
	return "see `drctl cnpg backups`"
}

func outside(target time.Time, why, next string) error {
	return &recovery.Problem{What: "recover to " + moment(target), Why: why, Next: next, Err: recovery.ErrUsage}
}

// moment is a time as --target-time takes it.
func moment(at time.Time) string { return at.UTC().Format(time.RFC3339) }
