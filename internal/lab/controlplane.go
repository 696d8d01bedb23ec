package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"k8s.io/client-go/rest"
)

// ControlPlaneOptions choose what runs beside etcd and the API server.
type ControlPlaneOptions struct {
	// Users are names that KubeconfigFor gives a token for, besides AdminUser. They have no right but
	// what RBAC gives them.
	Users []string
	// ControllerManager runs kube-controller-manager: namespaces are deleted, owners collected, claims
	// bound.
	ControllerManager bool
	// Scheduler runs kube-scheduler.
	Scheduler bool
	// ControllerQPS is how many requests a second each controller may send; 0 for what it comes with (20).
	ControllerQPS int
}

// AdminUser may do everything (group system:masters).
const AdminUser = "admin"

// Kubernetes is a running control plane: a Kubernetes API with RBAC on.
type Kubernetes struct {
	// URL is https://127.0.0.1:PORT. The port stays the same over Stop and Restart.
	URL string
	// Kubeconfig is the path of AdminUser's kubeconfig.
	Kubeconfig string

	stack     *Stack
	program   string
	dir       string
	authority *Authority
	tokens    map[string]string
	etcdURL   string
	port      int

	mu        sync.Mutex
	apiserver *Process
}

// ControlPlane starts etcd and the API server, and what the options ask for, on free ports of
// 127.0.0.1. It returns when the API server is ready to serve.
func (s *Stack) ControlPlane(ctx context.Context, o ControlPlaneOptions) (*Kubernetes, error) {
	program, err := Build(ctx, ControlPlane, s.logf)
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := s.Dir("controlplane-" + strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	k := &Kubernetes{
		URL: "https://127.0.0.1:" + strconv.Itoa(port), Kubeconfig: filepath.Join(dir, AdminUser+".kubeconfig"),
		stack: s, program: program, dir: dir, port: port,
	}
	if err := k.prepare(o.Users); err != nil {
		return nil, err
	}
	if err := k.startEtcd(ctx); err != nil {
		return nil, err
	}
	if err := k.Restart(ctx); err != nil {
		return nil, err
	}
	return k, k.startControllers(ctx, o)
}

// prepare writes everything that the API server reads when it starts: certificates, the key for
// service account tokens, user tokens, the audit policy, and the kubeconfigs that go with them.
func (k *Kubernetes) prepare(users []string) error {
	authority, err := NewAuthority("drctl lab")
	if err != nil {
		return err
	}
	k.authority = authority
	if _, _, err := authority.IssueServer(k.dir, "apiserver"); err != nil {
		return err
	}
	if err := writeSigningKey(k.path("service-account.key")); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": authority.PEM, "audit-policy.yaml": []byte(auditPolicy)} {
		if err := os.WriteFile(k.path(name), content, 0o644); err != nil {
			return fmt.Errorf("lab: write %s: %w", name, err)
		}
	}
	return k.writeUsers(users)
}

// path is the path of a file of the control plane's own folder.
func (k *Kubernetes) path(name string) string { return filepath.Join(k.dir, name) }

// Stop ends the API server alone: the cluster is gone, for all that a client can see. It is ended as
// by a crash: in good order it would first wait for every watch of the controllers.
func (k *Kubernetes) Stop() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.apiserver == nil {
		return nil
	}
	err := k.apiserver.Kill()
	k.apiserver = nil
	return err
}

// Restart starts the API server where there is none, on its old port and with everything it held.
func (k *Kubernetes) Restart(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.apiserver != nil {
		return nil
	}
	process, err := k.startAPIServer(ctx)
	if err != nil {
		return err
	}
	k.apiserver = process
	// Closing the stack must not wait for watches either.
	k.stack.Defer(process.Kill)
	return nil
}

// RESTConfig is AdminUser's client configuration.
func (k *Kubernetes) RESTConfig() *rest.Config { return k.restConfig(k.tokens[AdminUser]) }

// RESTConfigFor is the client configuration of one of the options' users.
func (k *Kubernetes) RESTConfigFor(user string) (*rest.Config, error) {
	token, known := k.tokens[user]
	if !known {
		return nil, fmt.Errorf("lab: no user is called %q: name it in ControlPlaneOptions.Users", user)
	}
	return k.restConfig(token), nil
}

// restConfig has no rate limit, the lab measures servers and not client-go, and keeps the platform's
// deliberate oddities (which admission warns of) out of the output.
func (k *Kubernetes) restConfig(token string) *rest.Config {
	return &rest.Config{
		Host: k.URL, BearerToken: token, QPS: -1, UserAgent: "drctl-lab", WarningHandler: rest.NoWarnings{},
		TLSClientConfig: rest.TLSClientConfig{CAData: k.authority.PEM},
	}
}
