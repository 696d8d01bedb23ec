package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/release"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"

	"github.com/drctl/drctl/internal/recovery"
)

// Release is its newest revision, nil when there is none.
func (c *Client) Release(ctx context.Context, namespace, name string) (*recovery.Release, error) {
	session, err := c.session(ctx, namespace)
	if err != nil {
		return nil, err
	}
	revisions, err := history(ctx, session.Releases, namespace, name)
	if err != nil || len(revisions) == 0 {
		return nil, err
	}
	newest := revisions[0]
	found := &recovery.Release{
		Namespace: namespace, Name: name, Revision: newest.Version, Status: newest.Info.Status.String(), Pending: pending(newest),
		UpdatedAt: newest.Info.LastDeployed.UTC(), Description: newest.Info.Description,
		PlanID: newest.Labels[recovery.PlanMark],
	}
	found.ChartName, found.ChartVersion, found.AppVersion = chartOf(newest)
	if last := deployed(revisions); last != nil {
		found.Deployed = last.Version
		_, found.DeployedVersion, _ = chartOf(last)
	}
	return found, nil
}

// DeployedBy reports whether the newest revision is deployed and marked with the plan.
func (c *Client) DeployedBy(ctx context.Context, namespace, name, planID string) (bool, error) {
	session, err := c.session(ctx, namespace)
	if err != nil {
		return false, err
	}
	revisions, err := history(ctx, session.Releases, namespace, name)
	if err != nil || len(revisions) == 0 {
		return false, err
	}
	return deployedBy(revisions[0], planID), nil
}

func deployedBy(revision *releasev1.Release, planID string) bool {
	return revision.Info.Status == releasecommon.StatusDeployed && revision.Labels[recovery.PlanMark] == planID
}

// history are the revisions of a release, newest first; none without an error when there is no such release.
func history(ctx context.Context, releases *storage.Storage, namespace, name string) ([]*releasev1.Release, error) {
	found, err := releases.History(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(ctx, fmt.Sprintf("read release %s/%s", namespace, name), err)
	}
	revisions := make([]*releasev1.Release, 0, len(found))
	for _, each := range found {
		revision, err := typed(each)
		if err != nil {
			return nil, fmt.Errorf("read release %s/%s: %w", namespace, name, err)
		}
		revisions = append(revisions, revision)
	}
	slices.SortFunc(revisions, func(a, b *releasev1.Release) int { return b.Version - a.Version })
	return revisions, nil
}

// newest is a release's newest revision with its configuration, nil when there is none.
func (c *Client) newest(ctx context.Context, namespace, name string) (*action.Configuration, *releasev1.Release, error) {
	session, err := c.session(ctx, namespace)
	if err != nil {
		return nil, nil, err
	}
	revisions, err := history(ctx, session.Releases, namespace, name)
	if err != nil || len(revisions) == 0 {
		return session, nil, err
	}
	return session, revisions[0], nil
}

// pending: an attempt began it and did not end. Helm counts an uninstallation that was cut off for neither.
func pending(revision *releasev1.Release) bool {
	return revision.Info.Status.IsPending() || revision.Info.Status == releasecommon.StatusUninstalling
}

// deployed is the newest revision that is deployed, or was before a later one took its place. A rollback that fails marks the
// revision that it began from as superseded too, though that one may have failed; its description still says so.
// Source: helm pkg/action/rollback.go, performRollback.
func deployed(revisions []*releasev1.Release) *releasev1.Release {
	for _, revision := range revisions {
		switch revision.Info.Status {
		case releasecommon.StatusDeployed:
			return revision
		case releasecommon.StatusSuperseded:
			if !strings.Contains(revision.Info.Description, " failed: ") {
				return revision
			}
		}
	}
	return nil
}

func chartOf(revision *releasev1.Release) (name, version, appVersion string) {
	if revision.Chart == nil || revision.Chart.Metadata == nil {
		return "", "", ""
	}
	return revision.Chart.Name(), revision.Chart.Metadata.Version, revision.Chart.AppVersion()
}

func typed(found release.Releaser) (*releasev1.Release, error) {
	switch revision := found.(type) {
	case *releasev1.Release:
		return revision, nil
	case releasev1.Release:
		return &revision, nil
	}
	return nil, fmt.Errorf("a release of type %T: %w", found, recovery.ErrUnsupported)
}
