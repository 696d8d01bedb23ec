package cli

import (
	"context"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// fakeWiring gives the use cases a small platform; with gap everything has a gap, with err nothing
// can be opened.
type fakeWiring struct {
	fakeCompleter
	gap *recovery.Problem
	err error
	// plans is the folder of plans, empty for none.
	plans string
	// platform is what is recovered, nil for none; with offline no cluster is asked.
	platform *fakePlatform
	offline  bool
	mirror   *fakeMirror
	fences   []command.StandingFence
	// broken is a file that can't be read out of any snapshot.
	broken string
}

func newFakeWiring() *fakeWiring { return &fakeWiring{} }

func (f *fakeWiring) PVC(_ context.Context, inventory bool) (*pvc.Lister, recovery.Gaps, error) {
	l := &pvc.Lister{Repository: fakeRepository{f.gaps()}, Rules: fakeRules{}, Now: func() time.Time { return noon }}
	l.Contents = fakeContents{fakeRepository{f.gaps()}, f.broken}
	if inventory {
		l.Inventory = fakeInventory{}
	}
	return l, nil, f.err
}

func (f *fakeWiring) CNPG(context.Context, bool) (*cnpg.Lister, recovery.Gaps, error) {
	return &cnpg.Lister{Databases: fakeDatabases{}, Catalogs: fakeCatalogs{f.gaps()}}, nil, f.err
}

func (f *fakeWiring) Store() (recovery.ObjectStore, error) { return recovery.ObjectStore{}, nil }

func (f *fakeWiring) ResolveDatabase(_ string, dbs []recovery.Database) (recovery.Database, error) {
	return dbs[0], nil
}

func (f *fakeWiring) Flip(context.Context) (*flip.Flip, error) {
	if f.platform == nil || f.err != nil {
		return &flip.Flip{}, f.err
	}
	use := f.platform.flip()
	if f.offline {
		use.Cluster, use.Fence, use.Argo = nil, nil, nil
	}
	return use, nil
}

func (f *fakeWiring) Engine(_ string, handlers map[string]operation.Handler) (*operation.Engine, error) {
	return &operation.Engine{
		Store: f.Plans(), Handlers: handlers, Now: func() time.Time { return noon }, Poll: time.Microsecond,
		Retry: operation.Backoff{First: time.Microsecond, Most: time.Millisecond},
	}, f.err
}

func (f *fakeWiring) Plans() *operation.Store { return operation.NewStore(f.plans) }

func (f *fakeWiring) MirroredPlans(context.Context) (operation.Mirror, error) {
	if f.mirror == nil {
		return nil, f.err
	}
	return f.mirror, f.err
}

func (f *fakeWiring) Fences(context.Context) ([]command.StandingFence, error) { return f.fences, f.err }

func (f *fakeWiring) gaps() recovery.Gaps {
	if f.gap == nil {
		return nil
	}
	return recovery.Gaps{f.gap}
}

type fakeCompleter struct{}

func (fakeCompleter) Namespaces(context.Context) ([]string, error) {
	return []string{"karakeep", "immich"}, nil
}

func (fakeCompleter) Contexts() ([]string, error) { return []string{"prod"}, nil }

func (fakeCompleter) Claims(context.Context, string) ([]string, error) {
	return []string{"karakeep/data-pvc"}, nil
}

func (fakeCompleter) DatabaseNames(context.Context, string) ([]string, error) {
	return []string{"immich-database"}, nil
}

func (fakeCompleter) BackupIDs(context.Context, string) ([]string, error) {
	return []string{"20261123T020000"}, nil
}

type fakeRules struct{}

func (fakeRules) Inferred(c recovery.Claim) recovery.ReplicationSource {
	return recovery.ReplicationSource{Identity: identity(c.Namespace, c.Name)}
}
func (fakeRules) ClaimOf(username string) (string, bool) {
	return strings.CutSuffix(username, "-backup")
}
func (fakeRules) Interval(string, time.Time) (time.Duration, error) { return time.Hour, nil }

func identity(namespace, name string) recovery.KopiaSource {
	return recovery.KopiaSource{Username: name + "-backup", Hostname: namespace, Path: "/data"}
}

type fakeInventory struct{}

func (fakeInventory) Claims(context.Context, string) ([]recovery.Claim, recovery.Gaps, error) {
	hourly := map[string]string{"backup": "hourly"}
	return []recovery.Claim{
		{Namespace: "karakeep", Name: "data-pvc", Phase: "Bound", Backup: "hourly", Labels: hourly, CreatedAt: noon.Add(-240 * time.Hour)},
		{Namespace: "karakeep", Name: "meilisearch-pvc", Phase: "Bound", Backup: "daily", CreatedAt: noon.Add(-time.Hour)},
		{Namespace: "immich", Name: "library-pvc", Phase: "Bound", Backup: "hourly", Labels: hourly, CreatedAt: noon.Add(-240 * time.Hour)},
	}, nil, nil
}

func (fakeInventory) Sources(context.Context, string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	source := func(namespace, claim string) recovery.ReplicationSource {
		return recovery.ReplicationSource{Namespace: namespace, Name: claim + "-backup", Claim: claim, Identity: identity(namespace, claim), Schedule: "0 * * * *"}
	}
	return []recovery.ReplicationSource{source("karakeep", "data-pvc"), source("immich", "library-pvc")}, nil, nil
}

type fakeRepository struct{ gaps recovery.Gaps }

func (f fakeRepository) Snapshots(context.Context) ([]recovery.Snapshot, recovery.Gaps, error) {
	snap := func(id, namespace, name string, age time.Duration) recovery.Snapshot {
		return recovery.Snapshot{
			ID: id, Source: identity(namespace, name), StartTime: noon.Add(-age), EndTime: noon.Add(-age + time.Minute),
			SizeBytes: 5 << 20, FileCount: 412, DirCount: 17,
		}
	}
	half := snap("k4d5", "karakeep", "data-pvc", 5*time.Minute)
	half.Incomplete = "checkpoint"
	pinned := snap("k1a2", "karakeep", "data-pvc", 90*time.Minute)
	pinned.Pins = []string{"before-upgrade"}
	return []recovery.Snapshot{
		pinned, snap("k2b3", "karakeep", "data-pvc", 30*time.Minute), half,
		snap("k3c4", "immich", "library-pvc", 50*time.Hour), snap("k5e6", "paperless", "media", 300*time.Hour),
	}, f.gaps, nil
}

type fakeDatabases struct{}

func (fakeDatabases) Databases(context.Context, string) ([]recovery.Database, recovery.Gaps, error) {
	store := recovery.ObjectStore{DestinationPath: "s3://postgres-backups/cnpg/immich"}
	return []recovery.Database{{
		Namespace: "cloudnative-pg", Name: "immich-database", ServerName: "immich-database-v2", Store: store,
		Phase: "Cluster in healthy state", Instances: 1, ReadyInstances: 1, Archiving: "true",
	}}, nil, nil
}

type fakeCatalogs struct{ gaps recovery.Gaps }

func (f fakeCatalogs) Catalog(_ context.Context, _ string, store recovery.ObjectStore, _ []string) (recovery.Catalog, recovery.Gaps, error) {
	day := noon.Add(-10 * time.Hour)
	backup := func(id string, timeline int64) recovery.Backup {
		return recovery.Backup{
			ID: id, Name: "backup-" + id, Status: "DONE", StartTime: day, EndTime: day.Add(time.Minute), BeginWAL: "000000020000000000000004",
			EndWAL: "000000020000000000000004", Timeline: timeline, SystemID: "7412345678901234567", SizeBytes: 32 << 20, PostgresVersion: 150018,
			Restorable: true, Reasons: []string{},
		}
	}
	broken := backup("20261101T020000", 1)
	broken.Restorable, broken.Reasons = false, []string{"segment 000000010000000000000003 is missing"}
	return recovery.Catalog{DestinationPath: store.DestinationPath, Warnings: []string{}, Servers: []recovery.Server{
		{Name: "immich-database-v1", Backups: []recovery.Backup{broken}, Warnings: []string{}, WAL: recovery.WAL{
			SegmentCount: 12, First: "000000010000000000000001", Last: "00000001000000000000000E", Timelines: []int64{1}, MissingHistory: []string{},
			TimelineDetails: []recovery.Timeline{{ID: 1, First: "000000010000000000000001", Last: "00000001000000000000000E", SegmentCount: 12}},
			Partials:        []string{}, SegmentSizeBytes: 16 << 20, LastTime: day.Add(-100 * time.Hour), SizeBytes: 9 << 20,
			Gaps: []recovery.WALGap{{Timeline: 1, After: "000000010000000000000002", Before: "000000010000000000000005", Missing: 2}},
		}},
		{Name: "immich-database-v2", Backups: []recovery.Backup{backup("20261123T020000", 2)}, Warnings: []string{}, WAL: recovery.WAL{
			SegmentCount: 3, First: "000000020000000000000004", Last: "000000020000000000000006", Timelines: []int64{2}, Gaps: []recovery.WALGap{},
			TimelineDetails: []recovery.Timeline{{ID: 2, First: "000000020000000000000004", Last: "000000020000000000000006", SegmentCount: 3}},
			MissingHistory:  []string{}, Partials: []string{}, SegmentSizeBytes: 16 << 20, LastTime: day.Add(9 * time.Hour), SizeBytes: 1 << 20,
		}, RecoveryWindow: &recovery.Window{From: day.Add(time.Minute), To: day.Add(9 * time.Hour)}},
	}}, f.gaps, nil
}
