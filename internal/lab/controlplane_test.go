package lab_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/drctl/drctl/internal/lab"
)

func clientFor(t *testing.T, k *lab.Kubernetes, user string) *kubernetes.Clientset {
	t.Helper()
	path, err := k.KubeconfigFor(user)
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func TestControlPlane(t *testing.T) {
	begin := time.Now()
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{
		Users: []string{"nobody", "reader"}, ControllerManager: true, Scheduler: true,
	})
	require.NoError(t, err)
	t.Logf("the control plane was ready after %s", time.Since(begin))

	t.Run("rights come from RBAC alone", func(t *testing.T) { rightsComeFromRBAC(t, k) })
	t.Run("requests are counted", func(t *testing.T) { requestsAreCounted(t, k) })
	t.Run("controllers act", func(t *testing.T) { controllersAct(t, k) })
	t.Run("stop and restart", func(t *testing.T) { stopAndRestart(t, k) })
}

func rightsComeFromRBAC(t *testing.T, k *lab.Kubernetes) {
	admin, reader := clientFor(t, k, lab.AdminUser), clientFor(t, k, "reader")
	_, err := reader.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "before the binding: %v", err)

	_, err = admin.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "configmaps"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "configmaps"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "configmaps"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "reader"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err = reader.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
		return err == nil
	}, time.Minute, 50*time.Millisecond, "after the binding: %v", err)

	_, err = clientFor(t, k, "nobody").CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "another user: %v", err)
	_, err = k.KubeconfigFor("stranger")
	require.ErrorContains(t, err, `no user is called "stranger"`)
}

func requestsAreCounted(t *testing.T, k *lab.Kubernetes) {
	admin, nobody := clientFor(t, k, lab.AdminUser), clientFor(t, k, "nobody")
	mark, err := k.AuditMark()
	require.NoError(t, err)
	for range 3 {
		_, err = admin.CoreV1().ConfigMaps("default").Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		require.True(t, err == nil || apierrors.IsNotFound(err), "%v", err)
		_, err = nobody.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err))
	}
	requests, err := k.RequestsSince(mark, "nobody")
	require.NoError(t, err)
	require.Len(t, requests, 3)
	require.Equal(t, "list", requests[0].Verb)
	require.Equal(t, "namespaces", requests[0].Resource)
	require.Equal(t, 403, requests[0].Code)
	requests, err = k.RequestsSince(mark, lab.AdminUser)
	require.NoError(t, err)
	require.Len(t, requests, 3)
	require.Equal(t, "kube-root-ca.crt", requests[2].Name)
}

// controllersAct proves both controllers by what they do: the namespace controller finishes a
// deletion, and the scheduler says why it cannot place a Pod.
func controllersAct(t *testing.T, k *lab.Kubernetes) {
	admin := clientFor(t, k, lab.AdminUser)
	_, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "short-lived"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "waiting"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none.invalid/none"}}},
	}
	_, err = admin.CoreV1().Pods("short-lived").Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		pod, err := admin.CoreV1().Pods("short-lived").Get(t.Context(), "waiting", metav1.GetOptions{})
		return err == nil && len(pod.Status.Conditions) > 0 && pod.Status.Conditions[0].Reason == corev1.PodReasonUnschedulable
	}, 2*time.Minute, 100*time.Millisecond, "the scheduler never judged the Pod")
	require.NoError(t, admin.CoreV1().Namespaces().Delete(t.Context(), "short-lived", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := admin.CoreV1().Namespaces().Get(t.Context(), "short-lived", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, 2*time.Minute, 100*time.Millisecond, "the namespace never went")
}

func stopAndRestart(t *testing.T, k *lab.Kubernetes) {
	admin := clientFor(t, k, lab.AdminUser)
	_, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	begin := time.Now()
	require.NoError(t, k.Stop())
	t.Logf("stopped after %s", time.Since(begin))
	_, err = admin.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{})
	require.ErrorContains(t, err, "connection refused")
	require.NoError(t, k.Stop(), "a second Stop is no error")

	begin = time.Now()
	require.NoError(t, k.Restart(t.Context()))
	t.Logf("back after %s", time.Since(begin))
	_, err = admin.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{})
	require.NoError(t, err, "the restarted server holds what it held")
}
