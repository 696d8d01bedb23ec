package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// EmptyClaim is a claim that was made anew, empty, although the repository held a backup of it by then: nothing asked
// for one when it was created.
type EmptyClaim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Backup is whom the snapshots belong to. Command restores the newest one.
	Backup  string `json:"backup"`
	Command string `json:"command"`
}

// young is how long a claim counts as new: one that has been in use for longer has data of its own.
const young = 24 * time.Hour

// emptyClaims finds claims that the platform should have populated and did not.
func (b *Bootstrap) emptyClaims(ctx context.Context, p *Params, claims []recovery.RestoringClaim) ([]EmptyClaim, error) {
	found := []EmptyClaim{}
	for _, claim := range claims {
		if b.Backups == nil || claim.Source != "" || b.Now().Sub(claim.CreatedAt) > young {
			continue
		}
		holding, err := b.kopia(ctx)
		if err != nil {
			return found, err
		}
		source := moverIdentity(claim.Namespace, claim.Name)
		oldest, known := holding.Oldest[source]
		if !known || oldest.After(claim.CreatedAt) {
			continue
		}
		found = append(found, EmptyClaim{claim.Namespace, claim.Name, source.String(), "drctl pvc restore " + claim.Namespace + "/" + claim.Name + inTree(p.GitOps)})
	}
	return found, nil
}

// moverIdentity is under which name the platform's policy has a claim backed up.
// Source: FACTS of the platform; perfectra1n/volsync internal/controller/mover/kopia/builder.go.
func moverIdentity(namespace, claim string) recovery.KopiaSource {
	return recovery.KopiaSource{Username: claim + "-backup", Hostname: namespace, Path: "/data"}
}

// kopia reads the repository once in a process.
func (b *Bootstrap) kopia(ctx context.Context) (KopiaHolding, error) {
	b.kopiaOnce.Lock()
	defer b.kopiaOnce.Unlock()
	if b.kopiaRead != nil {
		return *b.kopiaRead, nil
	}
	holding, err := b.Backups.Kopia(ctx)
	if err == nil {
		b.kopiaRead = &holding
	}
	return holding, err
}
