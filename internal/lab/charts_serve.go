package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	ociregistry "github.com/google/go-containerregistry/pkg/registry"
	chartloader "helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/registry"
	repo "helm.sh/helm/v4/pkg/repo/v1"
)

// ChartRepository is a running chart repository: an index.yaml with the archives beside it.
type ChartRepository struct {
	// URL is http://127.0.0.1:PORT. Dir is the folder that it serves.
	URL, Dir string

	requests atomic.Int64
}

// Requests is how many requests it was sent so far.
func (r *ChartRepository) Requests() int64 { return r.requests.Load() }

// ChartRepository packs charts that are folders, and serves them over HTTP.
func (s *Stack) ChartRepository(ctx context.Context, folders ...string) (*ChartRepository, error) {
	listener, url, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	r := &ChartRepository{URL: url}
	if r.Dir, err = s.Dir("charts-" + filepath.Base(url)); err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if _, err := PackChart(folder, r.Dir); err != nil {
			return nil, err
		}
	}
	index, err := repo.IndexDirectory(r.Dir, r.URL)
	if err != nil {
		return nil, fmt.Errorf("lab: index of the chart repository: %w", err)
	}
	index.SortEntries()
	if err := index.WriteFile(filepath.Join(r.Dir, "index.yaml"), 0o644); err != nil {
		return nil, fmt.Errorf("lab: index of the chart repository: %w", err)
	}
	files := http.FileServer(http.Dir(r.Dir))
	s.serveUntilClose(listener, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.requests.Add(1)
		files.ServeHTTP(w, request)
	}))
	return r, nil
}

// ChartRegistry is a running OCI registry with charts in it.
type ChartRegistry struct {
	// Host is 127.0.0.1:PORT, Location oci://HOST/charts: a chart is at LOCATION/NAME, its version is the tag.
	Host, Location string
}

// ChartRegistry starts an OCI registry, and pushes charts that are folders by Helm's own client.
func (s *Stack) ChartRegistry(ctx context.Context, folders ...string) (*ChartRegistry, error) {
	listener, _, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	r := &ChartRegistry{Host: listener.Addr().String()}
	r.Location = registry.OCIScheme + "://" + r.Host + "/charts"
	s.serveUntilClose(listener, ociregistry.New(ociregistry.Logger(silent())))
	dir, err := s.Dir("registry-" + filepath.Base(r.Host))
	if err != nil {
		return nil, err
	}
	client, err := registry.NewClient(registry.ClientOptPlainHTTP(), registry.ClientOptCredentialsFile(filepath.Join(dir, "config.json")))
	if err != nil {
		return nil, fmt.Errorf("lab: client of the registry: %w", err)
	}
	for _, folder := range folders {
		if err := r.push(client, folder, dir); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *ChartRegistry) push(client *registry.Client, folder, dir string) error {
	path, err := PackChart(folder, dir)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("lab: push chart %s: %w", folder, err)
	}
	loaded, err := chartloader.LoadFile(path)
	if err != nil {
		return fmt.Errorf("lab: push chart %s: %w", folder, err)
	}
	if _, err := client.Push(content, fmt.Sprintf("%s/charts/%s:%s", r.Host, loaded.Name(), loaded.Metadata.Version)); err != nil {
		return fmt.Errorf("lab: push chart %s: %w", folder, err)
	}
	return nil
}

// listen takes a free port of 127.0.0.1.
func listen(ctx context.Context) (net.Listener, string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("lab: listen for charts: %w", err)
	}
	return listener, "http://" + listener.Addr().String(), nil
}

func (s *Stack) serveUntilClose(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: silent()}
	s.Defer(server.Close)
	go func() { _ = server.Serve(listener) }()
}
