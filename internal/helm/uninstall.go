package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// Uninstall removes the release, its objects and its hooks, and returns when they are gone. Its CustomResourceDefinitions stay, wherever
// the chart has them: with them every object of their kinds would go, all Applications among them. So do its namespace,
// and what the chart itself says to keep. No release is no error.
//
// Helm passes over an object that it could not read, and forgets the release all the same; so its record stays until every
// object was seen to be gone.
func (c *Client) Uninstall(ctx context.Context, namespace, name string) error {
	what := fmt.Sprintf("uninstall release %s/%s", namespace, name)
	session, newest, err := c.newest(ctx, namespace, name)
	if err != nil || newest == nil {
		return err
	}
	releases := session.Releases
	if newest.Info.Status != releasecommon.StatusUninstalled {
		session.Releases = storage.Init(hideDefinitions(releases.Driver))
		run := action.NewUninstall(session)
		// Helm need not wait: what is still there is waited for below.
		run.KeepHistory, run.DeletionPropagation = true, "foreground"
		run.WaitStrategy, run.Timeout, run.WaitOptions = helmkube.HookOnlyStrategy, hookTimeout, waitWithin(ctx)
		if _, err := run.Run(name); err != nil {
			return explain(ctx, what, err)
		}
	}
	revisions, err := history(ctx, releases, namespace, name)
	if err != nil {
		return err
	}
	objects, err := leftovers(revisions, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := c.remove(ctx, Target{Namespace: namespace, Name: name}, objects); err != nil {
		return err
	}
	if err := c.removeHooks(ctx, Target{Namespace: namespace, Name: name}, revisions); err != nil {
		return err
	}
	return purge(ctx, releases, revisions, what)
}

// purge removes the records, the newest one last: it is the one that says what the others are.
func purge(ctx context.Context, releases *storage.Storage, revisions []*releasev1.Release, what string) error {
	for _, revision := range slices.Backward(revisions) {
		if _, err := releases.Delete(revision.Name, revision.Version); err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
			return explain(ctx, what, err)
		}
	}
	return nil
}
