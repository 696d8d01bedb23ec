package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartloader "helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/registry"

	"github.com/drctl/drctl/internal/recovery"
)

// Load fetches a chart and reads it. It asks no cluster.
func (c *Client) Load(ctx context.Context, source recovery.ChartSource) (recovery.Chart, error) {
	loaded, err := c.fetch(ctx, source)
	if err != nil {
		return recovery.Chart{}, err
	}
	if source.Version != "" && !sameVersion(loaded.Metadata.Version, source.Version) {
		return recovery.Chart{}, &recovery.Problem{
			What: "load chart " + name(source),
			Why:  fmt.Sprintf("it is version %s, and %s is asked for", loaded.Metadata.Version, source.Version),
			Next: "give the chart of that version, or pin the version that it has", Err: recovery.ErrConflict,
		}
	}
	if err := installable(loaded); err != nil {
		return recovery.Chart{}, &recovery.Problem{
			What: "load chart " + name(source), Why: err.Error(), Next: "give an application chart with its dependencies: helm dependency update DIR",
			Err: recovery.ErrInvalid,
		}
	}
	digest, err := digest(loaded)
	if err != nil {
		return recovery.Chart{}, fmt.Errorf("load chart %s: %w", name(source), err)
	}
	files := make([]*archive.BufferedFile, 0, len(loaded.Raw))
	for _, file := range loaded.Raw {
		files = append(files, &archive.BufferedFile{Name: file.Name, ModTime: file.ModTime, Data: file.Data})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.charts[digest] = files
	return recovery.Chart{
		Name: loaded.Name(), Version: loaded.Metadata.Version, AppVersion: loaded.AppVersion(), Digest: digest, Source: source,
	}, nil
}

// fetch finds out where the chart is.
func (c *Client) fetch(ctx context.Context, source recovery.ChartSource) (*chart.Chart, error) {
	switch {
	case registry.IsOCI(source.Location):
		return c.fetchOCI(ctx, source, source.Location)
	case registry.IsOCI(source.Repository):
		return c.fetchOCI(ctx, source, strings.TrimSuffix(source.Repository, "/")+"/"+source.Location)
	case source.Repository != "":
		return c.fetchRepository(ctx, source)
	}
	loaded, err := chartloader.Load(source.Location)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &recovery.Problem{
			What: "load chart " + source.Location, Why: "there is no such file or folder, or it holds no Chart.yaml",
			Next: "give a chart's folder, its .tgz file, oci://HOST/PATH/NAME, or a name with --chart-repo URL", Err: errors.Join(recovery.ErrNotFound, err),
		}
	case err != nil:
		return nil, &recovery.Problem{
			What: "load chart " + source.Location, Why: err.Error(), Next: "give another copy of it: --chart FILE.tgz",
			Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return loaded, nil
}

// unpack reads an archive that was fetched.
func unpack(what string, content []byte) (*chart.Chart, error) {
	loaded, err := chartloader.LoadArchive(bytes.NewReader(content))
	if err != nil {
		return nil, &recovery.Problem{
			What: what, Why: "what was fetched is no chart: " + err.Error(), Next: "give another copy of it: --chart FILE.tgz",
			Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return loaded, nil
}

// installable: a library chart has nothing to install, and a chart without its dependencies installs half of itself.
func installable(loaded *chart.Chart) error {
	if loaded.Metadata.Type != "" && loaded.Metadata.Type != "application" {
		return fmt.Errorf("it is a chart of type %s", loaded.Metadata.Type)
	}
	present := map[string]bool{}
	for _, dependency := range loaded.Dependencies() {
		present[dependency.Name()] = true
	}
	for _, wanted := range loaded.Metadata.Dependencies {
		if !present[wanted.Name] {
			return fmt.Errorf("it depends on chart %s, which is not in its charts/ folder", wanted.Name)
		}
	}
	return nil
}

// chart reads a target's chart anew, with the values that go on top.
func (c *Client) chart(target Target) (*chart.Chart, map[string]any, error) {
	c.mu.Lock()
	files, known := c.charts[target.Chart.Digest]
	c.mu.Unlock()
	if !known {
		return nil, nil, fmt.Errorf("chart %s %s of digest %q was not loaded: %w", target.Chart.Name, target.Chart.Version, target.Chart.Digest, recovery.ErrNotFound)
	}
	copies := make([]*archive.BufferedFile, 0, len(files))
	for _, file := range files {
		again := *file
		copies = append(copies, &again)
	}
	loaded, err := chartloader.LoadFiles(copies)
	if err != nil {
		return nil, nil, fmt.Errorf("read chart %s: %w", target.Chart.Name, err)
	}
	values, err := chartloader.LoadValues(bytes.NewReader(target.Chart.Values))
	if err != nil {
		// The YAML library quotes what it could not read: these are the operator's values.
		return nil, nil, &recovery.Problem{
			What: "read the values of chart " + target.Chart.Name, Why: "they are no YAML mapping", Next: "correct the values file", Err: recovery.ErrInvalid,
		}
	}
	return loaded, values, nil
}

// name is what a source is called in messages.
func name(source recovery.ChartSource) string {
	if source.Version != "" && source.Repository != "" {
		return source.Location + " " + source.Version
	}
	return source.Location
}

// sameVersion compares versions as they are written, but for a leading "v".
func sameVersion(a, b string) bool { return strings.TrimPrefix(a, "v") == strings.TrimPrefix(b, "v") }

// cached is a file of the cache, nil when it is not there or there is no cache.
func (c *Client) cached(path string) []byte {
	if c.cacheDir == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return content
}
