package flip

import (
	"cmp"
	"context"
	"time"

	"github.com/drctl/drctl/internal/operation"
)

// backupStep takes a backup through CloudNativePG: a last one of the old Cluster, or the first of the
// new one.
type backupStep struct {
	*Flip
	final bool
}

// backupName is unique to the plan, so that a resumed run finds its own.
func (s backupStep) backupName(run *operation.Run) string {
	if s.final {
		return run.Plan.ID + "-final"
	}
	return run.Plan.ID + "-first"
}

func (s backupStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	objects, err := s.Cluster.BackupObjects(ctx, p.Namespace, p.Name)
	if err != nil {
		return operation.Observation{}, err
	}
	for _, object := range objects {
		if object.Name != s.backupName(run) {
			continue
		}
		switch object.Phase {
		case "completed":
			return operation.IsDone()
		case "failed":
			return operation.IsStopped(run, "mend that, and kubectl -n "+p.Namespace+" delete backups.postgresql.cnpg.io "+object.Name,
				"Backup %s failed: %s", object.Name, object.Error)
		}
		return operation.IsPending("Backup %s is %s", object.Name, orUnknown(object.Phase))
	}
	return operation.IsPending("no Backup yet")
}

func orUnknown(phase string) string {
	if phase == "" {
		return "waiting for the operator"
	}
	return phase
}

func (s backupStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	if !s.final {
		s.awaitArchiving(ctx, p)
	}
	return s.Cluster.RequestBackup(ctx, p.Namespace, p.Name, s.backupName(run), run.Plan.ID)
}

const (
	// longestFirstWAL is how long the request for a backup waits for the first WAL file.
	longestFirstWAL = 30 * time.Second
	archiveLook     = time.Second
)

// awaitArchiving returns once the new Cluster has archived its first WAL file, or after a while. The operator looks
// for that when it begins a backup, and where it is too early looks again only after a minute: that long the Cluster
// would be without a backup. It is a shortcut and no more: whether archiving works is for the proof.
// Source: cloudnative-pg pkg/management/postgres/wal.go, ensureWalArchiveIsWorking and its backoff.
func (s backupStep) awaitArchiving(ctx context.Context, p *Params) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.firstWAL, longestFirstWAL))
	defer cancel()
	for {
		live, err := s.Cluster.Find(ctx, p.Namespace, p.cluster())
		if err != nil || live == nil || live.Archiving == "true" {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(archiveLook):
		}
	}
}

// Undo leaves a final backup where it is: it harms nobody.
func (s backupStep) Undo(context.Context, *operation.Run) error { return nil }

// proveBackupsStep ends once the new Cluster is proven to be backed up itself.
type proveBackupsStep struct {
	operation.Waits
	*Flip
}

func (s proveBackupsStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	checks, err := s.proveBackups(ctx, expectation{params: p})
	if err != nil {
		return operation.Observation{}, err
	}
	return concluded(run, checks, "mend that", "")
}
