package flip

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

func (c fakeCluster) HandBack(ctx context.Context, git json.RawMessage) (bool, error) {
	end, err := c.w.call(ctx, "hand-back")
	if err != nil {
		return false, err
	}
	defer end()
	m := manifestOf(git)
	live := c.w.Clusters[m.Name]
	c.w.lose(live.Primary == "", "handed back while it recovers")
	c.w.lose(m.Server != live.WriteServer, "handed back to another server")
	live.Bootstrap, live.Manifest = m.Bootstrap, git
	return true, nil
}

func (c fakeCluster) HandedBack(ctx context.Context, git json.RawMessage) (bool, error) {
	_, err := c.w.call(ctx, "handed-back")
	m := manifestOf(git)
	return c.w.Clusters[m.Name].Bootstrap == m.Bootstrap, err
}

func (c fakeCluster) AdmitAsGitOps(ctx context.Context, _ json.RawMessage) error {
	_, err := c.w.call(ctx, "admit-as-gitops")
	return err
}

func (c fakeCluster) ReleaseFields(ctx context.Context, _, name string) error {
	end, err := c.w.call(ctx, "release-fields")
	if err == nil {
		c.w.Clusters[name].Manager = "argocd"
		end()
	}
	return err
}

func (c fakeCluster) FieldsReleased(ctx context.Context, _, name string) (bool, error) {
	_, err := c.w.call(ctx, "fields")
	return c.w.Clusters[name].Manager != "drctl", err
}

func (c fakeCluster) Operator(ctx context.Context) (string, error) {
	_, err := c.w.call(ctx, "operator")
	return c.w.image, err
}

func (c fakeCluster) StorageClasses(ctx context.Context) ([]string, error) {
	_, err := c.w.call(ctx, "classes")
	return c.w.classes, err
}

// fakeFence is the fence.
type fakeFence struct{ w *world }

func (f fakeFence) Up(ctx context.Context, planID, _, _ string, expires time.Time) error {
	end, err := f.w.call(ctx, "fence-up")
	if err == nil {
		f.w.Fences[planID] = expires
		end()
	}
	return err
}

func (f fakeFence) Prove(ctx context.Context, planID, _, _ string, _ json.RawMessage) error {
	_, err := f.w.call(ctx, "fence-prove")
	if _, stands := f.w.Fences[planID]; err == nil && !stands {
		err = errors.New("it let a request through")
	}
	return err
}

func (f fakeFence) Standing(ctx context.Context, planID, _, _ string) (bool, error) {
	_, err := f.w.call(ctx, "fence-standing")
	_, stands := f.w.Fences[planID]
	return stands, err
}

func (f fakeFence) Left(ctx context.Context, planID string) (bool, error) {
	_, err := f.w.call(ctx, "fence-left")
	_, stands := f.w.Fences[planID]
	return stands, err
}

func (f fakeFence) Down(ctx context.Context, planID, _, name string) error {
	end, err := f.w.call(ctx, "fence-down")
	if err != nil {
		return err
	}
	defer end()
	live := f.w.Clusters[name]
	f.w.lose(live == nil || live.Bootstrap == "recovery", "fence down before the hand-back")
	delete(f.w.Fences, planID)
	return nil
}

// fakeGit is the checkout and its remote.
type fakeGit struct{ w *world }

func (g fakeGit) Check(ctx context.Context) (GitState, error) {
	_, err := g.w.call(ctx, "git-check")
	if err == nil {
		err = g.w.dirty
	}
	return GitState{Directory: "/src/platform", Branch: "main", Remote: "origin", Head: "c0", Ahead: g.w.ahead}, err
}

func (g fakeGit) Preview(ctx context.Context, namespace, name, _, to string) (json.RawMessage, string, error) {
	if _, err := g.w.call(ctx, "preview"); err != nil {
		return nil, "", err
	}
	if !g.w.inTree {
		return nil, "", recovery.ErrNotFound
	}
	diff := ""
	if to != g.w.Tree {
		diff = "-serverName: " + g.w.Tree + "\n+serverName: " + to + "\n"
	}
	return manifest{Namespace: namespace, Name: name, Server: to, Bootstrap: "initdb", Class: "longhorn", Database: "immich"}.raw(), diff, nil
}

func (g fakeGit) Commit(ctx context.Context, planID, _, _, _, to string) (string, error) {
	end, err := g.w.call(ctx, "commit")
	if err != nil {
		return "", err
	}
	defer end()
	if g.w.Tree == to {
		return "by-hand", nil
	}
	g.w.Tree, g.w.Commits[planID], g.w.elsewhere = to, "c1", false
	return "c1", nil
}

func (g fakeGit) Committed(ctx context.Context, planID string) (string, error) {
	_, err := g.w.call(ctx, "committed")
	return g.w.Commits[planID], err
}

func (g fakeGit) Undo(ctx context.Context, _ string) error {
	end, err := g.w.call(ctx, "undo-commit")
	if err == nil && g.w.dirty != nil {
		return &recovery.Problem{What: "take back commit c1", Why: g.w.dirty.Error(), Next: "commit or stash them, then run the command again", Err: recovery.ErrUnsupported}
	}
	if err == nil {
		g.w.Tree, g.w.Commits = v1, map[string]string{}
		end()
	}
	return err
}

func (g fakeGit) Push(ctx context.Context, _ string) error {
	end, err := g.w.call(ctx, "push")
	if err != nil {
		return err
	}
	defer end()
	live := g.w.Clusters[name]
	g.w.lose(live != nil && live.PlanID == "", "pushed to the old Cluster")
	g.w.RemoteServer, g.w.RemoteBootstrap = g.w.Tree, "initdb"
	return nil
}

func (g fakeGit) Pushed(ctx context.Context, _ string) (bool, error) {
	_, err := g.w.call(ctx, "pushed")
	if err == nil && g.w.elsewhere {
		return false, recovery.ErrNotFound
	}
	return g.w.RemoteServer == g.w.Tree, err
}

func (g fakeGit) Remote(ctx context.Context, namespace, name string) (string, json.RawMessage, error) {
	if _, err := g.w.call(ctx, "remote"); err != nil || g.w.RemoteServer == "" {
		return "c1", nil, err
	}
	return "c1", manifest{Namespace: namespace, Name: name, Server: g.w.RemoteServer, Bootstrap: g.w.RemoteBootstrap, Class: "longhorn", Database: "immich"}.raw(), nil
}

// fakeArgo is Argo CD.
type fakeArgo struct{ w *world }

func (a fakeArgo) Owner(ctx context.Context, _, _ string) (*recovery.Application, error) {
	_, err := a.w.call(ctx, "owner")
	return a.w.app, err
}

func (a fakeArgo) Busy(ctx context.Context, _ recovery.Application, revision string) (bool, error) {
	_, err := a.w.call(ctx, "busy")
	return a.w.Running != "" && a.w.Running != revision, err
}

func (a fakeArgo) Terminate(ctx context.Context, _ recovery.Application, _ string) error {
	end, err := a.w.call(ctx, "terminate")
	if err == nil {
		a.w.Running = ""
		end()
	}
	return err
}

func (a fakeArgo) Sync(ctx context.Context, _ recovery.Application, revision string) error {
	end, err := a.w.call(ctx, "sync")
	if err == nil {
		a.w.Running, a.w.gaveUp = revision, false
		a.w.synced++
		end()
	}
	return err
}

// Synced lets time go by for an operation: it ends.
func (a fakeArgo) Synced(ctx context.Context, _ recovery.Application, revision string) (done, asked bool, why string, err error) {
	_, err = a.w.call(ctx, "synced")
	asked = a.w.Running == revision
	done = a.w.Synced == revision
	if asked {
		a.w.Running, a.w.Synced = "", revision
	}
	why = "OutOfSync at " + a.w.Synced
	if a.w.gaveUp {
		why += ": failed previous sync attempt, will not retry"
	}
	return done, asked || done, why, err
}
