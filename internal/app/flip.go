package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/cloudnativepg/live"
	"github.com/drctl/drctl/internal/cnpg"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Flip gives the use case of recoveries. Offline it has no Cluster, no Fence and no Argo CD.
func (a *App) Flip(ctx context.Context) (*flip.Flip, error) {
	use := &flip.Flip{
		Find: a.findDatabase, FromManifest: databaseOf, Archive: flipArchive{a}, Render: flipRenderer{}, Now: now,
	}
	var err error
	if use.Git, err = a.openGit(ctx); err != nil && !a.settings.Offline {
		return nil, err
	}
	if a.settings.Offline {
		use.Git = offlineGit(use.Git, a)
		return use, nil
	}
	client, err := a.cluster()
	if err != nil {
		return nil, err
	}
	use.Cluster, use.Fence, use.Argo = flipCluster{live.API{Client: client}}, flipFence{client}, flipArgo{argoAPI{client}}
	return use, nil
}

// offlineGit needs no checkout: a tree that is none is read all the same.
func offlineGit(checkout flip.Git, a *App) flip.Git {
	places, err := a.places()
	if checkout != nil || err != nil || places.GitOps == "" {
		return checkout
	}
	return plainTree{folder: places.GitOps}
}

// plainTree is a GitOps tree that is no checkout: it can be looked at.
type plainTree struct {
	flip.Git
	folder string
}

// Preview gives the Cluster that the tree builds, unchanged: the renderer sets the server anyway.
func (p plainTree) Preview(ctx context.Context, namespace, name, _, _ string) (json.RawMessage, string, error) {
	manifest, err := flipGit{}.build(ctx, p.folder, namespace, name)
	if err == nil && manifest == nil {
		err = &recovery.Problem{What: "find Cluster " + namespace + "/" + name + " in the GitOps tree", Err: recovery.ErrNotFound}
	}
	return manifest, "", err
}

// findDatabase looks a name up in the cluster, and where the Cluster is gone in the GitOps tree.
func (a *App) findDatabase(ctx context.Context, q cnpg.BackupQuery) (recovery.Database, recovery.Gaps, error) {
	q.Resolve = a.ResolveDatabase
	lister, gaps, err := a.CNPG(ctx, true)
	if err != nil {
		return recovery.Database{}, gaps, err
	}
	db, more, err := lister.Find(ctx, q)
	gaps = append(gaps, more...)
	if !errors.Is(err, recovery.ErrNotFound) || a.settings.Offline {
		return db, gaps, err
	}
	found, treeErr := a.tree()
	if treeErr != nil || found.tree == nil {
		return db, gaps, errors.Join(err, treeErr)
	}
	inTree := &cnpg.Lister{Catalogs: catalogs{a}, Databases: databaseReader{found.tree}}
	db, _, treeErr = inTree.Find(ctx, q)
	if treeErr != nil {
		return db, gaps, err
	}
	return db, gaps, nil
}

// oneObject lists a single manifest.
type oneObject struct{ object *unstructured.Unstructured }

// List gives the object when it is of that kind.
func (o oneObject) List(_ context.Context, gvr schema.GroupVersionResource, _ string) ([]unstructured.Unstructured, recovery.Gaps, error) {
	if gvr != apiv1.SchemeGroupVersion.WithResource("clusters") {
		return nil, nil, nil
	}
	return []unstructured.Unstructured{*o.object}, nil, nil
}

// databaseOf reads a Cluster's manifest that stands for itself.
func databaseOf(ctx context.Context, manifest json.RawMessage) (recovery.Database, error) {
	object, err := decodeManifest(manifest)
	if err != nil {
		return recovery.Database{}, err
	}
	databases, gaps, err := cloudnativepg.Databases(ctx, oneObject{object}, "")
	if err != nil {
		return recovery.Database{}, err
	}
	if len(gaps) > 0 {
		return recovery.Database{}, gaps[0]
	}
	if databases[0].Store.DestinationPath == "" {
		return recovery.Database{}, &recovery.Problem{
			What: "find the object store of " + databases[0].Namespace + "/" + databases[0].Name, Why: strings.Join(databases[0].Warnings, "; "),
			Next: "put it and its ObjectStore into a folder and give --gitops FOLDER", Err: recovery.ErrNotFound,
		}
	}
	return databases[0], nil
}

// Plans keeps the plans of this computer.
func (a *App) Plans() *operation.Store { return operation.NewStore(operation.DefaultDir(a.getenv)) }

// Engine runs plans, locked and mirrored in the namespace of the cluster.
func (a *App) Engine(namespace string, handlers map[string]operation.Handler) (*operation.Engine, error) {
	client, err := a.cluster()
	if err != nil {
		return nil, err
	}
	return &operation.Engine{
		Store: a.Plans(), Handlers: handlers, Now: now, Lock: client.Lock(namespace), Mirror: client.Mirror(namespace), Retryable: retryable,
	}, nil
}

// PatientEngine is the engine of one of many plans that run side by side: its lock is renewed seldom.
func (a *App) PatientEngine(namespace string, handlers map[string]operation.Handler) (*operation.Engine, error) {
	engine, err := a.Engine(namespace, handlers)
	if err != nil {
		return nil, err
	}
	client, err := a.cluster()
	if err != nil {
		return nil, err
	}
	engine.Lock = client.PatientLock(namespace)
	return engine, nil
}

// retryable are failures that a later look may not see: each retry begins with a look at what is there.
func retryable(err error) bool {
	return kube.Retryable(err) || errors.Is(err, recovery.ErrUnreachable) || errors.Is(err, recovery.ErrConflict)
}

// MirroredPlans are those with a copy in the cluster; nil when no cluster is asked.
func (a *App) MirroredPlans(context.Context) (operation.Mirror, error) {
	client, err := a.cluster()
	if a.settings.Offline || errors.Is(err, errNoKubeconfig) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return client.Mirror(a.settings.Namespace()), nil
}

// Fences are the fences that stand in the cluster.
func (a *App) Fences(ctx context.Context) ([]command.StandingFence, error) {
	client, err := a.cluster()
	if err != nil {
		return nil, err
	}
	found, err := fence.Leftovers(ctx, client)
	if err != nil {
		return nil, err
	}
	fences := make([]command.StandingFence, 0, len(found))
	for _, left := range found {
		fences = append(fences, command.StandingFence{
			PlanID: left.PlanID, Target: left.Target + " in " + left.Namespace, Expires: left.Expires,
			Remove: fmt.Sprintf("kubectl delete validatingadmissionpolicybindings,validatingadmissionpolicies %s", left.Name),
		})
	}
	return fences, nil
}
