package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// Uninstall removes the release and its objects, and returns when they are gone. Its CustomResourceDefinitions stay, wherever
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
	driver := session.Releases.Driver
	if newest.Info.Status != releasecommon.StatusUninstalled {
		session.Releases = storage.Init(withoutDefinitions{driver})
		run := action.NewUninstall(session)
		run.KeepHistory, run.DeletionPropagation = true, "foreground"
		run.WaitStrategy, run.Timeout, run.WaitOptions = helmkube.StatusWatcherStrategy, hookTimeout, waitWithin(ctx)
		if _, err := run.Run(name); err != nil {
			return explain(ctx, what, err)
		}
	}
	releases := storage.Init(driver)
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

// withoutDefinitions shows Helm releases whose manifests have no definitions, so that it deletes none. An uninstallation that
// is cut off leaves such a record; the definitions themselves carry the release's mark, so that a later installation
// finds them to be its own.
type withoutDefinitions struct{ driver.Driver }

// Query answers for the history.
func (w withoutDefinitions) Query(labels map[string]string) ([]release.Releaser, error) {
	found, err := w.Driver.Query(labels)
	if err != nil {
		return nil, err
	}
	for _, each := range found {
		revision, err := typed(each)
		if err != nil {
			return nil, err
		}
		if revision.Manifest, err = dropDefinitions(revision.Manifest); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// dropDefinitions takes the definitions out of a manifest, and leaves everything else as it stands.
func dropDefinitions(manifest string) (string, error) {
	var kept strings.Builder
	for _, document := range documents(manifest) {
		objects, err := parseHeads(document)
		if err != nil {
			return "", err
		}
		if len(objects) == 0 || objects[0].GetKind() == definitionKind {
			continue
		}
		kept.WriteString("---\n" + strings.TrimRight(document, "\n") + "\n")
	}
	return kept.String(), nil
}
