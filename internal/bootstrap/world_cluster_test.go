package bootstrap

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/drctl/drctl/internal/recovery"
)

type fakeCluster struct{ *world }

func (c fakeCluster) Identity(context.Context) (Identity, error) {
	return Identity{ClusterUID: "uid-1", Server: "https://api.example.org", Context: "lab"}, nil
}
func (c fakeCluster) Version(context.Context) (string, error)            { return c.version, nil }
func (c fakeCluster) Admin(context.Context) (bool, error)                { return c.admin, nil }
func (c fakeCluster) Nodes(context.Context) ([]recovery.Node, error)     { return c.nodes, nil }
func (c fakeCluster) Network(context.Context) (*recovery.Network, error) { return c.network, nil }
func (c fakeCluster) Definition(_ context.Context, n string) (bool, error) {
	return c.definitions[n], nil
}
func (c fakeCluster) StorageClasses(context.Context) ([]string, string, error) {
	return c.classes, "", nil
}

func (c fakeCluster) Secret(_ context.Context, namespace, name string) (map[string][]byte, error) {
	return c.secrets[namespace+"/"+name], nil
}

func (c fakeCluster) ApplySecret(_ context.Context, s SecretFile, replace bool) (changed bool, err error) {
	err = c.call("apply-secret", func() error {
		name := s.Namespace + "/" + s.Name
		live := c.secrets[name]
		for key, value := range s.Values {
			if there, found := live[key]; found && string(there) != string(value) && !replace {
				return &recovery.Problem{What: "apply Secret " + name, Why: "it holds another value", Err: recovery.ErrConflict}
			}
		}
		changed = !holds(live, s.Values)
		if live == nil {
			c.secrets[name] = map[string][]byte{}
		}
		maps.Copy(c.secrets[name], s.Values)
		return nil
	})
	return changed, err
}

func (c fakeCluster) Applications(context.Context) ([]recovery.ManagedApplication, error) {
	var all []recovery.ManagedApplication
	err := c.call("applications", func() error {
		c.pass()
		for _, name := range slices.Sorted(maps.Keys(c.applications)) {
			all = append(all, *c.applications[name])
		}
		return nil
	})
	return all, err
}

func (c fakeCluster) ApplyRoot(_ context.Context, manifest []byte) error {
	return c.call("apply-root", func() error {
		if !c.definitions[applicationDefinition] {
			return fmt.Errorf("no matches for kind Application: %w", recovery.ErrNotFound)
		}
		c.root = decodeRoot(manifest)
		return nil
	})
}

func (c fakeCluster) RootApplied(_ context.Context, manifest []byte) (bool, error) {
	return c.root == decodeRoot(manifest), nil
}
func (c fakeCluster) Refresh(context.Context, string, string) error { return nil }
func (c fakeCluster) Troubles(_ context.Context, namespaces []string) ([]recovery.Trouble, error) {
	var all []recovery.Trouble
	for _, namespace := range namespaces {
		all = append(all, c.troubles[namespace]...)
	}
	return all, nil
}
func (c fakeCluster) Claims(context.Context) ([]recovery.RestoringClaim, error) { return c.claims, nil }
func (c fakeCluster) Databases(context.Context) ([]LiveDatabase, error)         { return c.databases, nil }

type fakeReleases struct{ *world }

func (r fakeReleases) Load(_ context.Context, source recovery.ChartSource) (recovery.Chart, error) {
	return recovery.Chart{Name: ChartName, Version: r.chartVersion, AppVersion: "v3.5.0", Digest: r.chart, Source: source}, nil
}

func (r fakeReleases) Release(context.Context, string, string) (*recovery.Release, error) {
	newest := r.newest()
	if newest == nil {
		return nil, nil
	}
	release := newest.Release
	for _, each := range r.revisions {
		if each.Status == "deployed" {
			release.Deployed, release.DeployedVersion = each.Revision, each.ChartVersion
		}
	}
	return &release, nil
}
func (r fakeReleases) Render(context.Context, Target) (string, error) {
	return "kind: Deployment\n", nil
}
func (r fakeReleases) Difference(_ context.Context, t Target) ([]string, error) {
	if newest := r.newest(); newest.ChartVersion != t.Chart.Version {
		return []string{"chart " + newest.ChartVersion + " becomes " + t.Chart.Version}, nil
	}
	return nil, nil
}

func (r fakeReleases) ApplyDefinitions(context.Context, Target) ([]string, error) {
	return []string{applicationDefinition}, r.call("apply-definitions", func() error {
		r.definitions[applicationDefinition] = true
		return nil
	})
}

// Deploy is two calls, as Helm's is many: a process may die between its record and its end.
func (r fakeReleases) Deploy(_ context.Context, t Target, planID string) error {
	err := r.call("deploy-begin", func() error {
		if newest := r.newest(); newest != nil && newest.Pending {
			return fmt.Errorf("another operation is in progress: %w", recovery.ErrConflict)
		}
		r.revisions = append(r.revisions, fakeRevision{Release: recovery.Release{
			Namespace: t.Namespace, Name: t.Name, Revision: len(r.revisions) + 1, Status: "pending-install", Pending: true, ChartName: ChartName, ChartVersion: t.Chart.Version,
			UpdatedAt: r.clock, PlanID: planID,
		}})
		return nil
	})
	if err != nil {
		return err
	}
	return r.call("deploy-end", func() error {
		newest := r.newest()
		newest.Pending = false
		if r.failing {
			newest.Status = "failed"
			return &recovery.Problem{What: "deploy", Why: "hook Job argocd/redis-secret-init failed", Next: "kubectl -n argocd logs job/redis-secret-init"}
		}
		for i := range r.revisions {
			if r.revisions[i].Status == "deployed" {
				r.revisions[i].Status = "superseded"
			}
		}
		newest.Status = "deployed"
		return nil
	})
}

func (r fakeReleases) DeployedBy(_ context.Context, _, _, planID string) (bool, error) {
	newest := r.newest()
	return newest != nil && newest.Status == "deployed" && newest.PlanID == planID, nil
}

func (r fakeReleases) Unlock(_ context.Context, _, _ string, revision int) error {
	return r.call("unlock", func() error {
		newest := r.newest()
		if newest.Revision != revision || !newest.Pending {
			return recovery.ErrConflict
		}
		newest.Status, newest.Pending = "failed", false
		return nil
	})
}

func (r fakeReleases) Readiness(context.Context, string, string) ([]recovery.ObjectState, error) {
	var states []recovery.ObjectState
	err := r.call("readiness", func() error {
		states = []recovery.ObjectState{{Object: "Deployment argocd/argocd-server", Ready: !r.broken}}
		if r.broken {
			states[0].Why, states[0].Hopeless = "Pod argocd-server-0: ImagePullBackOff: no such image", true
		}
		return nil
	})
	return states, err
}

func (r fakeReleases) Rollback(_ context.Context, _, _ string, revision int) error {
	return r.call("rollback", func() error {
		for i := range r.revisions {
			if r.revisions[i].Status == "deployed" {
				r.revisions[i].Status = "superseded"
			}
		}
		back := r.revisions[revision-1].Release
		back.Revision, back.Status, back.Pending = len(r.revisions)+1, "deployed", false
		r.revisions = append(r.revisions, fakeRevision{Release: back})
		return nil
	})
}

func (r fakeReleases) Uninstall(context.Context, string, string) error {
	return r.call("uninstall", func() error {
		if len(r.applications) > 0 {
			r.lost = append(r.lost, "uninstalled with Applications there")
		}
		r.revisions = nil
		return nil
	})
}
