package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"

	"github.com/drctl/drctl/internal/recovery"
)

// Rollback goes back to a revision: when it returns, the revision's objects are applied, and what a later one had made
// beside them is removed. Done before, it is done. Objects that take time to become ready are not waited for.
func (c *Client) Rollback(ctx context.Context, namespace, name string, revision int) error {
	what := fmt.Sprintf("roll release %s/%s back to revision %d", namespace, name, revision)
	session, err := c.session(ctx, namespace)
	if err != nil {
		return err
	}
	revisions, err := history(ctx, session.Releases, namespace, name)
	if err != nil {
		return err
	}
	if len(revisions) == 0 {
		return &recovery.Problem{What: what, Why: "there is no such release", Next: "install it: drctl bootstrap", Err: recovery.ErrNotFound}
	}
	newest := revisions[0]
	if newest.Info.Status == releasecommon.StatusDeployed && (newest.Version == revision || newest.Info.RollbackRevision == revision) {
		return c.settleDown(ctx, Target{Namespace: namespace, Name: name}, revisions)
	}
	if err := forgetRollbacks(ctx, session.Releases, revisions, what); err != nil {
		return err
	}
	records := session.Releases
	session.Releases = storage.Init(hideDefinitions(records.Driver))
	run := action.NewRollback(session)
	run.Version, run.ServerSideApply, run.ForceConflicts = revision, "true", true
	run.WaitStrategy, run.Timeout, run.WaitOptions = helmkube.HookOnlyStrategy, hookTimeout, waitWithin(ctx)
	run.MaxHistory = historyKept
	if err := run.Run(name); err != nil {
		return explain(ctx, what, err)
	}
	c.forget(session)
	if revisions, err = history(ctx, records, namespace, name); err != nil {
		return err
	}
	return c.settleDown(ctx, Target{Namespace: namespace, Name: name}, revisions)
}

// forgetRollbacks removes the records of rollbacks that were cut off or failed. Helm takes the newest record for what the
// cluster has; with one of these, that is what it should have, and what the failed upgrade made would stay for ever.
func forgetRollbacks(ctx context.Context, releases *storage.Storage, revisions []*releasev1.Release, what string) error {
	for _, revision := range revisions {
		if revision.Info.RollbackRevision == 0 || revision.Info.Status == releasecommon.StatusDeployed || revision.Info.Status == releasecommon.StatusSuperseded {
			return nil
		}
		if _, err := releases.Delete(revision.Name, revision.Version); err != nil {
			return explain(ctx, what, err)
		}
	}
	return nil
}
