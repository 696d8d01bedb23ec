// Package restoreworld is everything around a claim that is restored, in one piece: the restore lab with
// Kyverno's real controllers and the platform's policies, a Git remote with an application, the Argo CD
// stand-in that follows it, and a proxy in front of the API server through which drctl goes, so that it can be
// killed at any request. Its oracle judges what came of it without any of drctl's code.
//
// It must not import any package of drctl but lab.
package restoreworld

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
)

// The application of the world: a Deployment that mounts a claim.
const (
	Namespace   = "notes"
	Claim       = "data"
	Deployment  = "notes"
	Application = "notes"
)

// Options are the choices that Up leaves.
type Options struct {
	// Interval is how long Argo CD takes to see a change; 5 s when zero.
	Interval time.Duration
	// Program is the drctl to run.
	Program string
	// Users get a token each.
	Users []string
	// WithoutKyverno leaves the policies out: for what does not depend on them.
	WithoutKyverno bool
	// StorageClass is the claim's; RestoreClass when empty.
	StorageClass string
}

// World is a platform with an application whose claim can be restored again and again.
type World struct {
	*lab.RestoreLab
	Kyverno *lab.Kyverno
	Plumber *lab.Plumber
	Remote  *lab.GitRemote
	Argo    *lab.ArgoCD
	Proxy   *lab.KillProxy

	client  kubernetes.Interface
	dynamic dynamic.Interface

	options    Options
	kubeconfig string
	runs       int
	seeds      uint64
}

// Up starts the world.
func Up(ctx context.Context, s *lab.Stack, o Options) (*World, error) {
	w := &World{options: o}
	settings := lab.RestoreOptions{Users: o.Users, VolSync: lab.VolSyncOptions{BackoffLimit: 1}}
	if !o.WithoutKyverno {
		settings.Policies = w.startPolicies
	}
	var err error
	if w.RestoreLab, err = lab.UpRestore(ctx, s, settings); err != nil {
		return nil, err
	}
	config := w.Kubernetes.RESTConfig()
	if w.client, err = kubernetes.NewForConfig(config); err == nil {
		w.dynamic, err = dynamic.NewForConfig(config)
	}
	if err != nil {
		return nil, fmt.Errorf("restoreworld: client: %w", err)
	}
	if err := w.startGitOps(ctx, s, o); err != nil {
		return nil, err
	}
	if w.Proxy, err = s.KillProxy(lab.Upstreams{API: config}); err != nil {
		return nil, err
	}
	w.kubeconfig, err = w.Proxy.Kubeconfig(config)
	return w, err
}

// startPolicies starts Kyverno and the plumber that it asks.
func (w *World) startPolicies(ctx context.Context, l *lab.RestoreLab) (err error) {
	if w.Plumber, err = l.Stack.Plumber(ctx, lab.FailsClosed, w.backedUp(l)); err != nil {
		return err
	}
	if w.Kyverno, err = l.Stack.Kyverno(ctx, l.Kubernetes, lab.KyvernoOptions{}); err != nil {
		return err
	}
	return w.Kyverno.ApplyPlatformPolicies(ctx, lab.PolicyOptions{PlumberURL: w.Plumber.URL, NFSServer: l.Platform.NFSServer, NFSPath: l.Platform.NFSPath})
}

// backedUp is what the plumber knows: Kopia's own list.
func (w *World) backedUp(l *lab.RestoreLab) lab.Exists {
	return func(ctx context.Context, namespace, claim string) (bool, error) {
		if claim == "" { // readyz: whether the repository can be read at all
			_, err := l.Kopia.Run(ctx, "repository", "status")
			return false, err
		}
		snapshots, err := snapshotsOf(ctx, l, namespace, claim)
		return len(snapshots) > 0, err
	}
}

// snapshotsOf are the IDs of a claim's complete snapshots, oldest first, as Kopia lists them.
func snapshotsOf(ctx context.Context, l *lab.RestoreLab, namespace, claim string) ([]string, error) {
	out, err := l.Kopia.Run(ctx, "snapshot", "list", claim+"-backup@"+namespace+":/data", "--json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		ID         string `json:"id"`
		Incomplete string `json:"incomplete"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("restoreworld: what kopia lists: %w", err)
	}
	var ids []string
	for _, snapshot := range list {
		if snapshot.Incomplete == "" {
			ids = append(ids, snapshot.ID)
		}
	}
	return ids, nil
}

// startGitOps puts the application under Git and Argo CD.
func (w *World) startGitOps(ctx context.Context, s *lab.Stack, o Options) error {
	tree, err := s.Dir("application")
	if err != nil {
		return err
	}
	if err := writeApplication(tree, o.StorageClass); err != nil {
		return err
	}
	if err := w.AddNamespace(ctx, Namespace); err != nil {
		return err
	}
	if w.Remote, err = s.GitRemote(ctx, tree); err != nil {
		return err
	}
	w.Argo, err = s.ArgoCD(ctx, w.Kubernetes, w.Remote, lab.ArgoOptions{
		Interval: o.Interval, Retry: lab.ArgoRetry{Limit: 2, Backoff: 500 * time.Millisecond, Factor: 2, MaxBackoff: 2 * time.Second},
	})
	if err != nil {
		return err
	}
	if err := w.Argo.Track(ctx, Application, "my-apps/media/notes", ""); err != nil {
		return err
	}
	return w.Settled(ctx)
}

// Use has operators run another drctl from now on.
func (w *World) Use(program string) { w.options.Program = program }

// Settled waits until Argo CD has synced the branch's head, the claim is bound and the application runs.
func (w *World) Settled(ctx context.Context) error {
	head, err := w.Remote.Head(ctx)
	if err != nil {
		return err
	}
	_, err = w.Argo.WaitFor(ctx, Application, func(s lab.ArgoState) bool {
		// A sync that failed behind a fence stays the last one: what is Synced again is not synced once more.
		return s.Sync == "Synced" && s.Revision == head && (s.Phase == "Succeeded" || s.Phase == "Failed") && s.Health == "Healthy"
	})
	if err != nil {
		return err
	}
	_, err = w.WaitBound(ctx, Namespace, Claim)
	return err
}

// Operator is a person at a computer: a home folder with drctl's state.
type Operator struct {
	world *World
	Home  string
	// env replaces or adds variables.
	env []string
}

// NewOperator is a computer on which drctl was never run.
func (w *World) NewOperator() (*Operator, error) {
	w.runs++
	home, err := w.Stack.Dir(fmt.Sprintf("restorer-%d", w.runs))
	return &Operator{world: w, Home: home}, err
}

// With is the operator with more variables.
func (o *Operator) With(env ...string) *Operator {
	more := *o
	more.env = append(slices.Clone(o.env), env...)
	return &more
}

// Command is drctl, going through the proxy, with nothing of this process's environment but PATH.
func (o *Operator) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, o.world.options.Program, args...)
	cmd.Dir = o.Home
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + o.Home, "TMPDIR=" + o.Home, "KUBECONFIG=" + o.world.kubeconfig,
		"DRCTL_REPO=" + o.world.Repository, "KOPIA_PASSWORD=" + o.world.Platform.KopiaPassword,
	}, o.env...)
	return cmd
}

// Run runs drctl to its end with nothing in its way.
func (o *Operator) Run(ctx context.Context, args ...string) (lab.ProxiedRun, error) {
	return lab.RunClean(ctx, o.world.Proxy, o.Command(ctx, args...))
}

// Plans are the IDs of the plans on this computer.
func (o *Operator) Plans() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(o.Home, ".local", "state", "drctl", "plans"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join(o.Home, ".local", "state", "drctl", "plans", entry.Name(), "plan.json")); err == nil {
			ids = append(ids, entry.Name())
		}
	}
	return ids, err
}
