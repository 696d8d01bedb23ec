package helm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	helmkube "helm.sh/helm/v4/pkg/kube"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// hookTimeout bounds one hook, as the helm program does by default. Source: helm pkg/cmd/install.go.
	hookTimeout = 5 * time.Minute
	// historyKept is how many revisions of a release stay; the helm program's default. Source: helm pkg/cli/environment.go.
	historyKept = 10
)

// Deploy installs or upgrades, with hooks, and does not wait for the objects to become ready. It marks the revision with the
// plan. It is recovery.ErrConflict while another attempt is pending, and recovery.ErrExists where an object belongs to
// somebody else. A call that is cut off leaves a pending revision: Unlock it, and deploy again.
//
// What is applied is forced: Argo CD writes to its own Secret and ConfigMaps, and the chart's part of them is the chart's.
func (c *Client) Deploy(ctx context.Context, target Target, planID string) error {
	what := fmt.Sprintf("deploy chart %s %s as release %s/%s", target.Chart.Name, target.Chart.Version, target.Namespace, target.Name)
	session, newest, err := c.newest(ctx, target.Namespace, target.Name)
	if err != nil {
		return err
	}
	if newest != nil && pending(newest) {
		return &recovery.Problem{
			What: what, Why: fmt.Sprintf("revision %d is %s since %s: another attempt is under way, or was cut off", newest.Version, newest.Info.Status, newest.Info.LastDeployed.UTC().Format(time.RFC3339)),
			Next: "wait for whoever runs it; if nobody does, run the command again", Err: recovery.ErrConflict,
		}
	}
	loaded, values, err := c.chart(target)
	if err != nil {
		return err
	}
	labels := map[string]string{recovery.PlanMark: planID}
	records := session.Releases
	session.Releases = storage.Init(hideDefinitions(records.Driver))
	// A first installation that failed is gone on with by an upgrade, as the helm program's upgrade --install does: objects
	// that this chart no longer has are removed then.
	if newest == nil || newest.Info.Status == releasecommon.StatusUninstalled {
		err = install(ctx, session, target, loaded, values, labels)
	} else {
		err = upgrade(ctx, session, target, loaded, values, labels)
	}
	if err != nil {
		return c.explainDeploy(ctx, session, target, what, err)
	}
	c.forget(session)
	revisions, err := history(ctx, records, target.Namespace, target.Name)
	if err != nil {
		return err
	}
	// Helm reports success although it could not record it. Source: helm pkg/action/install.go, performInstall.
	if len(revisions) == 0 || !deployedBy(revisions[0], planID) {
		return &recovery.Problem{What: what, Why: "everything was applied, and Helm could not record it", Next: "run the command again", Err: recovery.ErrUnreachable}
	}
	return c.settleDown(ctx, target, revisions)
}

// install runs with a context that does not end, so that it returns only when nothing of it goes on in the background: its
// requests end with the caller's context.
func install(ctx context.Context, session *action.Configuration, target Target, loaded *chart.Chart, values map[string]any, labels map[string]string) error {
	run := action.NewInstall(session)
	run.ReleaseName, run.Namespace, run.CreateNamespace = target.Name, target.Namespace, true
	run.ServerSideApply, run.ForceConflicts, run.TakeOwnership = true, true, target.TakeOwnership
	run.SkipCRDs, run.Replace, run.HideNotes = true, true, true
	// The API server holds every field against its schema as it applies it; this program need not fetch all schemas for that.
	run.DisableOpenAPIValidation = true
	run.WaitStrategy, run.Timeout, run.WaitOptions = helmkube.HookOnlyStrategy, hookTimeout, waitWithin(ctx)
	run.Labels = labels
	_, err := run.RunWithContext(context.WithoutCancel(ctx), loaded, values)
	return err
}

func upgrade(ctx context.Context, session *action.Configuration, target Target, loaded *chart.Chart, values map[string]any, labels map[string]string) error {
	run := action.NewUpgrade(session)
	run.Namespace = target.Namespace
	run.ServerSideApply, run.ForceConflicts, run.TakeOwnership = "true", true, target.TakeOwnership
	run.SkipCRDs, run.MaxHistory, run.DisableOpenAPIValidation = true, historyKept, true
	// Without it no values at all would mean those of the former revision.
	run.ResetValues = true
	run.WaitStrategy, run.Timeout, run.WaitOptions = helmkube.HookOnlyStrategy, hookTimeout, waitWithin(ctx)
	run.Labels = labels
	_, err := run.RunWithContext(context.WithoutCancel(ctx), target.Name, loaded, values)
	return err
}

func waitWithin(ctx context.Context) []helmkube.WaitOption {
	return []helmkube.WaitOption{helmkube.WithWaitContext(ctx)}
}

// failedHook are Helm's words for a hook that went wrong. Source: helm pkg/action/install.go, upgrade.go.
var failedHook = regexp.MustCompile(`failed (pre|post)-install|(pre|post)-(upgrade|rollback) hooks failed`)

func (c *Client) explainDeploy(ctx context.Context, session *action.Configuration, target Target, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if problem := refused(what, target, err); problem != nil {
		return problem
	}
	if !failedHook.MatchString(err.Error()) || passing(err) {
		return explain(ctx, what, err)
	}
	problem := &recovery.Problem{What: what, Why: "a hook of the chart failed: " + err.Error(), Next: "put right what it says, then run the command again", Err: err}
	hook := failing(session, target)
	if hook == nil {
		return problem
	}
	problem.What = fmt.Sprintf("run the chart's hook %s %s/%s", hook.Kind, target.Namespace, hook.Name)
	// What its Pods say is told where it can be; the hook's own failure stands without it.
	if why, podErr := c.hookTrouble(ctx, target.Namespace, hook.Name); podErr == nil && why != "" {
		problem.Why = why
	}
	problem.Next = fmt.Sprintf("look at it: kubectl logs -n %s %s/%s; then run the command again", target.Namespace, hook.Kind, hook.Name)
	return problem
}

// failing is the hook that the newest revision ended at.
func failing(session *action.Configuration, target Target) *releasev1.Hook {
	last, err := session.Releases.Last(target.Name)
	if err != nil {
		return nil
	}
	revision, err := typed(last)
	if err != nil {
		return nil
	}
	for _, hook := range revision.Hooks {
		if hook.LastRun.Phase == releasev1.HookPhaseFailed {
			return hook
		}
	}
	return nil
}

// hookTrouble is what a hook Job's Pods say.
func (c *Client) hookTrouble(ctx context.Context, namespace, job string) (string, error) {
	pods, err := c.pods(ctx, namespace)
	if err != nil {
		return "", err
	}
	for i := range pods {
		if pods[i].Labels["batch.kubernetes.io/job-name"] != job {
			continue
		}
		if trouble := podTrouble(&pods[i]); trouble.why != "" {
			return trouble.String(), nil
		}
	}
	return "", errors.New("its Pods say nothing")
}
