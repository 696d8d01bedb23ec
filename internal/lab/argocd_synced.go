package lab

import (
	"context"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// argoBelieves is how long an object that did not change is taken to be as it was compared. The real controller
// compares again when an object of the Application changes, and every three minutes; admission can change its mind
// without any object changing, so the stand-in believes itself for less.
const argoBelieves = 5 * time.Second

// argoCompared is an object that was found to be what applying it would make it.
type argoCompared struct {
	target  *unstructured.Unstructured
	version string
	at      time.Time
}

// isSynced reports whether the live object is what applying the target would make it. Only what is Synced is
// remembered: what differs, or is refused, is tried each time.
func (a *ArgoCD) isSynced(ctx context.Context, target, live *unstructured.Unstructured) bool {
	key, version := describe(target), string(live.GetUID())+" "+live.GetResourceVersion()
	if last, known := a.compared[key]; known && last.version == version && a.now().Sub(last.at) < argoBelieves && reflect.DeepEqual(last.target.Object, target.Object) {
		return true
	}
	applied, err := a.applyOne(ctx, target, true)
	if err != nil || !sameState(live, applied) {
		delete(a.compared, key)
		return false
	}
	a.compared[key] = argoCompared{target: target, version: version, at: a.now()}
	return true
}
