package flip

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/recovery"
)

// Known is what a plan knows of a recovery: the strongest expectation there is.
type Known struct {
	PlanID string
	Params *Params
	// UID is that of the Cluster that the plan created.
	UID string
}

// Locate finds the live Cluster that a name means.
func (f *Flip) Locate(ctx context.Context, namespace, name string) (*recovery.LiveCluster, recovery.Database, error) {
	db, _, err := f.Find(ctx, cnpg.BackupQuery{Name: name, Namespace: namespace})
	if err != nil {
		return nil, db, err
	}
	live, err := f.Cluster.Find(ctx, db.Namespace, db.Name)
	if err == nil && live == nil {
		err = &recovery.Problem{
			What: "there is no live Cluster " + db.Namespace + "/" + db.Name, Next: "recover it: drctl cnpg recover " + db.Name, Err: recovery.ErrNotFound,
		}
	}
	return live, db, err
}

// Verify proves a recovered Cluster, or disproves it, or says what it could not tell. Without a plan the
// live object's bootstrap.recovery says what was recovered.
func (f *Flip) Verify(ctx context.Context, live *recovery.LiveCluster, db recovery.Database, known *Known, verifySQL string) (*VerifyReport, error) {
	if known == nil {
		params, err := f.expected(ctx, live, db)
		if err != nil {
			return nil, err
		}
		known = &Known{Params: params}
	}
	if verifySQL != "" {
		known.Params.VerifySQL = verifySQL
	}
	e := expectation{params: known.Params, uid: known.UID}
	report := newReport(live.Namespace, live.Name, known.PlanID)
	data, err := f.proveData(ctx, e)
	if err != nil {
		return nil, err
	}
	report.add(data...)
	backed, err := f.proveBackups(ctx, e)
	if err != nil {
		return nil, err
	}
	report.add(backed...)
	return report, nil
}

// expected reads out of a Cluster that still has bootstrap.recovery what it must have become.
func (f *Flip) expected(ctx context.Context, live *recovery.LiveCluster, db recovery.Database) (*Params, error) {
	described, err := f.Render.Describe(live.Manifest)
	if err != nil {
		return nil, err
	}
	if described.Bootstrap != "recovery" {
		return nil, &recovery.Problem{
			What: "verify the recovery of Cluster " + live.Namespace + "/" + live.Name,
			Why:  "its bootstrap is " + described.Bootstrap + " and this computer has no plan of a recovery of it: nothing says what it ought to hold",
			Next: "run it where the recovery was run (drctl plans); Ready alone proves nothing", Err: recovery.ErrNotFound,
		}
	}
	p := &Params{
		Namespace: live.Namespace, Name: live.Name, Store: db.Store, WriteServer: described.WriteServer, SourceServer: described.RecoveredServer,
		ArchiveServer: described.WriteServer, Database: described.Database, Volumes: []recovery.Volume{},
	}
	if described.RecoveredTarget != "" {
		if p.TargetTime, err = time.Parse(time.RFC3339, described.RecoveredTarget); err != nil {
			return nil, &recovery.Problem{
				What: "read the target " + described.RecoveredTarget + " of the Cluster", Why: "it is no RFC 3339 time with a zone", Err: recovery.ErrUnsupported,
			}
		}
	}
	// The target was admitted when the recovery was made; a fork behind it shows in the .history.
	chosen, _, err := f.Archive.Choose(ctx, p.source(), BackupChoice{BackupID: described.RecoveredBackup, AcceptGap: true})
	if err != nil {
		return nil, err
	}
	p.Backup, p.Reach = chosen.Backup, chosen.Reach
	return p, nil
}
