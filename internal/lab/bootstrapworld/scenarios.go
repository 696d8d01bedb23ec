package bootstrapworld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
)

// The scenarios in which a safeguard decides. Each counts a loss when the safeguard is compiled out.

// Logf says how it goes.
type Logf = func(format string, args ...any)

// scenarioTime bounds a bootstrap that cannot end: a safeguard is out, and nothing is as it was planned.
const scenarioTime = 4 * time.Minute

// judged counts one world; well is whether drctl ended as it had to.
func judged(ctx context.Context, logf Logf, well bool, compare func(context.Context) error) disturb.Tally {
	tally := disturb.Tally{Points: 1}
	err := compare(ctx)
	switch {
	case err != nil:
		logf("the oracle says:\n%v", err)
		if disturb.Lost(err) {
			tally.Lost = 1
		} else {
			tally.Left = 1
		}
	case well:
		tally.Resumed = 1
	}
	return tally
}

// Upgrade prepares a bootstrap of a cluster in which an older Argo CD runs and has no Applications yet.
func (w *World) Upgrade(ctx context.Context, logf Logf) (*Attempt, error) {
	first, err := w.Attempt(ctx, "--chart-version", OldChartVersion)
	if err != nil {
		return nil, err
	}
	first.Version = OldChartVersion
	run, err := first.Run(ctx, first.Operation()...)
	if err != nil {
		return nil, err
	}
	if run.ExitCode != 0 {
		return nil, fmt.Errorf("bootstrapworld: the bootstrap with the older chart ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	if err := first.Done(ctx); err != nil {
		return nil, fmt.Errorf("bootstrapworld: after the bootstrap with the older chart: %w", err)
	}
	logf("Argo CD is there with chart %s", OldChartVersion)
	if err := w.KeepArgo(ctx); err != nil {
		return nil, err
	}
	return w.attempt(ctx)
}

// AbortAfterRoot upgrades Argo CD, kills drctl just after the API server accepted the root Application, and aborts:
// that must be refused, since undoing would take Argo CD back to its older version under the platform that it has begun
// to make. Then it resumes.
func AbortAfterRoot(ctx context.Context, w *World, logf Logf) (disturb.Tally, error) {
	a, err := w.Upgrade(ctx, logf)
	if err != nil {
		return disturb.Tally{}, err
	}
	run, err := lab.RunKilled(ctx, w.Proxy, a.Command(ctx, a.Operation()...), lab.Kill{N: 1, When: lab.After, Match: isReturn})
	if err != nil {
		return disturb.Tally{}, err
	}
	if !run.Killed {
		return disturb.Tally{}, fmt.Errorf("bootstrapworld: the root Application was not reached: drctl ended with %d:\n%s", run.ExitCode, run.Stderr)
	}
	if run, err = a.Run(ctx, "abort"); err != nil {
		return disturb.Tally{}, err
	}
	logf("abort ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	run, err = a.Run(runCtx, "resume")
	if err != nil && runCtx.Err() == nil {
		return disturb.Tally{}, err
	}
	logf("resume ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	return judged(ctx, logf, err == nil && run.ExitCode == 0, a.Done), nil
}

// OtherSecret has somebody bring a Secret with other values after drctl looked and before it applies its own. It must
// survive: it may be the only place where those values are.
func OtherSecret(ctx context.Context, w *World, logf Logf) (disturb.Tally, error) {
	a, err := w.Attempt(ctx)
	if err != nil {
		return disturb.Tally{}, err
	}
	made, makeErr := false, error(nil)
	run, _, err := lab.RunEach(ctx, w.Proxy, a.Command(ctx, a.Operation()...), func(r lab.ProxyRequest) *lab.Fault {
		if r.Mutating && !made {
			made, makeErr = true, w.somebodysSecret(ctx)
		}
		return nil
	})
	if err := errors.Join(err, makeErr); err != nil || !made {
		return disturb.Tally{}, fmt.Errorf("bootstrapworld: somebody's Secret (made: %v): %w", made, err)
	}
	logf("drctl ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	a.Before.Secrets["notes/notes-secret"] = "token=" + somebodysToken
	well := run.ExitCode != 0
	plans, err := a.Plans()
	if err != nil {
		return disturb.Tally{}, err
	}
	if len(plans) > 0 { // else it was taken back already
		if run, err = a.Run(ctx, "abort"); err != nil {
			return disturb.Tally{}, err
		}
		logf("abort ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
		well = well && run.ExitCode == 0
	}
	return judged(ctx, logf, well, a.Untouched), nil
}

const somebodysToken = "CANARY-SOMEBODYS-TOKEN-77aa"

func (w *World) somebodysSecret(ctx context.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "notes"}}
	if _, err := w.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err := w.client.CoreV1().Secrets("notes").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "notes-secret"}, StringData: map[string]string{"token": somebodysToken},
	}, metav1.CreateOptions{})
	return err
}

// UnreadyWithApplications is a first installation that never becomes ready, while somebody already gave it an
// Application. At the deadline it is taken back; but the release must stay, since who has no Argo CD has nobody either
// who looks after its Applications.
func UnreadyWithApplications(ctx context.Context, w *World, logf Logf) (disturb.Tally, error) {
	a, err := w.Attempt(ctx)
	if err != nil {
		return disturb.Tally{}, err
	}
	values := filepath.Join(a.Home, "unready.yaml")
	if err := os.WriteFile(values, []byte("nodeSelector: {no: where}\n"), 0o600); err != nil {
		return disturb.Tally{}, fmt.Errorf("bootstrapworld: %w", err)
	}
	runCtx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	applied := make(chan error, 1)
	go func() { applied <- w.somebodysApplication(runCtx) }()
	run, err := a.Run(runCtx, append(a.Operation(), "--values", values, "--ready-timeout", "30s")...)
	if err != nil && runCtx.Err() == nil {
		return disturb.Tally{}, err
	}
	cancel()
	if err := <-applied; err != nil {
		return disturb.Tally{}, err
	}
	logf("drctl ended with %d: %s", run.ExitCode, disturb.LastLines(run.Stderr))
	return judged(ctx, logf, run.ExitCode != 0, func(ctx context.Context) error {
		after, err := w.Look(ctx)
		if err != nil {
			return err
		}
		var c complaints
		c.wrong(after.ChartVersion != "", "LOST: Argo CD was taken from under its Applications")
		c.wrong(after.Applications[somebodys] != "", "LOST: somebody's Application is gone")
		after.Left = nil // a plan that could not be taken back is still there, for a person to look at
		c.rest(a.Before, after)
		return c.err()
	}), nil
}

const somebodys = "somebodys"

// somebodysApplication makes an Application once that is possible.
func (w *World) somebodysApplication(ctx context.Context) error {
	app := made("argoproj.io/v1alpha1", "Application", lab.ArgoNamespace, somebodys, map[string]any{"spec": map[string]any{
		"project":     "default",
		"source":      map[string]any{"repoURL": "https://charts.example.invalid", "chart": "something", "targetRevision": "1.0.0"},
		"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": "default"},
	}})
	return w.until(ctx, "somebody's Application is there", func() (bool, error) {
		_, err := w.dynamic.Resource(argoKind("applications")).Namespace(lab.ArgoNamespace).Create(ctx, app, metav1.CreateOptions{FieldManager: "somebody"})
		return err == nil, err
	})
}
