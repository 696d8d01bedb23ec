package restoreworld

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
)

// The scenarios in which a safeguard decides. Each counts a loss when the safeguard is compiled out.

// Logf says how it goes.
type Logf = func(format string, args ...any)

// scenarioTime bounds a restore that cannot end: a safeguard is out, and nothing is as it was planned.
const scenarioTime = 4 * time.Minute

// tried runs drctl once and judges.
func (a *Attempt) tried(ctx context.Context, logf Logf, args []string, compare func(context.Context) error) (disturb.Tally, error) {
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	tally := disturb.Tally{Points: 1}
	run, err := a.Run(runCtx, args...)
	switch {
	case err != nil && runCtx.Err() == nil:
		return tally, err
	case err == nil && run.ExitCode == 0:
		tally.Resumed = 1
	default:
		logf("drctl %s ended with %d:\n%s", strings.Join(args, " "), run.ExitCode, disturb.LastLines(run.Stderr))
	}
	tally.Add(judged(ctx, logf, compare))
	return tally, nil
}

// judged counts one world.
func judged(ctx context.Context, logf Logf, compare func(context.Context) error) disturb.Tally {
	err := compare(ctx)
	if err == nil {
		return disturb.Tally{}
	}
	logf("the oracle says:\n%v", err)
	if disturb.Lost(err) {
		return disturb.Tally{Lost: 1}
	}
	return disturb.Tally{Left: 1}
}

// scale sets the application's replicas in Git. Without a Pod that must be stopped, what holds the claim back
// is the fence alone.
func (w *World) scale(ctx context.Context, replicas int) error {
	_, err := w.Remote.Commit(ctx, fmt.Sprintf("%d replicas", replicas), func(dir string) error {
		path := filepath.Join(dir, "my-apps", "media", "notes", "deployment.yaml")
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.NewReplacer("replicas: 0", fmt.Sprintf("replicas: %d", replicas), "replicas: 1", fmt.Sprintf("replicas: %d", replicas)).Replace(string(content))
		return os.WriteFile(path, []byte(text), 0o600)
	})
	if err != nil {
		return err
	}
	if err := w.Settled(ctx); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		pods, err := w.client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + Deployment})
		if err != nil {
			return fmt.Errorf("restoreworld: Pods: %w", err)
		}
		if len(pods.Items) == replicas {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("restoreworld: there are %d Pods, and not %d", len(pods.Items), replicas)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// withoutPods prepares a restore of a claim that no Pod mounts. The caller scales back.
func (w *World) withoutPods(ctx context.Context) (*Attempt, error) {
	if err := w.scale(ctx, 0); err != nil {
		return nil, err
	}
	return w.Attempt(ctx, Replace)
}

func isCreation(r lab.ProxyRequest) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/persistentvolumeclaims")
}

// AgainstArgo restores while Argo CD heals as fast as it can and drctl's own creation of the claim takes long:
// only the fence keeps Argo CD from creating an empty one.
func AgainstArgo(ctx context.Context, w *World, logf Logf) (tally disturb.Tally, err error) {
	a, err := w.withoutPods(ctx)
	if err != nil {
		return tally, err
	}
	defer func() { err = errors.Join(err, w.scale(ctx, 1)) }()
	const slow = 5 * time.Second
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	run, _, err := lab.RunEach(runCtx, w.Proxy, a.Command(runCtx, a.Operation()...), func(r lab.ProxyRequest) *lab.Fault {
		if isCreation(r) {
			time.Sleep(slow)
		}
		return nil
	})
	if err != nil && runCtx.Err() == nil {
		return tally, err
	}
	tally.Points = 1
	if run.ExitCode == 0 {
		tally.Resumed = 1
	}
	logf("drctl ended with %d:\n%s", run.ExitCode, disturb.LastLines(run.Stderr))
	tally.Add(judged(ctx, logf, a.Done))
	return tally, nil
}

// AbortAfterDeletion kills drctl just after the API server accepted the deletion, and aborts: that must be
// refused, since undoing would let an empty claim be created. Then it resumes.
func AbortAfterDeletion(ctx context.Context, w *World, logf Logf) (disturb.Tally, error) {
	a, err := w.Attempt(ctx, Replace)
	if err != nil {
		return disturb.Tally{}, err
	}
	run, err := lab.RunKilled(ctx, w.Proxy, a.Command(ctx, a.Operation()...), lab.Kill{N: 1, When: lab.After, Match: Replace.isReturn})
	if err != nil {
		return disturb.Tally{}, err
	}
	if !run.Killed {
		return disturb.Tally{}, fmt.Errorf("restoreworld: the deletion was not reached: drctl ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	if run, err = a.Run(ctx, "abort"); err != nil {
		return disturb.Tally{}, err
	}
	logf("abort ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	return a.tried(ctx, logf, []string{"resume"}, a.Done)
}

// ReplacedUnderway has somebody replace the claim while drctl's deletion is on its way: a claim of the same
// name that is not the one that was planned for. It must survive.
func ReplacedUnderway(ctx context.Context, w *World, logf Logf) (tally disturb.Tally, err error) {
	a, err := w.withoutPods(ctx)
	if err != nil {
		return tally, err
	}
	w.Argo.Pause()
	defer func() {
		w.Argo.Resume()
		err = errors.Join(err, w.scale(ctx, 1))
	}()
	replacement, replaceErr := "", error(nil)
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	run, _, err := lab.RunEach(runCtx, w.Proxy, a.Command(runCtx, Replace.Args("--no-fence")...), func(r lab.ProxyRequest) *lab.Fault {
		if Replace.isReturn(r) && replacement == "" {
			replacement, replaceErr = w.replace(ctx)
		}
		return nil
	})
	if runCtx.Err() != nil {
		err = nil // it waits for what the replacement left behind
	}
	if err := errors.Join(err, replaceErr); err != nil || replacement == "" {
		return tally, fmt.Errorf("restoreworld: replace the claim (%q): %w", replacement, err)
	}
	logf("drctl ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	tally.Points = 1
	live, err := w.client.CoreV1().PersistentVolumeClaims(Namespace).Get(ctx, Claim, metav1.GetOptions{})
	if err != nil || string(live.UID) != replacement || live.DeletionTimestamp != nil {
		logf("LOST: the claim that somebody put there is gone (%v)", err)
		tally.Lost = 1
		return tally, nil
	}
	if run.ExitCode != 0 {
		tally.Resumed = 1
	}
	return tally, a.giveUp(ctx, logf)
}

// giveUp ends a plan whose claim is not the one that it was made for: nobody can tell any more whether the
// deletion happened, so drctl does not take back, and leaves what it made for a person to look at.
func (a *Attempt) giveUp(ctx context.Context, logf Logf) error {
	run, err := a.Run(ctx, "abort")
	if err != nil {
		return err
	}
	logf("abort ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	if run.ExitCode != 0 {
		if run, err = a.Run(ctx, "abort", "--give-up"); err != nil {
			return err
		}
		if run.ExitCode != 0 {
			return fmt.Errorf("restoreworld: abort --give-up ended with %d:\n%s", run.ExitCode, run.Stderr)
		}
	}
	return a.world.Recover(ctx)
}

// replace deletes the claim and creates it anew as it was in Git, and gives its UID.
func (w *World) replace(ctx context.Context) (string, error) {
	claims := w.client.CoreV1().PersistentVolumeClaims(Namespace)
	live, err := claims.Get(ctx, Claim, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if err := claims.Delete(ctx, Claim, metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, err := claims.Get(ctx, Claim, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			break
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("the claim does not go: %w", err)
		}
	}
	again := live.DeepCopy()
	again.ObjectMeta = metav1.ObjectMeta{Namespace: Namespace, Name: Claim, Labels: live.Labels}
	again.Spec.VolumeName, again.Spec.DataSource, again.Spec.DataSourceRef = "", nil, nil
	created, err := claims.Create(ctx, again, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		return "", err
	}
	return string(created.UID), nil
}

// Plain is a restore with nothing in its way: the old volume must still be there.
func Plain(ctx context.Context, w *World, logf Logf) (disturb.Tally, error) {
	a, err := w.Attempt(ctx, Replace)
	if err != nil {
		return disturb.Tally{}, err
	}
	return a.tried(ctx, logf, a.Operation(), a.Done)
}

// SilentMover is a restore by a mover that restores nothing and reports success: nothing may be touched.
func SilentMover(ctx context.Context, w *World, logf Logf) (disturb.Tally, error) {
	a, err := w.Attempt(ctx, Replace)
	if err != nil {
		return disturb.Tally{}, err
	}
	if err := w.VolSync.Order("ReplicationDestination", Namespace, lab.AnyName, lab.OrderNothing); err != nil {
		return disturb.Tally{}, err
	}
	defer func() { _ = w.VolSync.Order("ReplicationDestination", Namespace, lab.AnyName, "") }()
	tally, err := a.tried(ctx, logf, a.Operation(), a.Untouched)
	if tally.Lost+tally.Left == 0 && tally.Resumed == 0 {
		tally.Resumed = 1 // it said that it did not, which is the good end
	} else if tally.Lost+tally.Left == 0 {
		tally.Left = 1
	}
	return tally, err
}
