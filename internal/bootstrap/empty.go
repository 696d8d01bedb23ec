package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/drctl/drctl/internal/recovery"
)

// empty finds databases that were made by initdb although S3 holds backups of another system: the platform restores
// claims by itself, databases it does not.
func (b *Bootstrap) empty(ctx context.Context, p *Params) ([]EmptyDatabase, error) {
	found := []EmptyDatabase{}
	if b.Backups == nil {
		return found, nil
	}
	live, err := b.Cluster.Databases(ctx)
	if err != nil {
		return found, err
	}
	var unread error
	for _, database := range live {
		if !database.Initdb {
			continue
		}
		holding, err := b.holding(ctx, database.Database)
		if err != nil {
			unread = errors.Join(unread, err)
			continue
		}
		// One that never ran has no system yet, and will come up empty too.
		if holding.Restorable == 0 || slices.Contains(holding.SystemIDs, database.SystemID) {
			continue
		}
		command := fmt.Sprintf("drctl cnpg recover %s -n %s", database.Name, database.Namespace)
		if p.GitOps != "" {
			command += " --gitops " + p.GitOps
		}
		found = append(found, EmptyDatabase{database.Namespace, database.Name, holding.Restorable, holding.Newest, command})
	}
	return found, unread
}

// holding reads a catalog once in a process: a backup that is made meanwhile is of the new system.
func (b *Bootstrap) holding(ctx context.Context, database recovery.Database) (DatabaseHolding, error) {
	key := database.Namespace + "/" + database.Name
	if known, found := b.looks.holdings[key]; found {
		return known, nil
	}
	holding, err := b.Backups.Database(ctx, database)
	if err != nil {
		return holding, err
	}
	if b.looks.holdings == nil {
		b.looks.holdings = map[string]DatabaseHolding{}
	}
	b.looks.holdings[key] = holding
	return holding, nil
}
