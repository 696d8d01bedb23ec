// Package app wires drctl: it finds places (flags, environment, configuration, cluster, GitOps tree)
// and gives commands their use cases over concrete adapters. Nothing is opened before it is needed.
//
// It is the only package that names concrete adapters.
package app

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/config"
	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// App implements command.Wiring.
type App struct {
	settings *command.Settings
	getenv   func(string) string
	streams  ui.Streams

	account account
	places  func() (config.File, error)
	cluster func() (*kube.Client, error)
	tree    func() (treeOrNothing, error)

	// secrets is asked for a Secret before anything else, and fallback's cluster behind everything else; both may be nil.
	secrets  func(ctx context.Context, namespace, name string) (map[string][]byte, error)
	fallback *App
}

// treeOrNothing is a GitOps tree with what of it could not be read; nil without one.
type treeOrNothing struct {
	tree *gitops.Tree
	gaps recovery.Gaps
}

// New makes the wiring. The context bounds what is read once and shared, such as the GitOps tree.
func New(ctx context.Context, settings *command.Settings, streams ui.Streams, getenv func(string) string) *App {
	a := &App{settings: settings, getenv: getenv, streams: streams}
	a.places = sync.OnceValues(a.findPlaces)
	a.cluster = sync.OnceValues(a.openCluster)
	a.tree = sync.OnceValues(func() (treeOrNothing, error) { return a.openTree(ctx) })
	return a
}

// findPlaces merges flags, environment and the two configuration files, the first that says something
// wins.
func (a *App) findPlaces() (config.File, error) {
	places := a.fromFlags().Merge(a.fromEnvironment())
	path, chosen := a.configPath()
	own, err := config.Read(path)
	if errors.Is(err, fs.ErrPermission) && !chosen {
		// Nobody named this file; another user's home must not stand in the way.
		a.streams.Warn("%s cannot be read and is left out", path)
	} else if err != nil {
		return places, err
	}
	places = places.Merge(own)
	if places.GitOps == "" {
		return places, nil
	}
	inTree, err := config.Read(filepath.Join(places.GitOps, ".drctl.yaml"))
	if err != nil {
		return places, err
	}
	return places.Merge(inTree), nil
}

func (a *App) fromFlags() config.File {
	s := a.settings
	return config.File{
		Repo: s.Repo, PasswordFile: s.PasswordFile, GitOps: s.GitOps, DestinationPath: s.DestinationPath,
		EndpointURL: s.EndpointURL, CAFile: s.CAFile, CacheDirectory: s.CacheDirectory,
	}
}

func (a *App) fromEnvironment() config.File {
	file := config.File{
		Repo: a.getenv("DRCTL_REPO"), PasswordFile: a.getenv("DRCTL_PASSWORD_FILE"), GitOps: a.getenv("DRCTL_GITOPS"),
		DestinationPath: a.getenv("DRCTL_DESTINATION_PATH"), EndpointURL: a.getenv("DRCTL_ENDPOINT_URL"),
		CAFile: a.getenv("DRCTL_CA_FILE"), CacheDirectory: a.getenv("DRCTL_CACHE_DIR"),
	}
	// The AWS SDK's own variables count too; ours are the more particular ones.
	return file.Merge(config.File{
		EndpointURL: firstOf(a.getenv("AWS_ENDPOINT_URL_S3"), a.getenv("AWS_ENDPOINT_URL")), CAFile: a.getenv("AWS_CA_BUNDLE"),
	})
}

// configPath is where the configuration file stands, and whether somebody chose that place.
func (a *App) configPath() (path string, chosen bool) {
	if path := firstOf(a.settings.ConfigFile, a.getenv("DRCTL_CONFIG")); path != "" {
		return path, true
	}
	if base := a.getenv("XDG_CONFIG_HOME"); base != "" {
		return filepath.Join(base, "drctl", "config.yaml"), false
	}
	return filepath.Join(a.getenv("HOME"), ".config", "drctl", "config.yaml"), false
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func (a *App) openTree(ctx context.Context) (treeOrNothing, error) {
	places, err := a.places()
	if err != nil || places.GitOps == "" {
		return treeOrNothing{}, err
	}
	tree, gaps, err := gitops.Open(ctx, places.GitOps)
	return treeOrNothing{tree, gaps}, err
}

// PVC gives the lister of claims and snapshots.
func (a *App) PVC(_ context.Context, inventory bool) (*pvc.Lister, recovery.Gaps, error) {
	lister := &pvc.Lister{Rules: rules{new(sync.Map)}, Now: now, Repository: lazyRepository{a}, Contents: lazyRepository{a}}
	if !inventory {
		return lister, nil, nil
	}
	objects, gaps, err := a.objects()
	switch {
	case err != nil:
		return nil, gaps, err
	case objects.live != nil:
		lister.Inventory = liveInventory{objects.live}
	case objects.tree != nil:
		lister.Inventory = treeInventory{objects.tree}
	}
	return lister, gaps, nil
}

// CNPG gives the lister of databases and backups.
func (a *App) CNPG(_ context.Context, databases bool) (*cnpg.Lister, recovery.Gaps, error) {
	lister := &cnpg.Lister{Catalogs: catalogs{a}}
	if !databases {
		return lister, nil, nil
	}
	objects, gaps, err := a.objects()
	if err != nil {
		return nil, gaps, err
	}
	switch {
	case objects.live != nil:
		lister.Databases = databaseReader{objects.live}
	case objects.tree != nil:
		lister.Databases = databaseReader{objects.tree}
	case !a.settings.Offline:
		_, err := a.cluster()
		return nil, gaps, err
	default:
		return nil, gaps, &recovery.Problem{
			What: "neither a cluster nor a GitOps tree is known", Why: "so there is no Cluster to look a name up in",
			Next: "give --gitops DIR, or --destination-path s3://BUCKET/PATH", Err: recovery.ErrUsage,
		}
	}
	return lister, gaps, nil
}

// ResolveDatabase finds the one database that a name means.
func (a *App) ResolveDatabase(name string, databases []recovery.Database) (recovery.Database, error) {
	return cloudnativepg.Resolve(name, databases)
}

// manifests are where objects come from: the live cluster, else the GitOps tree, else nowhere.
type manifests struct {
	live *kube.Client
	tree *gitops.Tree
}

// objects decides where manifests come from. Without --offline that is the cluster; when no cluster
// is configured at all, the GitOps tree; and when there is no tree but a repository or destination is
// named, nothing: the repository alone answers.
func (a *App) objects() (manifests, recovery.Gaps, error) {
	places, err := a.places()
	if err != nil {
		return manifests{}, nil, err
	}
	if !a.settings.Offline {
		client, err := a.cluster()
		if err == nil {
			return manifests{live: client}, nil, nil
		}
		if !errors.Is(err, errNoKubeconfig) || (places.GitOps == "" && places.Repo == "" && places.DestinationPath == "") {
			return manifests{}, nil, err
		}
	}
	found, err := a.tree()
	if err != nil {
		return manifests{}, found.gaps, err
	}
	return manifests{tree: found.tree}, found.gaps, nil
}
