package helm_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/helm"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// rollsBack deploys a version that can't become ready over one that is, and goes back.
func rollsBack(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	w.deploy(first, "plan-1")
	w.ready()
	w.deploy(w.target(lab.ArgoChartBroken, ""), "plan-2")
	hopeless := map[string]string{}
	require.Eventually(w, func() bool {
		states, err := w.helm.Readiness(w.Context(), namespace, releaseName)
		require.NoError(w, err)
		for _, state := range states {
			if state.Hopeless {
				hopeless[state.Object] = state.Why
			}
		}
		return len(hopeless) == 3
	}, within, 200*time.Millisecond, "%v", hopeless)
	require.Regexp(w, `^0 of 1 Pods ready; Pod argocd-server-\S+: ImagePullBackOff: Back-off pulling image "broken.invalid/argocd:v3.3.0-broken"$`, hopeless["Deployment argocd/argocd-server"])
	require.Contains(w, hopeless["StatefulSet argocd/argocd-application-controller"], "Pod argocd-application-controller-0: ImagePullBackOff")

	require.NoError(w, w.helm.Rollback(w.Context(), namespace, releaseName, 1))
	w.ready()
	require.Empty(w, w.difference(first))
	released := w.release()
	require.Equal(w, []any{3, "deployed", 3, lab.ArgoChartFirst}, []any{released.Revision, released.Status, released.Deployed, released.DeployedVersion})
	require.NoError(w, w.helm.Rollback(w.Context(), namespace, releaseName, 1))
	require.Equal(w, 3, w.release().Revision, "done before, it is done")
	_, err := w.api.CoreV1().ConfigMaps(namespace).Get(w.Context(), "argocd-notes-9-3-0", metav1.GetOptions{})
	require.Error(w, err, "what the broken version made is gone")
}

// goesOn is cut off before each of its writes in turn, as by a kill, and goes on from there each time.
func goesOn(w *world) {
	target := w.target(lab.ArgoChartFirst, "")
	_, err := w.helm.ApplyDefinitions(w.Context(), target)
	require.NoError(w, err)
	cuts := 0
	for allowed := int64(1); ; allowed += 3 {
		ctx, cancel := context.WithCancel(w.Context())
		client := w.cutOff(allowed, cancel)
		loaded, err := client.Load(w.Context(), target.Chart.Source)
		require.NoError(w, err)
		require.Equal(w, target.Chart.Digest, loaded.Digest)
		err = client.Deploy(ctx, target, "plan-1")
		cancel()
		if err == nil {
			break
		}
		require.ErrorIs(w, err, context.Canceled)
		cuts++
		if released := w.release(); released != nil && released.Pending {
			require.Equal(w, "plan-1", released.PlanID, "whose attempt it is")
			require.ErrorIs(w, w.helm.Deploy(w.Context(), target, "plan-1"), recovery.ErrConflict)
			require.ErrorIs(w, w.helm.Unlock(w.Context(), namespace, releaseName, released.Revision+1), recovery.ErrConflict)
			require.NoError(w, w.helm.Unlock(w.Context(), namespace, releaseName, released.Revision))
			require.NoError(w, w.helm.Unlock(w.Context(), namespace, releaseName, released.Revision), "done before, it is done")
			require.Equal(w, "failed", w.release().Status)
		}
	}
	require.Greater(w, cuts, 5)
	w.Logf("cut off %d times", cuts)
	marked, err := w.helm.DeployedBy(w.Context(), namespace, releaseName, "plan-1")
	require.NoError(w, err)
	require.True(w, marked)
	marked, err = w.helm.DeployedBy(w.Context(), namespace, releaseName, "plan-2")
	require.NoError(w, err)
	require.False(w, marked)
	w.ready()
	require.Empty(w, w.difference(target))
	require.ErrorIs(w, w.helm.Unlock(w.Context(), namespace, releaseName, w.release().Revision), recovery.ErrConflict, "it is deployed")
}

// cutOff is Helm with a connection that is cancelled, for good, instead of its n-th write.
func (w *world) cutOff(allowed int64, cancel func()) *helm.Client {
	config := w.plane.RESTConfig()
	var writes atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return transport(func(request *http.Request) (*http.Response, error) {
			if request.Method != http.MethodGet && writes.Add(1) > allowed {
				cancel()
				return nil, errors.New("cut off")
			}
			return next.RoundTrip(request)
		})
	})
	client, err := helm.New(helm.Options{REST: config})
	require.NoError(w, err)
	return client
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

// failsInHooks has a hook that fails, which takes nothing from what runs.
func failsInHooks(w *world) {
	first := w.target(lab.ArgoChartFirst, "")
	w.deploy(first, "plan-1")
	w.ready()
	err := w.helm.Deploy(w.Context(), w.target(lab.ArgoChartBrokenHook, ""), "plan-2")
	var problem *recovery.Problem
	require.ErrorAs(w, err, &problem)
	require.Equal(w, "run the chart's hook Job argocd/argocd-redis-secret-init", problem.What)
	require.Regexp(w, `Pod argocd-redis-secret-init-\S+: container secret-init ended with 1`, problem.Why)
	require.Contains(w, problem.Next, "kubectl logs -n argocd Job/argocd-redis-secret-init")
	released := w.release()
	require.Equal(w, []any{"failed", false, 1}, []any{released.Status, released.Pending, released.Deployed})
	require.Contains(w, w.difference(first), "release argocd/argocd: revision 2 is failed")
	require.NoError(w, w.helm.Deploy(w.Context(), first, "plan-3"))
	require.Empty(w, w.difference(first))
}

// asksForOwnership meets a former installation that Helm did not make.
func asksForOwnership(w *world) {
	_, err := w.api.CoreV1().ConfigMaps(namespace).Create(w.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "argocd-cm"}, Data: map[string]string{"application.instanceLabelKey": "mine", "url": "https://argocd.example"},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
	target := w.target(lab.ArgoChartFirst, "")
	err = w.helm.Deploy(w.Context(), target, "plan-1")
	var problem *recovery.Problem
	require.ErrorAs(w, err, &problem)
	require.ErrorIs(w, err, recovery.ErrExists)
	require.Equal(w, "ConfigMap argocd/argocd-cm is there already and does not belong to release argocd/argocd: something else made it", problem.Why)
	require.Contains(w, problem.Next, "--take-ownership")
	require.Nil(w, w.release(), "nothing was begun")
	target.TakeOwnership = true
	w.deploy(target, "plan-1")
	live, err := w.api.CoreV1().ConfigMaps(namespace).Get(w.Context(), "argocd-cm", metav1.GetOptions{})
	require.NoError(w, err)
	require.Equal(w, map[string]string{"application.instanceLabelKey": "argocd.argoproj.io/instance", "url": "https://argocd.example"}, live.Data)
	require.Empty(w, w.difference(target))
}

// takesConflicts has a field of the chart's changed by somebody else, which is found and taken back.
func takesConflicts(w *world) {
	const value = "correct-horse-battery"
	target := w.target(lab.ArgoChartFirst, "configs: {secret: {extra: {webhook.github.secret: "+value+"}}}")
	rendered, err := w.helm.Render(w.Context(), target)
	require.NoError(w, err)
	require.NotContains(w, rendered, value)
	require.Contains(w, rendered, "webhook.github.secret: (hidden)")
	for _, text := range []string{"argocd-redis-secret-init", "name: applicationsets.argoproj.io", "name: applications.argoproj.io", "kind: StatefulSet"} {
		require.Contains(w, rendered, text)
	}
	w.deploy(target, "plan-1")
	secrets := w.api.CoreV1().Secrets(namespace)
	live, err := secrets.Get(w.Context(), "argocd-secret", metav1.GetOptions{})
	require.NoError(w, err)
	live.Data["webhook.github.secret"], live.Data["server.secretkey"] = []byte("changed-by-hand"), []byte("the server's own")
	_, err = secrets.Update(w.Context(), live, metav1.UpdateOptions{FieldManager: "argocd-server"})
	require.NoError(w, err)
	lines := w.difference(target)
	require.Equal(w, []string{"Secret argocd/argocd-secret: differs in data.webhook.github.secret"}, lines)
	require.NoError(w, w.helm.Deploy(w.Context(), target, "plan-2"))
	live, err = secrets.Get(w.Context(), "argocd-secret", metav1.GetOptions{})
	require.NoError(w, err)
	require.Equal(w, map[string]string{"webhook.github.secret": value, "server.secretkey": "the server's own"}, texts(live.Data))

	bad := w.target(lab.ArgoChartFirst, "image: {tag: ["+value+"]}\nserver: {replicas: "+value+"}")
	_, err = w.helm.Difference(w.Context(), bad)
	require.Error(w, err)
	require.NotContains(w, err.Error(), value)
	err = w.helm.Deploy(w.Context(), bad, "plan-3")
	require.Error(w, err)
	require.NotContains(w, err.Error(), value)
}

func applicationsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
}

func application(namespace string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": map[string]any{"name": "root", "namespace": namespace},
		"spec": map[string]any{
			"project": "default", "destination": map[string]any{"server": "https://kubernetes.default.svc"},
			"source": map[string]any{"repoURL": "https://git.example/platform", "path": "apps"},
		},
	}}
}

func texts(data map[string][]byte) map[string]string {
	all := map[string]string{}
	for key, value := range data {
		all[key] = string(value)
	}
	return all
}

// keepsDefinitions uninstalls: an Application that is there survives.
func keepsDefinitions(w *world) {
	target := w.target(lab.ArgoChartFirst, "")
	w.deploy(target, "plan-1")
	w.ready()
	client, err := dynamic.NewForConfig(w.plane.RESTConfig())
	require.NoError(w, err)
	applications := client.Resource(applicationsResource()).Namespace(namespace)
	_, err = applications.Create(w.Context(), application(namespace), metav1.CreateOptions{})
	require.NoError(w, err)
	require.NoError(w, w.helm.Uninstall(w.Context(), namespace, releaseName))
	require.Nil(w, w.release())
	_, err = applications.Get(w.Context(), "root", metav1.GetOptions{})
	require.NoError(w, err)
	_, err = w.api.CoreV1().Namespaces().Get(w.Context(), namespace, metav1.GetOptions{})
	require.NoError(w, err)
	pods, err := w.api.CoreV1().Pods(namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	require.Empty(w, pods.Items, "hooks go too")
	secrets, err := w.api.CoreV1().Secrets(namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	require.Empty(w, secrets.Items)
	require.Positive(w, w.size("applicationsets.argoproj.io"), "that of the templates stays as well")
	require.NoError(w, w.helm.Uninstall(w.Context(), namespace, releaseName), "done before, it is done")
	w.deploy(target, "plan-2")
	w.ready()
}
