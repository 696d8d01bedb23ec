package flip

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// fakeArchive is Barman's catalog.
type fakeArchive struct{ w *world }

func (w *world) server(name string) *server {
	if w.Servers[name] == nil {
		w.Servers[name] = &server{Kept: map[string]bool{}}
	}
	return w.Servers[name]
}

func (a fakeArchive) Choose(ctx context.Context, place Place, q BackupChoice) (Chosen, recovery.Gaps, error) {
	_, err := a.w.call(ctx, "choose")
	a.w.choice = q
	if err == nil && a.w.reach.Gap != nil && !q.AcceptGap {
		err = &recovery.Problem{What: "recover everything that " + place.Server + " holds", Why: "WAL is missing", Next: "--accept-wal-gap", Err: recovery.ErrDamaged}
	}
	var servers []recovery.Server
	for _, key := range sorted(a.w.Servers) {
		servers = append(servers, recovery.Server{Name: key, Backups: []recovery.Backup{a.w.backup}, WAL: recovery.WAL{SizeBytes: 1 << 30}})
	}
	return Chosen{Backup: a.w.backup, Reach: a.w.reach, Warnings: a.w.warnings, Servers: servers}, nil, err
}

func (a fakeArchive) Empty(ctx context.Context, place Place) (bool, string, error) {
	_, err := a.w.call(ctx, "empty")
	found := a.w.Servers[place.Server]
	return found == nil || (!found.WAL && found.Newest == nil), "41 WAL segments", err
}

func (a fakeArchive) Kept(ctx context.Context, place Place, backupID string) (bool, error) {
	_, err := a.w.call(ctx, "kept")
	return a.w.Servers[place.Server].Kept[backupID], err
}

func (a fakeArchive) Keep(ctx context.Context, place Place, backupID string) error {
	end, err := a.w.call(ctx, "keep")
	if err == nil {
		a.w.Servers[place.Server].Kept[backupID] = true
		end()
	}
	return err
}

func (a fakeArchive) Unkeep(ctx context.Context, place Place, backupID string) error {
	end, err := a.w.call(ctx, "unkeep")
	if err == nil {
		delete(a.w.Servers[place.Server].Kept, backupID)
		end()
	}
	return err
}

func (a fakeArchive) Judge(_ recovery.Reach, _ time.Time, history string) (Result, string) {
	switch {
	case a.w.readFork != nil:
		return Unknown, a.w.readFork.Error()
	case history == early:
		return Disproved, "forked at 0/5000000, 4 segments early"
	}
	return Proven, "forked at 0/A000000"
}

func (a fakeArchive) NewestDone(ctx context.Context, place Place) (*recovery.Backup, error) {
	_, err := a.w.call(ctx, "newest-done")
	if found := a.w.Servers[place.Server]; found != nil {
		return found.Newest, err
	}
	return nil, err
}

// fakeRenderer knows these manifests.
type fakeRenderer struct{}

func (fakeRenderer) Recovery(raw json.RawMessage, o RenderOptions) (json.RawMessage, []string, error) {
	m := manifestOf(raw)
	m.Bootstrap, m.Plan, m.Source, m.Backup, m.Server = "recovery", o.PlanID, o.SourceServer, o.BackupID, o.ArchiveServer
	if o.NewName != "" {
		m.Name = o.NewName
	}
	if !o.TargetTime.IsZero() {
		m.Target = o.TargetTime.Format(time.RFC3339)
	}
	return m.raw(), nil, nil
}

func (fakeRenderer) Settled(raw json.RawMessage, server string) (json.RawMessage, error) {
	m := manifestOf(raw)
	m.Bootstrap, m.Source, m.Backup, m.Target, m.Plan, m.Server = "initdb", "", "", "", "", server
	return m.raw(), nil
}

func (fakeRenderer) Describe(raw json.RawMessage) (Described, error) {
	m := manifestOf(raw)
	return Described{
		Namespace: m.Namespace, Name: m.Name, WriteServer: m.Server, Database: m.Database, Bootstrap: m.Bootstrap, StorageClass: m.Class,
		RecoveredServer: m.Source, RecoveredBackup: m.Backup, RecoveredTarget: m.Target,
	}, nil
}

func (fakeRenderer) NextServer(string, []string) string { return v2 }

func (fakeRenderer) Explain(log string) (cause, fix string, ok bool) {
	return "write serverName reused", "take the next clean one", strings.Contains(log, "Expected empty archive")
}

func (fakeRenderer) Progress(log string) string { return log }

func (fakeRenderer) DropsTimelines(image string) (bool, string) {
	return strings.HasSuffix(image, ":1.28.0"), "operator 1.28.0 drops timelines on recovery"
}
