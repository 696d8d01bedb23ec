package app

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/volsync"
)

// liveInventory reads claims and ReplicationSources from the API.
type liveInventory struct{ client *kube.Client }

func (i liveInventory) Claims(ctx context.Context, namespace string) ([]recovery.Claim, recovery.Gaps, error) {
	return kube.Claims(ctx, i.client, namespace)
}

func (i liveInventory) Sources(ctx context.Context, namespace string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	return volsync.Sources(ctx, i.client, namespace)
}

// treeInventory reads them from the GitOps tree. Kyverno's generated ReplicationSources do not stand
// in a tree, so every labelled claim without one gets what the platform's policy would generate.
type treeInventory struct{ tree *gitops.Tree }

func (i treeInventory) Claims(ctx context.Context, namespace string) ([]recovery.Claim, recovery.Gaps, error) {
	return kube.Claims(ctx, i.tree, namespace)
}

func (i treeInventory) Sources(ctx context.Context, namespace string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	sources, gaps, err := volsync.Sources(ctx, i.tree, namespace)
	if err != nil {
		return sources, gaps, err
	}
	type key struct{ namespace, claim string }
	declared := map[key]bool{}
	for _, source := range sources {
		declared[key{source.Namespace, source.Claim}] = true
	}
	claims, more, err := kube.Claims(ctx, i.tree, namespace)
	if err != nil {
		return sources, append(gaps, more...), err
	}
	for _, claim := range claims {
		if claim.Backup != "" && !declared[key{claim.Namespace, claim.Name}] {
			sources = append(sources, volsync.Inferred(claim))
		}
	}
	return sources, gaps, nil
}

// rules are the platform's conventions.
type rules struct {
	// intervals remembers what was computed for a schedule: hundreds of claims share a few schedules.
	intervals *sync.Map
}

func (rules) Inferred(claim recovery.Claim) recovery.ReplicationSource {
	return volsync.Inferred(claim)
}

// ClaimOf takes the policy's suffix away. A name that the fork cut at 50 characters has lost it, and
// with it the claim's name.
func (rules) ClaimOf(username string) (string, bool) {
	return strings.CutSuffix(username, "-backup")
}

func (r rules) Interval(schedule string, now time.Time) (time.Duration, error) {
	if known, ok := r.intervals.Load(schedule); ok {
		return known.(time.Duration), nil
	}
	interval, err := volsync.Interval(schedule, now)
	if err == nil {
		r.intervals.Store(schedule, interval)
	}
	return interval, err
}

// databaseReader reads CNPG Clusters from the API or from the GitOps tree.
type databaseReader struct{ objects cloudnativepg.Objects }

func (r databaseReader) Databases(ctx context.Context, namespace string) ([]recovery.Database, recovery.Gaps, error) {
	return cloudnativepg.Databases(ctx, r.objects, namespace)
}
