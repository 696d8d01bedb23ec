package helm

import (
	"fmt"
	"strings"
	"sync"

	"helm.sh/helm/v4/pkg/release"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// withoutDefinitions shows Helm a history whose manifests have no CustomResourceDefinitions, so that it never deletes one: not
// when a release is uninstalled, nor when a revision has no definition that the one before it had. With a definition every
// object of its kind goes, all Applications among them. What Helm writes back has them again.
type withoutDefinitions struct {
	driver.Driver
	mu sync.Mutex
	// whole are the manifests by their record's key, shown what Helm was given instead.
	whole, shown map[string]string
}

func hideDefinitions(records driver.Driver) *withoutDefinitions {
	return &withoutDefinitions{Driver: records, whole: map[string]string{}, shown: map[string]string{}}
}

// Query answers for the history. A single record, which Get answers for, is one to be applied, and whole.
func (w *withoutDefinitions) Query(labels map[string]string) ([]release.Releaser, error) {
	found, err := w.Driver.Query(labels)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, each := range found {
		revision, err := typed(each)
		if err != nil {
			return nil, err
		}
		less, err := dropDefinitions(revision.Manifest)
		if err != nil {
			return nil, err
		}
		key := recordKey(revision)
		w.whole[key], w.shown[key] = revision.Manifest, less
		revision.Manifest = less
	}
	return found, nil
}

// Update writes a record, with what was hidden.
func (w *withoutDefinitions) Update(key string, changed release.Releaser) error {
	revision, err := typed(changed)
	if err != nil {
		return err
	}
	w.mu.Lock()
	whole, hidden := w.whole[recordKey(revision)]
	hidden = hidden && w.shown[recordKey(revision)] == revision.Manifest
	w.mu.Unlock()
	if !hidden {
		return w.Driver.Update(key, changed)
	}
	restored := *revision
	restored.Manifest = whole
	return w.Driver.Update(key, &restored)
}

func recordKey(revision *releasev1.Release) string {
	return fmt.Sprintf("%s/%s/%d", revision.Namespace, revision.Name, revision.Version)
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
