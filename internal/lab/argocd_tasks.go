package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The annotations by which an object says when it is applied.
// Source: gitops-engine pkg/sync/common/types.go.
const (
	argoWaveAnnotation       = "argocd.argoproj.io/sync-wave"
	argoHookAnnotation       = "argocd.argoproj.io/hook"
	argoHookDeleteAnnotation = "argocd.argoproj.io/hook-delete-policy"
	argoOptionsAnnotation    = "argocd.argoproj.io/sync-options"
)

// argoSyncFailed is the status of an object that could not be applied.
const argoSyncFailed = "SyncFailed"

// argoPhases are the phases of a sync, in their order. (Hooks of type SyncFail are left out.)
func argoPhases() []string { return []string{"PreSync", "Sync", "PostSync"} }

// argoTask is one object of a sync. Source: gitops-engine pkg/sync/sync_task.go.
type argoTask struct {
	object *unstructured.Unstructured
	phase  int
	wave   int64
	hook   bool
	// result is what came of it so far, nil before it was applied.
	result *argoResourceResult
}

// tasksOf puts a sync's objects into their order, by phase and wave, with what an earlier step did to them. A
// sync of chosen objects runs no hooks.
func tasksOf(targets []*unstructured.Unstructured, request *argoSync, before []argoResourceResult) []*argoTask {
	var tasks []*argoTask
	for _, target := range targets {
		if !request.includes(target) {
			continue
		}
		hooks := hooksOf(target)
		if len(hooks) == 0 {
			tasks = append(tasks, &argoTask{object: target, phase: slices.Index(argoPhases(), "Sync"), wave: waveOf(target)})
			continue
		}
		for _, hook := range hooks {
			if phase := slices.Index(argoPhases(), hook); phase >= 0 && len(request.Resources) == 0 {
				tasks = append(tasks, &argoTask{object: target, phase: phase, wave: waveOf(target), hook: true})
			}
		}
	}
	slices.SortStableFunc(tasks, func(a, b *argoTask) int { return cmp.Or(cmp.Compare(a.phase, b.phase), cmp.Compare(a.wave, b.wave)) })
	for _, task := range tasks {
		for i := range before {
			if task.is(&before[i]) {
				task.result = &before[i]
			}
		}
	}
	return tasks
}

// waveOf is an object's wave, 0 when it has none that can be read. Source: pkg/sync/syncwaves/waves.go.
func waveOf(object *unstructured.Unstructured) int64 {
	wave, err := strconv.ParseInt(object.GetAnnotations()[argoWaveAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return wave
}

// hooksOf are the types of hook that an object is, none for most.
func hooksOf(object *unstructured.Unstructured) []string {
	return commaSeparated(object, argoHookAnnotation)
}

func commaSeparated(object *unstructured.Unstructured, annotation string) []string {
	var all []string
	for _, one := range strings.Split(object.GetAnnotations()[annotation], ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

func (t *argoTask) is(result *argoResourceResult) bool {
	kind := t.object.GroupVersionKind()
	return result.Group == kind.Group && result.Kind == kind.Kind && result.Namespace == t.object.GetNamespace() &&
		result.Name == t.object.GetName() && result.SyncPhase == argoPhases()[t.phase]
}

// end notes what came of the object; phase is Running until its health is known.
func (t *argoTask) end(status, phase, message string) {
	result := resultFor(t.object, status, message)
	result.SyncPhase, result.HookPhase = argoPhases()[t.phase], phase
	if t.hook {
		result.HookType = result.SyncPhase
	}
	t.result = &result
}

func (t *argoTask) pending() bool { return t.result == nil }

func (t *argoTask) running() bool { return t.result != nil && t.result.HookPhase == argoPhaseRunning }

func (t *argoTask) failed() bool {
	return t.result != nil && (t.result.Status == argoSyncFailed || t.result.HookPhase == argoPhaseFailed || t.result.HookPhase == argoPhaseError)
}

// sameStep reports whether both are applied at the same time.
func (t *argoTask) sameStep(other *argoTask) bool {
	return t.phase == other.phase && t.wave == other.wave
}

// skipsDryRun: its kind may not be there yet.
func (t *argoTask) skipsDryRun(app *argoApplication) bool {
	const option = "SkipDryRunOnMissingResource=true"
	return app.Spec.option(option) || slices.Contains(commaSeparated(t.object, argoOptionsAnnotation), option)
}

func chosen(tasks []*argoTask, choose func(*argoTask) bool) []*argoTask {
	return slices.DeleteFunc(slices.Clone(tasks), func(t *argoTask) bool { return !choose(t) })
}

// inSteps reports whether something has to be waited for between the objects.
// Source: pkg/sync/sync_tasks.go, multiStep.
func inSteps(tasks []*argoTask) bool {
	return len(tasks) > 1 && !tasks[0].sameStep(tasks[len(tasks)-1])
}

// resultsOf is what the sync did so far.
func resultsOf(tasks []*argoTask) []argoResourceResult {
	var results []argoResourceResult
	for _, task := range tasks {
		if task.result != nil {
			results = append(results, *task.result)
		}
	}
	return results
}

// failuresOf are the messages of what could not be applied.
func failuresOf(tasks []*argoTask) string {
	var messages []string
	for _, task := range tasks {
		if task.result != nil && task.result.Status == argoSyncFailed {
			messages = append(messages, task.result.Message)
		}
	}
	return strings.Join(messages, ",")
}

// waitingFor is the message of a sync that waits. Source: pkg/sync/sync_context.go, setRunningPhase.
func waitingFor(tasks []*argoTask) string {
	what, more := "healthy state of", "resources"
	if tasks[0].hook {
		what, more = "completion of hook", "hooks"
	}
	kind := tasks[0].object.GroupVersionKind()
	message := fmt.Sprintf("waiting for %s %s/%s/%s", what, kind.Group, kind.Kind, tasks[0].object.GetName())
	if len(tasks) > 1 {
		message += fmt.Sprintf(" and %d more %s", len(tasks)-1, more)
	}
	return message
}
