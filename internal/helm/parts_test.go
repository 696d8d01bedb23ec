package helm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestParse(t *testing.T) {
	objects, err := parse("---\n# only a comment\n---\nkind: A\nmetadata: {name: a, namespace: ns}\n---\nkind: BList\nitems:\n- {kind: B, metadata: {name: b}}\n- {kind: B, metadata: {name: c}}\n")
	require.NoError(t, err)
	var names []string
	for _, object := range objects {
		names = append(names, describe(object))
	}
	require.Equal(t, []string{"A ns/a", "B b", "B c"}, names)
	_, err = parse("kind: Secret\nstringData: {password: hunter2hunter2")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

// TestParseHeads has definitions whose spec comes first, or that are JSON: they are read to the end.
func TestParseHeads(t *testing.T) {
	for _, text := range []string{
		"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: a\nspec: {group: g}",
		"kind: CustomResourceDefinition\nspec: {group: g}\nmetadata: {name: a}",
		"metadata: {name: a}\nkind: \"CustomResourceDefinition\"\nspec: {group: g}",
		`{"kind":"CustomResourceDefinition","metadata":{"name":"a"},"spec":{"group":"g"}}`,
	} {
		objects, err := parseHeads(text)
		require.NoError(t, err)
		require.Len(t, objects, 1)
		require.Equal(t, "CustomResourceDefinition a", describe(objects[0]), text)
	}
}

func TestDropDefinitions(t *testing.T) {
	const other = "kind: ConfigMap\nmetadata: {name: a}\ndata: {text: \"kind: CustomResourceDefinition\"}\n"
	kept, err := dropDefinitions("---\n# Source: x\nkind: CustomResourceDefinition\nmetadata: {name: d}\n---\n" + other + "---\nkind: Secret\nmetadata: {name: s}\n")
	require.NoError(t, err)
	require.Equal(t, "---\n"+other+"---\nkind: Secret\nmetadata: {name: s}\n", kept)
}

func TestDeployed(t *testing.T) {
	revision := func(version int, status releasecommon.Status, description string) *releasev1.Release {
		return &releasev1.Release{Version: version, Info: &releasev1.Info{Status: status, Description: description}}
	}
	require.Nil(t, deployed([]*releasev1.Release{revision(1, releasecommon.StatusFailed, "")}))
	found := deployed([]*releasev1.Release{
		revision(4, releasecommon.StatusFailed, `Rollback "argocd" failed: gone`), revision(3, releasecommon.StatusSuperseded, `Upgrade "argocd" failed: gone`),
		revision(2, releasecommon.StatusSuperseded, "Upgrade complete"), revision(1, releasecommon.StatusSuperseded, "Install complete"),
	})
	require.Equal(t, 2, found.Version)
}

func TestDiffering(t *testing.T) {
	a := map[string]any{"spec": map[string]any{"list": []any{map[string]any{"image": "a"}}, "same": 1}, "data": map[string]any{"gone": "x"}}
	b := map[string]any{"spec": map[string]any{"list": []any{map[string]any{"image": "b"}}, "same": 1, "new": []any{1}}}
	require.Equal(t, []string{"data", "spec.list[0].image", "spec.new"}, differing("", a, b))
	require.Empty(t, differing("", a, a))
	require.Equal(t, "a, b, c and 2 more", shorten([]string{"a", "b", "c", "d", "e"}))
}

func TestHide(t *testing.T) {
	values := map[string]any{"a": []any{"hunter2hunter2"}, "b": map[string]any{"c": "battery staple"}, "short": "true", "n": 1}
	require.Equal(t, "got (hidden) and (hidden), want true", hide("got hunter2hunter2 and battery staple, want true", values))
}

func TestReferences(t *testing.T) {
	for reference, want := range map[string]bool{"127.0.0.1:5000/a": true, "localhost/a": true, "[::1]:5000/a": true, "ghcr.io/argoproj/argo-helm": false, "127.0.0.1.example/a": false} {
		require.Equal(t, want, local(reference), reference)
	}
	for reference, want := range map[string]bool{"host:5000/a": false, "host:5000/a:1.0.0": true, "host/a@sha256:00": true, "host/a": false} {
		require.Equal(t, want, tagged(reference), reference)
	}
}

// TestPodTrouble has what the kubelet and the scheduler say, and whether waiting helps.
func TestPodTrouble(t *testing.T) {
	waiting := func(reason, message string, restarts int32) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "server", RestartCount: restarts, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 20, Reason: "Error"}},
		}}}
	}
	unscheduled := corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}}
	ready := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	for _, c := range []struct {
		status   corev1.PodStatus
		why      string
		hopeless bool
	}{
		{ready, "", false},
		{corev1.PodStatus{Phase: corev1.PodSucceeded}, "", false},
		{unscheduled, "Pod p: Unschedulable: 0/1 nodes are available", false},
		{waiting("ErrImagePull", "refused", 0), "Pod p: ErrImagePull: refused", false},
		{waiting("ImagePullBackOff", "Back-off", 0), "Pod p: ImagePullBackOff: Back-off", true},
		{waiting("CreateContainerConfigError", `secret "argocd-redis" not found`, 0), `Pod p: CreateContainerConfigError: secret "argocd-redis" not found`, true},
		{waiting("CrashLoopBackOff", "back-off 10s", 1), "Pod p: CrashLoopBackOff: back-off 10s; container server last ended with 20: Error", false},
		{waiting("CrashLoopBackOff", "back-off 5m", 5), "Pod p: CrashLoopBackOff: back-off 5m; container server last ended with 20: Error", true},
		{waiting("ContainerCreating", "", 0), "Pod p: it is Pending", false},
		{corev1.PodStatus{Phase: corev1.PodRunning}, "Pod p: it runs, and is not ready", false},
		{corev1.PodStatus{Phase: corev1.PodFailed, Message: "evicted"}, "Pod p: it is Failed: evicted", true},
	} {
		got := podTrouble(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: c.status})
		require.Equal(t, []any{c.why, c.hopeless}, []any{got.String(), got.hopeless})
	}
}

// TestRefused reads Helm's own words.
func TestRefused(t *testing.T) {
	target := Target{Namespace: "argocd", Name: "argocd"}
	for text, object := range map[string]string{
		`unable to continue with install: ServiceAccount "argocd-server" in namespace "argocd" exists and cannot be imported into the current release: x`: "ServiceAccount argocd/argocd-server",
		`unable to continue with update: CustomResourceDefinition "applications.argoproj.io" in namespace "" exists and cannot be imported`:               "CustomResourceDefinition applications.argoproj.io",
	} {
		require.Contains(t, refused("deploy", target, errorText(text)).Error(), object+" is there already")
	}
	require.NoError(t, refused("deploy", target, errorText("something else")))
	require.False(t, strings.Contains(explain(t.Context(), "x", errorText(`.data.a: expected string, got &value.valueUnstructured{Value:12345}`)).Error(), "12345"))
}

type errorText string

func (e errorText) Error() string { return string(e) }
