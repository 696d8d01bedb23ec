package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab/crds"
)

// KyvernoNamespace is where Kyverno believes to run. Its policies do not apply there.
const KyvernoNamespace = "kyverno"

const (
	kyvernoPath  = "github.com/kyverno/kyverno"
	kyvernoName  = "kyverno-admission-controller"
	generateName = "kyverno-background-controller"
)

// Kyverno is Kyverno's admission and background controllers, running beside the control plane, each with
// its own ServiceAccount's rights.
type Kyverno struct {
	// Admission answers the API server's webhooks. While it is stopped every claim that a policy applies to
	// is refused: the webhooks' failure policy is Fail.
	Admission *Process
	// Background generates, synchronises and deletes what the generate rules say. Stopped, it leaves the
	// requests of the admission controller (UpdateRequests) until StartBackground.
	Background *Process

	stack     *Stack
	k         *Kubernetes
	applier   *Applier
	client    *kubernetes.Clientset
	dir       string
	program   string
	verbosity int
	started   int
}

// KyvernoOptions say how Kyverno runs.
type KyvernoOptions struct {
	// Verbosity is the level of both logs, from 2 (also where it is lower) to 6. From 4 on each decision of a
	// rule is in them.
	Verbosity int
}

// Kyverno applies Kyverno's published manifest without its Deployments and runs its admission and
// background controllers as processes. It returns when the policy webhook answers the API server and the
// background controller acts. The controller-manager must run: it puts Kyverno's roles together.
//
// Source: kyverno config/install-latest-testing.yaml, cmd/kyverno/main.go, cmd/background-controller/main.go.
func (s *Stack) Kyverno(ctx context.Context, k *Kubernetes, o KyvernoOptions) (*Kyverno, error) {
	admission, err := Build(ctx, KyvernoAdmission, s.logf)
	if err != nil {
		return nil, err
	}
	background, err := Build(ctx, KyvernoBackground, s.logf)
	if err != nil {
		return nil, err
	}
	v := &Kyverno{stack: s, k: k, program: background, verbosity: o.Verbosity}
	if v.applier, err = k.Applier(); err != nil {
		return nil, err
	}
	if v.client, err = kubernetes.NewForConfig(k.RESTConfig()); err != nil {
		return nil, fmt.Errorf("lab: client for Kyverno: %w", err)
	}
	if v.dir, err = s.Dir(fmt.Sprintf("kyverno-%d", k.port)); err != nil {
		return nil, err
	}
	if err := v.install(ctx); err != nil {
		return nil, err
	}
	if err := v.startAdmission(ctx, admission); err != nil {
		return nil, err
	}
	return v, v.StartBackground(ctx)
}

// install applies the manifest. What a Deployment or a Service would be, the processes are.
func (v *Kyverno) install(ctx context.Context) error {
	release, err := kyvernoRelease(ctx)
	if err != nil {
		return err
	}
	namespaces, _, others := splitRelease(release)
	if err := v.applier.Apply(ctx, namespaces...); err != nil {
		return err
	}
	return v.applier.Apply(ctx, others...)
}

// kyvernoRelease reads the manifest from the module that the programs are built of, so that the two can't
// differ.
func kyvernoRelease(ctx context.Context) ([]*unstructured.Unstructured, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", kyvernoPath)
	download.Dir = filepath.Join(root, "internal", "lab", "parts", kyvernoModule)
	var stderr bytes.Buffer
	download.Stderr = &stderr
	out, err := download.Output()
	if err != nil {
		return nil, fmt.Errorf("lab: fetch module %s: %w\n%s", kyvernoPath, err, stderr.Bytes())
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, fmt.Errorf("lab: output of go mod download: %w", err)
	}
	content, err := os.ReadFile(filepath.Join(module.Dir, "config", "install-latest-testing.yaml"))
	if err != nil {
		return nil, fmt.Errorf("lab: manifest of Kyverno: %w", err)
	}
	objects, err := crds.Decode(content)
	return objects, wrap(err, "read the manifest of Kyverno")
}

func (v *Kyverno) startAdmission(ctx context.Context, program string) error {
	port, err := FreePort()
	if err != nil {
		return err
	}
	v.Admission, err = v.start(ctx, kyvernoName, program, v.refusesAnEmptyRule,
		fmt.Sprintf("-serverIP=127.0.0.1:%d", port), "-webhookServerHost=127.0.0.1", fmt.Sprintf("-webhookServerPort=%d", port), "-servicePort=443",
		"-caSecretName=kyverno-svc.kyverno.svc.kyverno-tls-ca", "-tlsSecretName=kyverno-svc.kyverno.svc.kyverno-tls-pair",
		"-backgroundServiceAccountName=system:serviceaccount:"+KyvernoNamespace+":"+generateName,
		// Reports are for people; here they would be writes that nobody reads.
		"-admissionReports=false",
	)
	return err
}

// StartBackground starts the background controller where it does not run, and returns when it leads.
func (v *Kyverno) StartBackground(ctx context.Context) error {
	if v.Background != nil {
		select {
		case <-v.Background.Done():
		default:
			return nil
		}
		// It is over, and Kyverno never gives a lease back: the next one would wait 12 s for it.
		err := v.client.CoordinationV1().Leases(KyvernoNamespace).Delete(ctx, generateName, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return wrap(err, "delete Lease "+KyvernoNamespace+"/"+generateName)
		}
	}
	process, err := v.start(ctx, generateName, v.program, v.holdsTheLease)
	if err != nil {
		return err
	}
	v.Background = process
	return nil
}

// start runs one controller under its own ServiceAccount, and a Pod name that no earlier one had.
func (v *Kyverno) start(ctx context.Context, account, program string, ready func(ctx context.Context, pod string) error, args ...string) (*Process, error) {
	kubeconfig, err := v.k.accountKubeconfig(ctx, v.client, KyvernoNamespace, account)
	if err != nil {
		return nil, err
	}
	// It listens there whatever -disableMetrics says.
	metrics, err := FreePort()
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, "wait for the rights of "+account, func(ctx context.Context) error { return v.maySeeItsPolicies(ctx, account) }); err != nil {
		return nil, err
	}
	v.started++
	pod := fmt.Sprintf("%s-%d", account, v.started)
	common := []string{
		"-kubeconfig=" + kubeconfig, "-disableMetrics=true", "-metricsHost=127.0.0.1", fmt.Sprintf("-metricsPort=%d", metrics),
		"-controllerRuntimeMetricsAddress=0", fmt.Sprintf("-v=%d", max(v.verbosity, 2)),
		"-crdWatcher=false", "-loggingFormat=text", "-disableLogColor=true", "-omitEvents=PolicyApplied,PolicySkipped",
		// The plumber of the lab is on loopback, which policies may not call unless this list leaves it out.
		"-httpBlocklist=169.254.169.254",
	}
	return v.stack.Start(ctx, Command{
		Name: fmt.Sprintf("%s-%d", pod, v.k.port), Path: program, Dir: v.dir, Args: append(common, args...),
		Env: []string{
			"KYVERNO_NAMESPACE=" + KyvernoNamespace, "INIT_CONFIG=kyverno", "METRICS_CONFIG=kyverno-metrics", "KYVERNO_SVC=kyverno-svc",
			"KYVERNO_POD_NAME=" + pod, "KYVERNO_SERVICEACCOUNT_NAME=" + account, "KYVERNO_DEPLOYMENT=" + account,
			"KYVERNO_ROLE_NAME=kyverno:" + strings.TrimPrefix(account, "kyverno-"),
		},
		Ready:        func(ctx context.Context) error { return ready(ctx, pod) },
		ReadyTimeout: startTimeout,
	})
}

// refusesAnEmptyRule proves that the policy webhook answers: only that refuses a rule which does nothing.
func (v *Kyverno) refusesAnEmptyRule(ctx context.Context, _ string) error {
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": map[string]any{"name": "drctl-lab-probe"},
		"spec": map[string]any{"rules": []any{map[string]any{
			"name":  "nothing",
			"match": map[string]any{"any": []any{map[string]any{"resources": map[string]any{"kinds": []any{"ConfigMap"}}}}},
		}}},
	}}
	resource, err := v.applier.resource(policy.GroupVersionKind(), "")
	if err != nil {
		return err
	}
	_, err = resource.Create(ctx, policy, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return errors.New("the policy webhook is not registered yet")
	case strings.Contains(err.Error(), "denied the request"):
		return nil
	}
	return err
}

// holdsTheLease is true once the controller leads: before that it does nothing.
func (v *Kyverno) holdsTheLease(ctx context.Context, pod string) error {
	// Each look is a request that others count, so not too many.
	time.Sleep(200 * time.Millisecond)
	lease, err := v.client.CoordinationV1().Leases(KyvernoNamespace).Get(ctx, generateName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != pod {
		return fmt.Errorf("lab: another controller than %s holds Lease %s/%s", pod, KyvernoNamespace, generateName)
	}
	return nil
}
