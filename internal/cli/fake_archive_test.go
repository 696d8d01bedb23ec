package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/recovery"
)

type fakeArchive struct{ *fakePlatform }

func (fakeArchive) Choose(_ context.Context, _ flip.Place, q flip.BackupChoice) (flip.Chosen, recovery.Gaps, error) {
	backup := recovery.Backup{
		ID: "20261123T020000", Status: "DONE", Timeline: 1, SystemID: system, SizeBytes: 3 << 30, EndTime: noon.Add(-9*time.Hour - 58*time.Minute), Restorable: true,
		Reasons: []string{},
	}
	chosen := flip.Chosen{Backup: backup, Reach: recovery.Reach{
		Timeline: 1, Segment: "000000010000000000000009", EndLSN: 0xA000000, ArrivedAt: noon.Add(-4 * time.Minute), SegmentSizeBytes: 16 << 20,
	}, Servers: []recovery.Server{{Name: oldServer, Backups: []recovery.Backup{backup}, WAL: recovery.WAL{SizeBytes: 9 << 30}}}}
	if q.AcceptGap {
		chosen.Reach.Gap = &recovery.WALGap{Timeline: 1, After: chosen.Reach.Segment, Missing: 2}
	}
	return chosen, nil, nil
}
func (fakeArchive) Empty(context.Context, flip.Place) (bool, string, error) { return true, "", nil }
func (a fakeArchive) Kept(context.Context, flip.Place, string) (bool, error) {
	return a.kept, nil
}
func (a fakeArchive) Keep(context.Context, flip.Place, string) error {
	a.kept = true
	return a.change("keep")
}
func (a fakeArchive) Unkeep(context.Context, flip.Place, string) error {
	a.kept = false
	return a.change("unkeep")
}
func (fakeArchive) Judge(recovery.Reach, time.Time, string) (flip.Result, string) {
	return flip.Proven, "forked at 0/A000000: no recovery target specified"
}
func (a fakeArchive) NewestDone(context.Context, flip.Place) (*recovery.Backup, error) {
	return a.newest, nil
}

type fakeRenderer struct{}

func (fakeRenderer) Recovery(_ json.RawMessage, o flip.RenderOptions) (json.RawMessage, []string, error) {
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "postgresql.cnpg.io/v1", "bootstrap": "recovery", "server": o.ArchiveServer, "source": o.SourceServer, "backup": o.BackupID, "plan": o.PlanID,
	})
	return manifest, nil, err
}
func (fakeRenderer) Settled(_ json.RawMessage, server string) (json.RawMessage, error) {
	return fakeManifest("initdb", server), nil
}
func (fakeRenderer) Describe(raw json.RawMessage) (flip.Described, error) {
	var m struct{ Bootstrap, Server, Source, Backup string }
	err := json.Unmarshal(raw, &m)
	return flip.Described{WriteServer: m.Server, Bootstrap: m.Bootstrap, Database: "immich", StorageClass: "longhorn", RecoveredServer: m.Source, RecoveredBackup: m.Backup}, err
}
func (fakeRenderer) NextServer(string, []string) string          { return newServer }
func (fakeRenderer) Explain(string) (cause, fix string, ok bool) { return "", "", false }
func (fakeRenderer) Progress(string) string                      { return "" }
func (fakeRenderer) DropsTimelines(string) (bool, string)        { return false, "" }

type fakeGit struct{ *fakePlatform }

func (fakeGit) Check(context.Context) (flip.GitState, error) {
	return flip.GitState{Directory: "/home/ada/src/platform", Branch: "main", Remote: "origin", Head: "c0"}, nil
}
func (fakeGit) Preview(_ context.Context, _, _, from, to string) (json.RawMessage, string, error) {
	if from == to {
		return fakeManifest("initdb", to), "", nil
	}
	diff := fmt.Sprintf("--- a/cnpg/cluster.yaml\n+++ b/cnpg/cluster.yaml\n@@ -31,1 +31,1 @@\n-        serverName: %s\n+        serverName: %s\n", from, to)
	return fakeManifest("initdb", to), diff, nil
}
func (g fakeGit) Commit(_ context.Context, _, _, _, _, to string) (string, error) {
	g.tree = to
	return "c1", g.change("commit")
}
func (g fakeGit) Committed(context.Context, string) (string, error) {
	if g.tree == oldServer {
		return "", nil
	}
	return "c1", nil
}
func (g fakeGit) Undo(context.Context, string) error {
	g.tree = oldServer
	return g.change("undo-commit")
}
func (g fakeGit) Push(context.Context, string) error {
	g.remote = g.tree
	return g.change("push")
}
func (g fakeGit) Pushed(context.Context, string) (bool, error) { return g.remote == g.tree, nil }
func (g fakeGit) Remote(context.Context, string, string) (string, json.RawMessage, error) {
	return "c1", fakeManifest("initdb", g.remote), nil
}

type fakeArgo struct{ *fakePlatform }

func (a fakeArgo) Owner(context.Context, string, string) (*recovery.Application, error) {
	if a.bare {
		return nil, nil
	}
	return &recovery.Application{Namespace: "argocd", Name: "immich-db", RepoURL: "https://git.example/platform.git", AutoSync: true}, nil
}
func (fakeArgo) Busy(context.Context, recovery.Application, string) (bool, error) { return false, nil }
func (fakeArgo) Terminate(context.Context, recovery.Application, string) error    { return nil }
func (a fakeArgo) Sync(context.Context, recovery.Application, string) error {
	a.synced = true
	return a.change("sync")
}
func (a fakeArgo) Synced(context.Context, recovery.Application, string) (done, asked bool, why string, err error) {
	return a.synced, a.synced, "OutOfSync", nil
}
