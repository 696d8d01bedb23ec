package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	oldServer = "immich-database-v1"
	newServer = "immich-database-v2"
)

// fakePlatform is a platform on which a recovery simply works, and that can lie about its result. Its
// manifests are "BOOTSTRAP SERVER".
type fakePlatform struct {
	live    *recovery.LiveCluster
	volumes []recovery.Volume
	backups []recovery.BackupObject
	tree    string
	remote  string
	fenced  bool
	kept    bool
	paused  bool
	synced  bool
	// rows and system are what PostgreSQL answers, newest what S3 holds of the new server.
	rows, system string
	newest       *recovery.Backup
	// changed are the calls that changed something.
	changed []string
	// stop fails the call of that name.
	stop string
	// bare: Argo CD and Git know nothing of it.
	bare bool
}

const system = "7412345678901234567"

func newFakePlatform() *fakePlatform {
	p := &fakePlatform{tree: oldServer, remote: oldServer, rows: "18239", system: system}
	p.live = &recovery.LiveCluster{
		Namespace: "cloudnative-pg", Name: "immich-database", UID: "0d3c1c7e-old", Bootstrap: "initdb", WriteServer: oldServer, Phase: "Cluster in healthy state",
		Ready: true, Primary: "immich-database-1", Archiving: "true", StopDelay: 30 * time.Minute, Manifest: fakeManifest("initdb", oldServer),
	}
	p.volumes = fakeVolumes("old", p.live.UID)
	return p
}

func fakeManifest(bootstrap, server string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"apiVersion":"postgresql.cnpg.io/v1","bootstrap":%q,"server":%q}`, bootstrap, server))
}

func fakeVolumes(generation, owner string) []recovery.Volume {
	volume := func(claim, name string, size int64) recovery.Volume {
		return recovery.Volume{
			Claim: claim, ClaimUID: "claim-" + name + "-" + generation, OwnerUID: owner, Name: "pvc-" + name + "-" + generation, ReclaimPolicy: "Delete",
			SizeBytes: size, StorageClass: "longhorn", AccessModes: []string{"ReadWriteOnce"},
		}
	}
	return []recovery.Volume{volume("immich-database-1", "5f1c", 20<<30), volume("immich-database-1-wal", "8a02", 2<<30)}
}

func (p *fakePlatform) flip() *flip.Flip {
	f := &flip.Flip{
		Find: func(context.Context, cnpg.BackupQuery) (recovery.Database, recovery.Gaps, error) {
			return recovery.Database{
				Namespace: "cloudnative-pg", Name: "immich-database", ServerName: oldServer, Store: recovery.ObjectStore{DestinationPath: "s3://postgres-backups/cnpg/immich"},
			}, nil, nil
		},
		Cluster: fakeCluster{fakePlatform: p}, Fence: fakeFence{p}, Archive: fakeArchive{p}, Render: fakeRenderer{}, Git: fakeGit{p}, Argo: fakeArgo{p},
		Now: func() time.Time { return noon },
	}
	if p.bare {
		f.Git = nil
	}
	return f
}

// change counts a change, and fails it where that is asked for.
func (p *fakePlatform) change(call string) error {
	if p.stop == call {
		return &recovery.Problem{What: call, Why: "the API server refuses it", Err: recovery.ErrDenied}
	}
	p.changed = append(p.changed, call)
	return nil
}

// fakeCluster embeds the interface for what no test reaches.
type fakeCluster struct {
	flip.Cluster
	*fakePlatform
}

func (fakeCluster) Identity(context.Context) (flip.Identity, error) {
	return flip.Identity{ClusterUID: "cluster-1", Server: "https://10.0.0.10:6443", Context: "home"}, nil
}
func (c fakeCluster) Find(_ context.Context, _, name string) (*recovery.LiveCluster, error) {
	if name != "immich-database" {
		return nil, nil
	}
	return c.live, nil
}
func (c fakeCluster) Volumes(context.Context, string, string) ([]recovery.Volume, error) {
	return append([]recovery.Volume(nil), c.volumes...), nil
}
func (c fakeCluster) SetReclaimPolicy(_ context.Context, volume, _, policy string) error {
	for i := range c.volumes {
		if c.volumes[i].Name == volume {
			c.volumes[i].ReclaimPolicy = policy
		}
	}
	return c.change("set-policy")
}
func (fakeCluster) OwnedSecrets(context.Context, string, string, string) ([]recovery.OwnedSecret, error) {
	return nil, nil
}
func (c fakeCluster) Schedules(context.Context, string, string) ([]recovery.ScheduledBackup, error) {
	return []recovery.ScheduledBackup{{Name: "nightly", Suspended: c.paused}}, nil
}
func (c fakeCluster) Suspend(_ context.Context, _ string, _ recovery.ScheduledBackup, suspended bool) error {
	c.paused = suspended
	return c.change("suspend")
}
func (c fakeCluster) BackupObjects(context.Context, string, string) ([]recovery.BackupObject, error) {
	return c.backups, nil
}
func (c fakeCluster) RequestBackup(_ context.Context, _, _, name, _ string) error {
	c.backups = append(c.backups, recovery.BackupObject{Name: name, Phase: "completed", Owned: true})
	c.newest = &recovery.Backup{ID: "20261123T121500", Timeline: 2, SystemID: system}
	return c.change("request-backup")
}
func (c fakeCluster) Delete(context.Context, string, string, string) error {
	c.live, c.volumes = nil, nil
	return c.change("delete")
}
func (fakeCluster) Leftovers(context.Context, string, string) ([]recovery.Leftover, error) {
	return nil, nil
}
func (c fakeCluster) Create(_ context.Context, manifest json.RawMessage) (string, error) {
	if err := c.change("create"); err != nil {
		return "", err
	}
	var mark struct{ Plan, Server string }
	if err := json.Unmarshal(manifest, &mark); err != nil {
		return "", err
	}
	c.live = &recovery.LiveCluster{
		Namespace: "cloudnative-pg", Name: "immich-database", UID: "4b7a9e21-new", PlanID: mark.Plan, Bootstrap: "recovery", WriteServer: mark.Server, Ready: true,
		Primary: "immich-database-1", Archiving: "true", Manifest: manifest,
	}
	c.volumes = fakeVolumes("new", c.live.UID)
	return c.live.UID, nil
}
func (fakeCluster) Admit(context.Context, json.RawMessage) error { return nil }
func (c fakeCluster) SQL(_ context.Context, _, _, _, query string) (string, error) {
	switch {
	case strings.Contains(query, "pg_control_system"):
		return c.system, nil
	case strings.Contains(query, "pg_is_in_recovery"):
		return "f|2", nil
	case strings.Contains(query, ".history"):
		return "1\t0/A000000\tno recovery target specified", nil
	case strings.Contains(query, "query_to_xml"):
		return c.rows, nil
	case strings.Contains(query, "pg_class"):
		return "42", nil
	}
	return query, nil
}
func (c fakeCluster) HandBack(_ context.Context, git json.RawMessage) (bool, error) {
	c.live.Bootstrap, c.live.Manifest = "initdb", git
	return true, c.change("hand-back")
}
func (c fakeCluster) HandedBack(context.Context, json.RawMessage) (bool, error) {
	return c.live.Bootstrap == "initdb", nil
}
func (fakeCluster) AdmitAsGitOps(context.Context, json.RawMessage) error { return nil }
func (fakeCluster) FieldsReleased(context.Context, string, string) (bool, error) {
	return true, nil
}
func (fakeCluster) Operator(context.Context) (string, error) { return "", nil }
func (fakeCluster) StorageClasses(context.Context) ([]string, error) {
	return []string{"longhorn"}, nil
}

type fakeFence struct{ *fakePlatform }

func (f fakeFence) Up(context.Context, string, string, string, time.Time) error {
	f.fenced = true
	return f.change("fence-up")
}
func (fakeFence) Prove(context.Context, string, string, string, json.RawMessage) error { return nil }
func (f fakeFence) Standing(context.Context, string, string, string) (bool, error) {
	return f.fenced, nil
}
func (f fakeFence) Left(context.Context, string) (bool, error) { return f.fenced, nil }
func (f fakeFence) Down(context.Context, string, string, string) error {
	f.fenced = false
	return f.change("fence-down")
}

// fakeMirror holds plans of another computer.
type fakeMirror struct {
	plans   []operation.Plan
	journal []byte
	err     error
}

func (m *fakeMirror) Save(context.Context, operation.Plan, []byte) error { return m.err }
func (m *fakeMirror) Load(_ context.Context, id string) (operation.Plan, []byte, error) {
	for _, plan := range m.plans {
		if plan.ID == id {
			return plan, m.journal, m.err
		}
	}
	return operation.Plan{}, nil, recovery.ErrNotFound
}
func (m *fakeMirror) List(context.Context) ([]operation.Plan, error) { return m.plans, m.err }
func (m *fakeMirror) Remove(context.Context, string) error           { return m.err }
