package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/git"
	"github.com/drctl/drctl/internal/recovery"
)

// bootstrapBackups reads the backup repositories as the GitOps tree names them.
type bootstrapBackups struct{ app *App }

// Kopia opens the repository and counts complete snapshots.
func (b bootstrapBackups) Kopia(ctx context.Context) (bootstrap.KopiaHolding, error) {
	repository, err := b.app.openRepository(ctx)
	if err != nil {
		return bootstrap.KopiaHolding{}, err
	}
	snapshots, gaps, err := repository.Snapshots(ctx)
	if err = errors.Join(err, repository.Close(ctx)); err != nil {
		return bootstrap.KopiaHolding{}, err
	}
	if len(gaps) > 0 {
		return bootstrap.KopiaHolding{}, gaps[0]
	}
	places, err := b.app.places()
	if err != nil {
		return bootstrap.KopiaHolding{}, err
	}
	holding := bootstrap.KopiaHolding{Repository: places.Repo}
	if holding.Repository == "" {
		if holding.Repository, err = b.app.discoverRepository(ctx); err != nil {
			return holding, err
		}
	}
	holding.Oldest = map[recovery.KopiaSource]time.Time{}
	for _, snapshot := range snapshots {
		if !snapshot.Complete() {
			continue
		}
		if oldest, known := holding.Oldest[snapshot.Source]; !known || snapshot.EndTime.Before(oldest) {
			holding.Oldest[snapshot.Source] = snapshot.EndTime
		}
		holding.Snapshots++
		if snapshot.EndTime.After(holding.Newest) {
			holding.Newest = snapshot.EndTime
		}
	}
	holding.Sources = len(holding.Oldest)
	return holding, nil
}

// Database reads the catalog of the servers that a database wrote or writes to.
func (b bootstrapBackups) Database(ctx context.Context, database recovery.Database) (bootstrap.DatabaseHolding, error) {
	servers := []string{database.ServerName}
	for _, source := range database.RecoverySources {
		if source.Store.DestinationPath == database.Store.DestinationPath && !slices.Contains(servers, source.ServerName) {
			servers = append(servers, source.ServerName)
		}
	}
	catalog, gaps, err := catalogs(b).Catalog(ctx, database.Namespace, database.Store, servers)
	if err != nil {
		return bootstrap.DatabaseHolding{}, err
	}
	if len(gaps) > 0 {
		return bootstrap.DatabaseHolding{}, gaps[0]
	}
	holding := bootstrap.DatabaseHolding{SystemIDs: []string{}}
	for _, server := range catalog.Servers {
		for _, backup := range server.Backups {
			if backup.SystemID != "" && !slices.Contains(holding.SystemIDs, backup.SystemID) {
				holding.SystemIDs = append(holding.SystemIDs, backup.SystemID)
			}
			if !backup.Restorable {
				continue
			}
			holding.Restorable++
			if backup.EndTime.After(holding.Newest) {
				holding.Newest = backup.EndTime
			}
		}
	}
	return holding, nil
}

// bootstrapGit is the checkout that the tree is in.
type bootstrapGit struct{ dir string }

// State compares with the remote.
func (g bootstrapGit) State(ctx context.Context, revision string) (bootstrap.GitState, error) {
	repo, err := git.Open(ctx, g.dir)
	if err != nil {
		return bootstrap.GitState{}, err
	}
	state, err := repo.State(ctx)
	if err != nil {
		return bootstrap.GitState{}, err
	}
	followed, err := repo.Follow(ctx, state, revision)
	if errors.Is(err, recovery.ErrNotFound) { // of the remote, and not of the checkout
		return bootstrap.GitState{}, &recovery.Problem{What: "ask the remote of " + repo.Top(), Why: err.Error(), Next: "correct it: git remote -v", Err: recovery.ErrUnreachable}
	}
	if err != nil {
		return bootstrap.GitState{}, err
	}
	return bootstrap.GitState{
		Branch: state.Branch, Remote: state.RemoteURL, Head: state.Head, RemoteHead: followed.Commit,
		Changed: append(slices.Clone(state.Dirty), state.Untracked...), Pushed: followed.HasHead, Behind: followed.Behind,
	}, nil
}
