package app

import (
	"context"
	"time"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/recovery"
)

// completionPatience bounds what a TAB may wait for.
const completionPatience = 5 * time.Second

// Namespaces completes -n.
func (a *App) Namespaces(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	client, err := a.cluster()
	if err != nil || a.settings.Offline {
		return nil, err
	}
	return client.Namespaces(ctx)
}

// Contexts completes --context.
func (a *App) Contexts() ([]string, error) {
	raw, err := a.settings.Kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, err
	}
	return contexts(raw.Contexts), nil
}

// Claims completes NAMESPACE/PVC.
func (a *App) Claims(ctx context.Context, namespace string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	lister, _, err := a.PVC(ctx, true)
	if err != nil || lister.Inventory == nil {
		return nil, err
	}
	claims, _, err := lister.Inventory.Claims(ctx, namespace)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(claims))
	for _, claim := range claims {
		names = append(names, claim.Namespace+"/"+claim.Name)
	}
	return names, nil
}

// DatabaseNames completes the NAME of a Cluster.
func (a *App) DatabaseNames(ctx context.Context, namespace string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	lister, _, err := a.CNPG(ctx, true)
	if err != nil {
		return nil, err
	}
	databases, _, err := lister.Databases.Databases(ctx, namespace)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(databases))
	for _, db := range databases {
		names = append(names, db.Name)
	}
	return names, nil
}

// BackupIDs completes the backups of a database, or of the destination when no database is named.
func (a *App) BackupIDs(ctx context.Context, database string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	store, err := a.Store()
	if err != nil {
		return nil, err
	}
	namespace := ""
	if database != "" {
		lister, _, err := a.CNPG(ctx, true)
		if err != nil {
			return nil, err
		}
		var db recovery.Database
		db, _, err = lister.Find(ctx, cnpg.BackupQuery{Name: database, Namespace: a.settings.Namespace(), Resolve: a.ResolveDatabase})
		if err != nil {
			return nil, err
		}
		store, namespace = db.Store, db.Namespace
	}
	bucket, prefix, err := destination(store.DestinationPath)
	if err != nil {
		return nil, err
	}
	client, err := a.s3Client(ctx, namespace, store)
	if err != nil {
		return nil, err
	}
	backups, err := barman.BackupIDs(ctx, client, barman.Options{Bucket: bucket, Prefix: prefix})
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(backups))
	for _, backup := range backups {
		ids = append(ids, backup.ID+"\tserver "+backup.Server)
	}
	return ids, nil
}
