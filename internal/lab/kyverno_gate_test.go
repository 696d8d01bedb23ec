package lab_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab"
)

// denied is what the API server says of a claim that the plumber could not be asked about. It is Kyverno's
// own text, of the mutating webhook, which comes first: rule 0's message is never seen.
const denied = "failed to fetch data for APICall"

// plumberDown: PVC denied (FACTS: fail-closed), even one that would be left alone.
func plumberDown(t *testing.T, g *gate) {
	require.NoError(t, g.plumber.Stop())
	for _, dataSource := range []string{"", "drctl-own"} {
		_, err := g.claim(t, "down", dataSource)
		require.ErrorContains(t, err, `admission webhook "mutate.kyverno.svc-fail" denied the request: mutation policy volsync-pvc-backup-restore error`)
		require.ErrorContains(t, err, denied)
		require.ErrorContains(t, err, "connection refused")
	}
	require.Nil(t, g.get(t, claimKind, "down"))
	require.NoError(t, g.plumber.Start(t.Context()))
	_, err := g.claim(t, "down", "")
	require.NoError(t, err, "back at once when the plumber is")
}

// plumberUnknown: what the published plumber answers when it can't know makes an empty claim; an honest 503
// is a denial. Source: mitchross/pvc-plumber README (v1.1.0); kyverno pkg/engine/apicall/executor.go.
func plumberUnknown(t *testing.T, g *gate) {
	t.Cleanup(func() { g.plumber.Answer(lab.FailsOpen, nothingIsBackedUp) })
	gone := errors.New("repository gone")
	g.plumber.Answer(lab.FailsOpen, func(context.Context, string, string) (bool, error) { return true, gone })
	claim, err := g.claim(t, "unknown-open", "")
	require.NoError(t, err, "it fails open")
	require.NotContains(t, claim.Object["spec"], "dataSourceRef", "and the claim is empty")
	require.Positive(t, g.plumber.Asked("apps", "unknown-open"))

	g.plumber.Answer(lab.FailsClosed, func(_ context.Context, _, claim string) (bool, error) {
		if claim == "" {
			return false, nil
		}
		return false, gone
	})
	_, err = g.claim(t, "unknown-closed", "")
	require.ErrorContains(t, err, `"mutate.kyverno.svc-fail" denied the request`)
	require.ErrorContains(t, err, "HTTP 503 Service Unavailable")

	g.plumber.Answer(lab.FailsClosed, func(_ context.Context, _, claim string) (bool, error) {
		if claim == "" {
			return false, gone
		}
		return false, nil
	})
	_, err = g.claim(t, "unknown-ready", "")
	require.ErrorContains(t, err, `"validate.kyverno.svc-fail" denied the request`, "rule 0 alone")
	require.ErrorContains(t, err, denied)
}

// backedUp: exists adds the dataSourceRef; a claim that has one is left alone.
func backedUp(t *testing.T, g *gate) {
	t.Cleanup(func() { g.plumber.Answer(lab.FailsOpen, nothingIsBackedUp) })
	g.plumber.Answer(lab.FailsOpen, func(_ context.Context, namespace, claim string) (bool, error) {
		return namespace == "apps" && strings.HasPrefix(claim, "restored"), nil
	})
	for name, want := range map[string][2]string{"restored": {"", "restored-backup"}, "restored-own": {"drctl-own", "drctl-own"}, "fresh": {"", ""}} {
		claim, err := g.claim(t, name, want[0])
		require.NoError(t, err)
		source, _, err := unstructured.NestedString(claim.Object, "spec", "dataSourceRef", "name")
		require.NoError(t, err)
		require.Equal(t, want[1], source, name)
	}
}

// moverJob: the repository is mounted into what VolSync labels, and into nothing else.
func moverJob(t *testing.T, g *gate) {
	const text = `apiVersion: batch/v1
kind: Job
metadata: {name: mover, namespace: apps, labels: {app.kubernetes.io/created-by: volsync}}
spec: {template: {spec: {restartPolicy: Never, volumes: [{name: cache, emptyDir: {}}], containers: [{name: kopia, image: none.invalid/mover, volumeMounts: [{name: cache, mountPath: /cache}]}]}}}
`
	create := func(text string) (volumes, mounts []any) {
		created, err := g.objects(jobKind).Create(t.Context(), decodeOne(t, text), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err)
		volumes, _, err = unstructured.NestedSlice(created.Object, "spec", "template", "spec", "volumes")
		require.NoError(t, err)
		containers, _, err := unstructured.NestedSlice(created.Object, "spec", "template", "spec", "containers")
		require.NoError(t, err)
		return volumes, containers[0].(map[string]any)["volumeMounts"].([]any)
	}
	cache, cacheMount := map[string]any{"name": "cache", "emptyDir": map[string]any{}}, map[string]any{"name": "cache", "mountPath": "/cache"}
	volumes, mounts := create(text)
	require.ElementsMatch(t, []any{
		cache, map[string]any{"name": "repository", "nfs": map[string]any{"server": "192.0.2.1", "path": "/mnt/backup/volsync"}},
	}, volumes)
	require.ElementsMatch(t, []any{cacheMount, map[string]any{"name": "repository", "mountPath": "/repository"}}, mounts)
	volumes, mounts = create(strings.Replace(text, "created-by: volsync", "created-by: someone", 1))
	require.Equal(t, []any{cache}, volumes)
	require.Equal(t, []any{cacheMount}, mounts)
}
