package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
	"github.com/drctl/drctl/internal/recovery"
)

// TestCaughtBefore spoils one thing each that a bootstrap must not begin with. Nothing is changed, the thing is named,
// and what to do about it.
func TestCaughtBefore(t *testing.T) {
	for name, c := range map[string]struct {
		spoil    func(*testing.T, *bootstrapworld.Attempt)
		check    string
		why, fix string
	}{
		"wrong Cilium version": {
			spoil: func(t *testing.T, _ *bootstrapworld.Attempt) { cilium(t, "1.17.5") },
			check: "network/cilium-version", why: "Cilium 1.17.5 runs, and the tree pins 1.18.2 (infrastructure/controllers/argocd/apps/cilium.yaml)", fix: "cilium upgrade --version 1.18.2",
		},
		"CHANGE-ME": {
			spoil: func(t *testing.T, a *bootstrapworld.Attempt) {
				change(t, filepath.Join(a.Secrets, "notes-secret.yaml"))
			},
			check: "secrets/notes/notes-secret", why: "notes-secret.yaml still has CHANGE-ME as the value of token", fix: "put the real value there",
		},
		"missing Secret": {
			spoil: func(t *testing.T, a *bootstrapworld.Attempt) {
				require.NoError(t, os.Remove(filepath.Join(a.Secrets, "notes-secret.yaml")))
			},
			check: "secrets/notes/notes-secret", why: "it is not there, and Deployment notes/notes needs it", fix: "give --secrets",
		},
		"unpushed commit": {
			spoil: func(t *testing.T, a *bootstrapworld.Attempt) {
				edit(t, a, "my-apps/media/notes/deployment.yaml", "registry.invalid/notes:1", "registry.invalid/notes:2")
				git(t, a, "-c", "user.name=o", "-c", "user.email=o@example.org", "commit", "--quiet", "-am", "not pushed")
			},
			check: "git/pushed", why: "is not on the remote", fix: "git push",
		},
		"no storage class": {
			spoil: func(t *testing.T, a *bootstrapworld.Attempt) {
				edit(t, a, "my-apps/media/notes/pvc.yaml", "storageClassName: longhorn", "storageClassName: fast")
			},
			check: "storage/classes", why: "fast is not there", fix: "create the storage class",
		},
		"unreachable charts": {
			spoil: func(t *testing.T, a *bootstrapworld.Attempt) {
				edit(t, a, "infrastructure/controllers/argocd/kustomization.yaml", "repo: http://127.0.0.1", "repo: http://127.0.0.1:1/none?")
			},
			check: "argocd/chart", why: "127.0.0.1:1", fix: "--chart",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := attempt(t)
			c.spoil(t, a)
			before, err := world(t).world.Look(t.Context())
			require.NoError(t, err)
			a.Before = before // what the test itself spoilt is not drctl's doing
			got := run(t, a, "bootstrap", "--gitops", a.Tree, "--secrets", a.Secrets, "--check", "-o", "json")
			require.Contains(t, []int{3, 5}, got.ExitCode)
			var report struct {
				Kind   string
				Checks []recovery.Check
			}
			require.NoError(t, json.Unmarshal([]byte(got.Stdout), &report))
			require.Equal(t, "DoctorReport", report.Kind)
			var failed []recovery.Check
			for _, check := range report.Checks {
				if check.Result == recovery.CheckFail {
					failed = append(failed, check)
				}
			}
			require.NotEmpty(t, failed)
			require.Equal(t, c.check, failed[0].Area+"/"+failed[0].Name)
			require.Contains(t, failed[0].Why, c.why)
			require.Contains(t, failed[0].Fix, c.fix)

			got = run(t, a, a.Operation()...)
			require.Equal(t, 1, got.ExitCode)
			require.Contains(t, got.Stderr, c.check)
			if !strings.HasPrefix(c.check, "argocd/") {
				require.Contains(t, got.Stderr, "--accept "+c.check)
			}
			require.Empty(t, world(t).world.Proxy.Mutations())
			require.NoError(t, a.Untouched(t.Context()))
		})
	}
}

// cilium has another version run until the test is over.
func cilium(t *testing.T, version string) {
	t.Helper()
	agents := world(t).client.AppsV1().DaemonSets("kube-system")
	ctx := context.WithoutCancel(t.Context())
	image := func(version string) {
		patch := `{"spec":{"template":{"spec":{"containers":[{"name":"cilium-agent","image":"registry.invalid/cilium/cilium:v` + version + `"}]}}}}`
		_, err := agents.Patch(ctx, "cilium", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	image(version)
	t.Cleanup(func() { image(bootstrapworld.CiliumVersion) })
}

func change(t *testing.T, path string) {
	t.Helper()
	content := "apiVersion: v1\nkind: Secret\nmetadata: {name: notes-secret, namespace: notes}\nstringData: {token: CHANGE-ME}\n"
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func git(t *testing.T, a *bootstrapworld.Attempt, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", a.Tree}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestADeniedClaim: the platform lets no claim begin while it cannot ask for backups. The wave is blocked, which is
// named with its fix; the cluster is not whole (3). Once that is gone, a next run sees everything to its end.
func TestADeniedClaim(t *testing.T) {
	a := attempt(t)
	lift := deny(t)
	got := run(t, a, append(a.Operation(), "--timeout", "25s")...)
	require.Equal(t, 3, got.ExitCode)
	for _, text := range []string{"PersistentVolumeClaim notes/data", "failed to fetch data for APICall", "PVC Plumber does not answer", "kubectl -n volsync-system get pods"} {
		require.Contains(t, got.Stdout, text)
	}
	require.Contains(t, got.Stdout, "Not every Application is Synced and Healthy")
	require.Contains(t, got.Stderr, "wave 4  gateway is Synced and Healthy")
	require.NotContains(t, got.Stderr, "notes is Synced and Healthy")
	lift()
	// A policy is gone a moment after it was deleted; and Argo CD had given the commit up.
	claims := world(t).client.CoreV1().PersistentVolumeClaims("notes")
	require.Eventually(t, func() bool {
		resync(t, "notes")
		_, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
		return err == nil
	}, time.Minute, 2*time.Second)
	require.Zero(t, run(t, a, a.Operation()...).ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

// deny refuses claims in namespace notes, in the words of the platform's gate when the plumber is down.
func deny(t *testing.T) (lift func()) {
	t.Helper()
	policies := world(t).client.AdmissionregistrationV1()
	const name = "gate"
	fail := admissionv1.Fail
	_, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "notes"}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"persistentvolumeclaims"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "failed to fetch data for APICall: connection refused"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	ctx := context.WithoutCancel(t.Context())
	lift = func() {
		for _, err := range []error{
			policies.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}),
			policies.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{}),
		} {
			if !apierrors.IsNotFound(err) {
				require.NoError(t, err)
			}
		}
	}
	t.Cleanup(lift)
	return lift
}

// TestABlockedWave: an image that cannot be pulled holds the second wave back, and with it everything behind it.
func TestABlockedWave(t *testing.T) {
	a := attempt(t)
	w := world(t).world
	_, err := w.Remote.Commit(t.Context(), "a wrong image", func(dir string) error {
		return replaceIn(filepath.Join(dir, "infrastructure/controllers/pvc-plumber/deployment.yaml"), "registry.invalid/", "broken.invalid/")
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := w.Remote.Commit(context.WithoutCancel(t.Context()), "the right image", func(dir string) error {
			return replaceIn(filepath.Join(dir, "infrastructure/controllers/pvc-plumber/deployment.yaml"), "broken.invalid/", "registry.invalid/")
		})
		require.NoError(t, err)
	})
	git(t, a, "pull", "--quiet")
	got := run(t, a, append(a.Operation(), "--timeout", "20s")...)
	require.Equal(t, 3, got.ExitCode)
	require.Contains(t, got.Stdout, "ImagePull")
	require.Contains(t, got.Stdout, "is the image's name right")
	require.Contains(t, got.Stdout, "not there yet", "later waves wait")
	require.Contains(t, got.Stderr, "wave 1  longhorn is Synced and Healthy")
}

func replaceIn(path, before, after string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, replaced(content, before, after), 0o600)
}

// TestAnotherSecretIsThere: what is there may be the only place where it is.
func TestAnotherSecretIsThere(t *testing.T) {
	a := attempt(t)
	client := world(t).client.CoreV1()
	_, err := client.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "notes"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.Secrets("notes").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "notes-secret"}, StringData: map[string]string{"token": "OLDER-CANARY"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	got := run(t, a, a.Operation()...)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "holds another value of token")
	require.NotContains(t, got.Stderr, "OLDER-CANARY")
	require.Empty(t, world(t).world.Proxy.Mutations())
	require.Zero(t, run(t, a, append(a.Operation(), "--replace-secrets")...).ExitCode)
	require.NoError(t, a.Done(t.Context()))
}

func replaced(content []byte, before, after string) []byte {
	return bytes.ReplaceAll(content, []byte(before), []byte(after))
}

// resync asks Argo CD for a sync: it gave the commit up while the gate was shut.
func resync(t *testing.T, name string) {
	t.Helper()
	head, err := world(t).world.Remote.Head(t.Context())
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(world(t).world.Kubernetes.RESTConfig())
	require.NoError(t, err)
	applications := client.Resource(schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}).Namespace(lab.ArgoNamespace)
	_, err = applications.Patch(t.Context(), name, types.MergePatchType, []byte(`{"operation":{"sync":{"revision":"`+head+`"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
}
