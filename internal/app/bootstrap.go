package app

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/argocd"
	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/helm"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/kube/platform"
	"github.com/drctl/drctl/internal/launch"
	"github.com/drctl/drctl/internal/recovery"
)

// Bootstrap gives the use case of bootstraps. Gitops is the tree of a plan that is resumed, where none is named
// otherwise; secrets is the folder of Secrets, which opens the backups too.
func (a *App) Bootstrap(ctx context.Context, dir, secrets string) (*bootstrap.Bootstrap, error) {
	client, err := a.cluster()
	if err != nil {
		return nil, err
	}
	places, err := a.places()
	if err != nil {
		return nil, err
	}
	launch.LongRun()
	releases, err := helm.New(helm.Options{REST: client.Connection(), CacheDir: a.chartCache()})
	if err != nil {
		return nil, err
	}
	use := &bootstrap.Bootstrap{
		Cluster: bootstrapCluster{platform.New(client), client}, Releases: bootstrapReleases{releases}, Files: secretFiles, Now: now,
	}
	dir = firstOf(places.GitOps, dir)
	if dir == "" {
		return use, nil
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	tree, gaps, err := gitops.Open(ctx, absolute)
	if err != nil {
		return nil, err
	}
	use.Tree = bootstrapTree{gitops.NewPlatform(tree), tree, gaps}
	use.Git = bootstrapGit{absolute}
	use.Backups = bootstrapBackups{a.beside(ctx, absolute, secrets)}
	return use, nil
}

// chartCache is where charts are kept that were downloaded: a bootstrap that is resumed must find the same one, also
// when the repository is gone meanwhile.
func (a *App) chartCache() string {
	if base := a.getenv("XDG_CACHE_HOME"); base != "" {
		return filepath.Join(base, "drctl", "charts")
	}
	if home := a.getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "drctl", "charts")
	}
	return ""
}

// beside is the same drctl that takes everything from the tree and from the folder of Secrets: the cluster that is
// bootstrapped has nothing to say about where its backups are.
func (a *App) beside(ctx context.Context, dir, secrets string) *App {
	settings := *a.settings
	settings.Offline, settings.GitOps = true, dir
	beside := New(ctx, &settings, a.streams, a.getenv)
	if secrets != "" {
		beside.secrets = func(ctx context.Context, namespace, name string) (map[string][]byte, error) {
			files, err := gitops.SecretFiles(ctx, secrets)
			i := slices.IndexFunc(files, func(f gitops.SecretFile) bool { return f.Namespace == namespace && f.Name == name })
			if err != nil || i < 0 {
				return nil, err
			}
			return files[i].Values, nil
		}
	}
	beside.fallback = a
	return beside
}

// secretFiles reads the Secrets of a folder.
func secretFiles(ctx context.Context, dir string) ([]bootstrap.SecretFile, error) {
	files, err := gitops.SecretFiles(ctx, dir)
	secrets := make([]bootstrap.SecretFile, 0, len(files))
	for _, file := range files {
		secrets = append(secrets, bootstrap.SecretFile(file))
	}
	return secrets, err
}

// bootstrapCluster is the cluster that is bootstrapped.
type bootstrapCluster struct {
	*platform.API
	client *kube.Client
}

// Identity says which cluster it is.
func (c bootstrapCluster) Identity(ctx context.Context) (bootstrap.Identity, error) {
	uid, err := c.client.ClusterUID(ctx)
	return bootstrap.Identity{ClusterUID: uid, Server: c.client.Server(), Context: c.client.ContextName()}, err
}

// ApplySecret makes a Secret of the operator's.
func (c bootstrapCluster) ApplySecret(ctx context.Context, secret bootstrap.SecretFile, replace bool) (bool, error) {
	return c.API.ApplySecret(ctx, platform.SecretFile{
		Namespace: secret.Namespace, Name: secret.Name, Type: secret.Type, Labels: secret.Labels, Annotations: secret.Annotations, Values: secret.Values,
	}, replace)
}

// Applications are those of Argo CD.
func (c bootstrapCluster) Applications(ctx context.Context) ([]recovery.ManagedApplication, error) {
	return argocd.Managed(ctx, argoAPI{c.client})
}

func clustersResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}
}

// Databases are the live Clusters; what is around them that can't be read is a gap, and then not known.
func (c bootstrapCluster) Databases(ctx context.Context) ([]bootstrap.LiveDatabase, error) {
	objects, gaps, err := c.client.List(ctx, clustersResource(), "")
	if errors.Is(err, recovery.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	databases, more, err := cloudnativepg.Databases(ctx, c.client, "")
	if err != nil {
		return nil, err
	}
	byName := map[string]*unstructured.Unstructured{}
	for i := range objects {
		byName[objects[i].GetNamespace()+"/"+objects[i].GetName()] = &objects[i]
	}
	var live []bootstrap.LiveDatabase
	for _, database := range databases {
		object := byName[database.Namespace+"/"+database.Name]
		if object == nil {
			continue // it came in between, and is seen with the next look
		}
		system, _, _ := unstructured.NestedString(object.Object, "status", "systemID")
		// An import fills what initdb made from another database, which runs.
		_, imports, _ := unstructured.NestedMap(object.Object, "spec", "bootstrap", "initdb", "import")
		live = append(live, bootstrap.LiveDatabase{
			Database: database, SystemID: system, Initdb: cloudnativepg.Bootstrap(object) == "initdb" && !imports, CreatedAt: object.GetCreationTimestamp().UTC(),
		})
	}
	for _, gap := range append(gaps, more...) {
		err = errors.Join(err, gap)
	}
	return live, err
}

// bootstrapReleases is Helm.
type bootstrapReleases struct{ *helm.Client }

func (r bootstrapReleases) Render(ctx context.Context, t bootstrap.Target) (string, error) {
	return r.Client.Render(ctx, helm.Target(t))
}

func (r bootstrapReleases) Difference(ctx context.Context, t bootstrap.Target) ([]string, error) {
	return r.Client.Difference(ctx, helm.Target(t))
}

func (r bootstrapReleases) ApplyDefinitions(ctx context.Context, t bootstrap.Target) ([]string, error) {
	return r.Client.ApplyDefinitions(ctx, helm.Target(t))
}

func (r bootstrapReleases) Deploy(ctx context.Context, t bootstrap.Target, planID string) error {
	return r.Client.Deploy(ctx, helm.Target(t), planID)
}
