// Package bootstrapworld is everything around a cluster that is bootstrapped, in one piece: a control plane with
// controllers, scheduler and a node on which nothing is installed but a CNI, the GitOps tree in a Git remote, Argo CD's
// chart in a repository, a backup repository, an Argo CD stand-in that sleeps until that chart is installed, and a
// proxy in front of API server, Git and charts through which drctl goes, so that it can be killed at any request. Its
// oracle judges what came of it without any of drctl's code.
//
// It must not import any package of drctl but lab and recovery, whose words a seeded backup needs.
package bootstrapworld

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// What the world's tree installs.
const (
	// Root is the root Application.
	Root = "root"
	// CiliumVersion is what the tree pins, and what runs.
	CiliumVersion = "1.18.2"
	// NotesToken and KopiaPassword are values of the operator's Secrets: they must appear in no output.
	NotesToken    = "CANARY-NOTES-TOKEN-51fe"
	KopiaPassword = lab.PlatformKopiaPassword
)

// Applications are those that the tree makes, the root besides, in the order of their waves.
func Applications() []string {
	return []string{"cilium", "longhorn", "pvc-plumber", "kyverno", "gateway", "notes", "photos"}
}

// Options are the choices that Up leaves.
type Options struct {
	// Interval is how long Argo CD takes to see a change; 5 s when zero.
	Interval time.Duration
	// Program is the drctl to run.
	Program string
	// FullChart takes the lab's chart of Argo CD, with Argo CD's real definitions, in place of the world's own small
	// one.
	FullChart bool
}

// World is a cluster that can be bootstrapped again and again.
type World struct {
	Stack       *lab.Stack
	Kubernetes  *lab.Kubernetes
	Provisioner *lab.Provisioner
	Node        *lab.Node
	Remote      *lab.GitRemote
	Argo        *lab.ArgoCD
	Proxy       *lab.KillProxy
	Charts      *lab.ChartRepository
	// Repository is the folder of the claims' Kopia repository.
	Repository string

	client  kubernetes.Interface
	dynamic dynamic.Interface
	applier *lab.Applier

	options    Options
	kubeconfig string
	runs       int
}

// Up starts the world: an empty cluster. It needs root.
func Up(ctx context.Context, s *lab.Stack, o Options) (*World, error) {
	w := &World{Stack: s, options: o}
	for _, start := range []func(context.Context) error{w.startCluster, w.startCharts, w.startGit, w.startBackups, w.startArgo, w.furnish} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Use has operators run another drctl from now on.
func (w *World) Use(program string) { w.options.Program = program }

func (w *World) startCluster(ctx context.Context) (err error) {
	if w.Kubernetes, err = w.Stack.ControlPlane(ctx, lab.ControlPlaneOptions{ControllerManager: true, Scheduler: true, ControllerQPS: 200}); err != nil {
		return err
	}
	config := w.Kubernetes.RESTConfig()
	if w.client, err = kubernetes.NewForConfig(config); err == nil {
		w.dynamic, err = dynamic.NewForConfig(config)
	}
	if err != nil {
		return fmt.Errorf("bootstrapworld: client: %w", err)
	}
	if w.applier, err = w.Kubernetes.Applier(); err != nil {
		return err
	}
	if w.Provisioner, err = w.Stack.RootProvisioner(ctx, w.Kubernetes); err != nil {
		return err
	}
	w.Node, err = w.Stack.Node(ctx, w.Kubernetes, w.Provisioner, lab.NodeOptions{Scheduled: true})
	return err
}

// startGit puts the tree under Git. Its files name the repository and the charts as drctl sees them, which is known
// only when the proxy stands, so they come with a second commit.
func (w *World) startGit(ctx context.Context) error {
	seed, err := w.Stack.Dir("seed")
	if err != nil {
		return err
	}
	if err := write("secrets", filepath.Join(seed, "secrets"), strings.NewReplacer("KOPIA_PASSWORD_VALUE", "CHANGE-ME", "NOTES_TOKEN_VALUE", "CHANGE-ME")); err != nil {
		return err
	}
	if w.Remote, err = w.Stack.GitRemote(ctx, seed); err != nil {
		return err
	}
	w.Proxy, err = w.Stack.KillProxy(lab.Upstreams{API: w.Kubernetes.RESTConfig(), GitURL: w.Remote.URL, ChartsURL: w.Charts.URL})
	if err != nil {
		return err
	}
	if w.kubeconfig, err = w.Proxy.Kubeconfig(w.Kubernetes.RESTConfig()); err != nil {
		return err
	}
	if w.Repository, err = w.Stack.Dir("repository"); err != nil {
		return err
	}
	_, err = w.Remote.Commit(ctx, "The platform", func(dir string) error {
		return write("tree", dir, strings.NewReplacer(
			"REPO_URL", w.Proxy.GitURL, "CHARTS_URL", w.Proxy.ChartsURL, "CHART_VERSION", ChartVersion, "CILIUM_VERSION", CiliumVersion, "REPOSITORY", w.Repository,
		))
	})
	return err
}

// startBackups seeds the repository that claims are restored from. It holds none of this tree's: without a policy that
// asks for it nothing is populated here, and a claim that came up empty beside its backup is no success.
func (w *World) startBackups(ctx context.Context) error {
	at := time.Now().UTC().Add(-time.Hour)
	return lab.SeedSnapshots(ctx, w.Repository, KopiaPassword, []lab.KopiaSnapshot{{
		Source: recovery.KopiaSource{Username: "library-backup", Hostname: "books", Path: "/data"}, StartTime: at, EndTime: at.Add(time.Second), SizeBytes: 1000, Files: 3,
	}})
}

func (w *World) startArgo(ctx context.Context) (err error) {
	w.Argo, err = w.Stack.ArgoCD(ctx, w.Kubernetes, w.Remote, lab.ArgoOptions{Interval: w.options.Interval, Dormant: true, ChartDelay: 300 * time.Millisecond})
	return err
}
