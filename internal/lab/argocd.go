package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// The names that Argo CD acts under.
const (
	// ArgoNamespace holds the Applications.
	ArgoNamespace = "argocd"
	// ArgoManager is the field manager of its server-side apply.
	// Source: argo-cd common/common.go, ArgoCDSSAManager.
	ArgoManager = "argocd-controller"
)

// argoTick is how often the stand-in looks for a requested operation. The real controller watches.
const argoTick = 200 * time.Millisecond

// ArgoOptions choose how the Argo CD stand-in behaves.
type ArgoOptions struct {
	// Interval is how long drift, absence or a new commit may stand before it is seen, and how long
	// after a sync the next self-heal waits; 5 s when zero.
	Interval time.Duration
	// Retry is the retry strategy of the Applications that Track makes; the platform's when zero.
	Retry ArgoRetry
	// HealthOfApplications lets the health of a child Application count for its parent, so that waves wait for it,
	// whatever argocd-cm says. Without it argocd-cm decides, as in the field.
	HealthOfApplications bool
	// ChartDelay is how long an Application whose source is a chart takes to become Healthy.
	ChartDelay time.Duration
	// Dormant has the stand-in act only while the workload argocd-application-controller of ArgoNamespace has a
	// ready Pod: installing Argo CD is what brings it to life. It then makes nothing itself when it starts.
	Dormant bool
}

// ArgoRetry is an Application's retry strategy: the pause before attempt n is Backoff × Factor^n, and
// MaxBackoff at most. Limit 0 retries never, as does the real controller.
type ArgoRetry struct {
	Limit               int64
	Backoff, MaxBackoff time.Duration
	Factor              int64
}

// platformRetry is the retry strategy of the platform's ApplicationSets.
func platformRetry() ArgoRetry {
	return ArgoRetry{Limit: 5, Backoff: 5 * time.Second, Factor: 2, MaxBackoff: 3 * time.Minute}
}

// ArgoCD plays Argo CD's application controller for every Application in ArgoNamespace. It copies what
// a recovery meets, the unpleasant parts included:
//   - the Application's path is built at the branch's head, compared with the live objects and, by
//     automated sync and self-heal, applied server-side, forced, as ArgoManager. An apply creates what
//     is absent (gitops-engine pkg/sync: the sync runs a server-side dry run of everything first)
//   - a failed operation is retried at the revision that it began with, whatever was pushed meanwhile
//     (controller/appcontroller.go, processRequestedAppOperation)
//   - after its last retry the same revision is not tried again, though the obstacle be gone, until
//     somebody asks for a sync or a commit arrives (autoSync, alreadyAttemptedSync)
//   - an operation can be terminated, by writing its phase (server/application TerminateOperation)
//   - objects are applied by phase and wave, and a wave waits until the one before is healthy; Jobs that are
//     hooks run ahead and behind (gitops-engine pkg/sync)
//   - ApplicationSets with the Git generator's directories make Applications and own them
//
// Left out: several sources of one Application, what a chart renders to (such an Application is Synced at once),
// SyncFail hooks, deletion of what an Application made (finalizers), projects and their windows, client-side apply.
// Source: github.com/argoproj/argo-cd/v3 v3.5.0.
type ArgoCD struct {
	remote     *GitRemote
	apply      *Applier
	interval   time.Duration
	retry      ArgoRetry
	dir        string
	logf       func(string, ...any)
	now        func() time.Time
	chartDelay time.Duration
	// healthOfApps and dormant are the options'.
	healthOfApps, dormant bool

	// cycle is held while the stand-in acts, and by Pause until Resume.
	cycle  sync.Mutex
	paused bool
	// built holds the manifests of each revision and path, refreshed and finished when each Application was last
	// compared and last synced, and compared what was Synced then. All of them belong to the loop.
	built     map[string][]*unstructured.Unstructured
	refreshed map[string]time.Time
	finished  map[string]time.Time
	compared  map[string]argoCompared
	// generated is when each ApplicationSet was looked at, folders what a commit has, heads where branches are in
	// this round; configured is when argocd-cm was read, and appsCount whether an Application's health counts by
	// it; discovered is when the API server was last asked for an unknown kind, setsListed when for the sets. They
	// belong to the loop as well.
	generated              map[string]time.Time
	folders                map[string][]string
	heads                  map[string]string
	configured, discovered time.Time
	setsListed             time.Time
	appsCount              bool

	mu     sync.Mutex
	events []ArgoEvent
	// charts is when each Application with a chart was first seen, ordered what was ordered of one by name.
	charts  map[types.UID]time.Time
	ordered map[string]argoHealth
}

// ArgoCD starts the stand-in beside a control plane whose definitions were applied (ApplyCRDs), or, Dormant, will
// be. It follows the remote's repository, whatever URL an Application names.
func (s *Stack) ArgoCD(ctx context.Context, k *Kubernetes, remote *GitRemote, o ArgoOptions) (*ArgoCD, error) {
	applier, err := k.Applier()
	if err != nil {
		return nil, err
	}
	config := k.RESTConfig()
	config.UserAgent = "argocd-application-controller"
	if applier.client, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("lab: client of Argo CD: %w", err)
	}
	dir, err := s.Dir("argocd-" + filepath.Base(filepath.Dir(remote.Dir)))
	if err != nil {
		return nil, err
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	if o.Retry == (ArgoRetry{}) {
		o.Retry = platformRetry()
	}
	if !o.Dormant {
		if err := applier.Apply(ctx, reference("v1", "Namespace", "", ArgoNamespace)); err != nil {
			return nil, err
		}
	}
	a := &ArgoCD{
		remote: remote, apply: applier, interval: o.Interval, retry: o.Retry, dir: dir, logf: s.logf, now: time.Now,
		chartDelay: o.ChartDelay, healthOfApps: o.HealthOfApplications, dormant: o.Dormant,
		built: map[string][]*unstructured.Unstructured{}, refreshed: map[string]time.Time{}, finished: map[string]time.Time{},
		compared:  map[string]argoCompared{},
		generated: map[string]time.Time{}, folders: map[string][]string{}, heads: map[string]string{},
		charts: map[types.UID]time.Time{}, ordered: map[string]argoHealth{},
	}
	a.start(context.WithoutCancel(ctx), s)
	return a, nil
}

// start runs the loop until the stack is closed: like any other server, the stand-in outlives the call
// that started it.
func (a *ArgoCD) start(ctx context.Context, s *Stack) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			a.act(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(argoTick):
			}
		}
	})
	s.Defer(func() error {
		cancel()
		running.Wait()
		return os.RemoveAll(a.dir)
	})
}

// Pause stops the stand-in, as scaling the controller to 0 would. When it returns nothing is under way.
func (a *ArgoCD) Pause() { a.setPaused(true) }

// Resume lets it act again.
func (a *ArgoCD) Resume() { a.setPaused(false) }

func (a *ArgoCD) setPaused(paused bool) {
	a.cycle.Lock()
	defer a.cycle.Unlock()
	a.paused = paused
}

// act is one round over all Applications. An API server that does not answer is asked again.
func (a *ArgoCD) act(ctx context.Context) {
	a.cycle.Lock()
	defer a.cycle.Unlock()
	if a.paused {
		return
	}
	if !a.awake(ctx) {
		return
	}
	clear(a.heads)
	a.generate(ctx)
	apps, err := a.applications(ctx)
	if err != nil {
		return
	}
	for _, app := range apps {
		if err := a.actOn(ctx, app); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
			a.note(ArgoEvent{Application: app.Metadata.Name, Kind: ArgoFailedRound, Message: err.Error()})
		}
	}
}

func (a *ArgoCD) actOn(ctx context.Context, app *argoApplication) (err error) {
	name := app.Metadata.Name
	if app.Operation != nil && app.Spec.from().Chart == "" {
		finished, err := a.operate(ctx, app)
		if err != nil {
			return err
		}
		if finished {
			// The end of an operation is compared at once.
			delete(a.refreshed, name)
		}
		if app, err = a.get(ctx, name); err != nil {
			return err
		}
	}
	_, asked := app.Metadata.Annotations[argoRefreshAnnotation]
	if !asked && a.now().Sub(a.refreshed[name]) < a.interval {
		return nil
	}
	a.refreshed[name] = a.now()
	begun, err := a.refresh(ctx, app)
	if err != nil || !begun {
		return err
	}
	if app, err = a.get(ctx, name); err != nil {
		return err
	}
	return a.actOn(ctx, app)
}
