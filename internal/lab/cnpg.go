package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// CNPG is CloudNativePG's operator, running beside the control plane.
type CNPG struct {
	// WebhookURL is where the API server asks it.
	WebhookURL string
	Process    *Process
}

// cnpgNamespace is where the operator believes to run.
const cnpgNamespace = "cnpg-system"

// nothingNamespace has nothing in it and is never made: what an operator watches that must not act.
const nothingNamespace = "drctl-lab-nothing"

// CNPGOptions say what the operator does besides admission.
type CNPGOptions struct {
	// Reconcile has it act on every Cluster, Backup and ScheduledBackup, as in a cluster: its volumes, Jobs,
	// Pods and Secrets, adoption included. See Stack.Node for what runs its Pods.
	Reconcile bool
}

// CNPG applies the operator's published manifest without its Deployment, runs the operator itself as
// a process, and points its webhook configurations at that. It returns when the webhooks answer. The
// operator defaults and validates at admission, everywhere; it acts on nothing, so that what the lab
// seeds stays as it is.
func (s *Stack) CNPG(ctx context.Context, k *Kubernetes) (*CNPG, error) {
	return s.CNPGWith(ctx, k, CNPGOptions{})
}

// CNPGWith is CNPG with options.
func (s *Stack) CNPGWith(ctx context.Context, k *Kubernetes, o CNPGOptions) (*CNPG, error) {
	program, err := Build(ctx, CNPGManager, s.logf)
	if err != nil {
		return nil, err
	}
	modules, err := fetchModules(ctx)
	if err != nil {
		return nil, err
	}
	release, err := modules.CNPGRelease()
	if err != nil {
		return nil, err
	}
	namespaces, webhooks, others := splitRelease(release)
	applier, err := k.Applier()
	if err != nil {
		return nil, err
	}
	if err := applier.Apply(ctx, namespaces...); err != nil {
		return nil, err
	}
	if err := applier.Apply(ctx, others...); err != nil {
		return nil, err
	}
	operator, authority, err := s.startCNPG(ctx, k, program, o)
	if err != nil {
		return nil, err
	}
	for _, configuration := range webhooks {
		if err := pointWebhooks(configuration, operator.WebhookURL, authority.PEM); err != nil {
			return nil, err
		}
	}
	return operator, applier.Apply(ctx, webhooks...)
}

// splitRelease puts the manifest in the order that it can be applied in: what nothing else depends on
// comes last. The Deployment and its Service are left out, the process stands for them.
func splitRelease(release []*unstructured.Unstructured) (namespaces, webhooks, others []*unstructured.Unstructured) {
	for _, object := range release {
		switch object.GetKind() {
		case "Deployment", "Service":
		case "Namespace":
			namespaces = append(namespaces, object)
		case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			webhooks = append(webhooks, object)
		default:
			others = append(others, object)
		}
	}
	return namespaces, webhooks, others
}

func (s *Stack) startCNPG(ctx context.Context, k *Kubernetes, program string, o CNPGOptions) (*CNPG, *Authority, error) {
	port, err := FreePort()
	if err != nil {
		return nil, nil, err
	}
	metrics, err := FreePort()
	if err != nil {
		return nil, nil, err
	}
	name := fmt.Sprintf("cnpg-%d", port)
	dir, err := s.Dir(name)
	if err != nil {
		return nil, nil, err
	}
	authority, err := webhookCertificates(dir)
	if err != nil {
		return nil, nil, err
	}
	env := []string{
		"KUBECONFIG=" + k.Kubeconfig, "OPERATOR_NAMESPACE=" + cnpgNamespace, "WEBHOOK_CERT_DIR=" + dir, "POD_NAME=lab",
		"MONITORING_QUERIES_CONFIGMAP=cnpg-default-monitoring", "OPERATOR_IMAGE_NAME=none.invalid/cnpg:lab",
	}
	if o.Reconcile {
		if err := offerManager(dir, program); err != nil {
			return nil, nil, err
		}
	} else {
		env = append(env, "WATCH_NAMESPACE="+nothingNamespace)
	}
	operator := &CNPG{WebhookURL: fmt.Sprintf("https://127.0.0.1:%d", port)}
	client := authority.client()
	operator.Process, err = s.Start(ctx, Command{
		Name: name, Path: program, Dir: dir, Env: env,
		Args: []string{
			"controller", fmt.Sprintf("--webhook-port=%d", port), fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", metrics), "--leader-elect=false",
		},
		Ready:        func(ctx context.Context) error { return answersOK(ctx, client, operator.WebhookURL+"/readyz") },
		ReadyTimeout: startTimeout,
	})
	return operator, authority, err
}

// webhookCertificates writes the pair under both of the names that the operator looks for.
func webhookCertificates(dir string) (*Authority, error) {
	authority, err := NewAuthority("drctl lab cnpg")
	if err != nil {
		return nil, err
	}
	if _, _, err := authority.IssueServer(dir, "tls"); err != nil {
		return nil, err
	}
	for _, extension := range []string{".crt", ".key"} {
		if err := os.Link(filepath.Join(dir, "tls"+extension), filepath.Join(dir, "apiserver"+extension)); err != nil {
			return nil, fmt.Errorf("lab: certificates of CNPG: %w", err)
		}
	}
	return authority, nil
}

// client trusts this authority and no other.
func (a *Authority) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

// pointWebhooks replaces each webhook's Service by the process' URL and path.
func pointWebhooks(configuration *unstructured.Unstructured, url string, caPEM []byte) error {
	webhooks, _, err := unstructured.NestedSlice(configuration.Object, "webhooks")
	if err != nil || len(webhooks) == 0 {
		return errors.Join(fmt.Errorf("lab: %s has no webhooks", describe(configuration)), err)
	}
	for _, webhook := range webhooks {
		fields, ok := webhook.(map[string]any)
		if !ok {
			return fmt.Errorf("lab: %s: a webhook is a %T", describe(configuration), webhook)
		}
		path, found, err := unstructured.NestedString(fields, "clientConfig", "service", "path")
		if err != nil || !found {
			return errors.Join(fmt.Errorf("lab: %s: webhook %v has no path", describe(configuration), fields["name"]), err)
		}
		fields["clientConfig"] = map[string]any{"url": url + path, "caBundle": base64.StdEncoding.EncodeToString(caPEM)}
	}
	return unstructured.SetNestedSlice(configuration.Object, webhooks, "webhooks")
}
